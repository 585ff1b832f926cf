"""What is measured of the arm's motion."""

from typing import Any

import numpy as np
import pytest

from sim import SimConfig, make_env
from sim.scripted import scripted_policy


def readings(task: str, seed: int, steps: int, policy: Any = None) -> list[dict[str, Any]]:
    """Of the first steps of an episode; without a policy, under actions that turn round at full speed."""
    env: Any = make_env(task, SimConfig(), views=0, measure_motion=True)
    observation, _ = env.reset(seed=seed)
    found = []
    for step in range(steps):
        full = np.full(env.action_space.shape, 1.0 if step // 3 % 2 else -1.0, np.float32)
        observation, _, _, _, info = env.step(full if policy is None else policy(observation["state"]))
        found.append(info["motion"])
        column = env.unwrapped.state_names.index("gripper_x_m")
        assert info["motion"]["gripper_m"][0] == pytest.approx(float(observation["state"][column]), abs=1e-6)
    env.close()
    return found


@pytest.mark.parametrize("task", ["reach", "push", "lift"])
def test_measured_in_the_engine_no_joint_is_beyond_its_limits_and_some_are_near_them(task: str) -> None:
    found = [reading for seed in range(3) for reading in readings(task, seed, 14)]
    assert max(reading["joint_speed"] for reading in found) < 1.01
    accelerations = [reading["joint_acceleration"] for reading in found]
    assert 0.4 < max(accelerations) < 1.01


def test_an_arm_at_rest_measures_as_one() -> None:
    (reading,) = readings("reach", 0, 1, lambda state: np.zeros(3, np.float32))
    assert reading["joint_speed"] < 0.001
    assert reading["joint_acceleration"] < 0.01
    assert reading["contact_m_per_s"] is None


def test_contact_is_measured_where_a_cube_is_struck_and_no_cube_is_none() -> None:
    names = make_env("push", SimConfig(), views=0).unwrapped.state_names  # type: ignore[attr-defined]
    contacts = [reading["contact_m_per_s"] for reading in readings("push", 1, 30, scripted_policy("push", names, 0.06))]
    struck = [speed for speed in contacts if speed is not None]
    assert struck
    assert 0.01 < struck[0] < 0.8
    assert {reading["contact_m_per_s"] for reading in readings("reach", 1, 10)} == {None}


def test_fingers_that_grasp_and_carry_a_cube_do_not_strike_it() -> None:
    """It starts and stops with the hand: if starts counted as soft contacts, a jerky lift would look gentle."""
    names = make_env("lift", SimConfig(), views=0).unwrapped.state_names  # type: ignore[attr-defined]
    scripted = scripted_policy("lift", names, 0.06)
    raised = names.index("cube_z_m")
    steps, highest = 0, 0.0

    def stop_and_go(state: Any) -> Any:
        nonlocal steps, highest
        steps, highest = steps + 1, max(highest, float(state[raised]))
        action = np.array(scripted(state), np.float32)
        if state[raised] > 0.03 and steps // 3 % 2:
            action[:3] = 0.0
        return action

    for seed in (1, 2):
        contacts = [reading["contact_m_per_s"] for reading in readings("lift", seed, 50, stop_and_go)]
        assert [speed for speed in contacts if speed is not None] == []
        assert highest > 0.1
        highest = 0.0


def test_it_is_told_only_where_that_is_asked_for_and_changes_nothing() -> None:
    states = []
    for measured in (False, True):
        env = make_env("push", SimConfig(), views=0, measure_motion=measured)
        env.reset(seed=4)
        for step in range(20):
            observation, _, _, _, info = env.step(np.array([1.0, step % 2 - 0.5], np.float32))
            assert ("motion" in info) == measured
            states.append(observation["state"])
        env.close()
    assert np.array_equal(states[:20], states[20:])
