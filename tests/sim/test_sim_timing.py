"""Delays of action and camera, measured on what arrives."""

from typing import Any

import numpy as np
import pytest

from sim import DynamicsConfig, RandomisationConfig, SimConfig, TimingConfig, VisualConfig, make_env

FORWARD = np.array([0.0, 1.0, 0.0], np.float32)
STILL = np.zeros(3, np.float32)


def make(timing: TimingConfig) -> Any:
    randomisation = RandomisationConfig(VisualConfig(enabled=False), DynamicsConfig(enabled=False), timing)
    return make_env("reach", SimConfig(randomisation=randomisation))


def delays(*, action_s: float = 0.0, camera_s: float = 0.0, held: float = 0.0) -> TimingConfig:
    return TimingConfig(
        action_delay_s=(action_s, action_s), camera_delay_s=(camera_s, camera_s), held_frame_probability=held
    )


def way_along_y(env: Any, actions: list[Any]) -> list[float]:
    """The gripper's y after each action, metres from its start."""
    column = env.state_names.index("gripper_y_m")
    start = env.reset(seed=0)[0]["state"][column]
    return [float(env.step(action)[0]["state"][column] - start) for action in actions]


def test_displacements_are_done_by_and_by() -> None:
    env = make(delays())
    way = way_along_y(env, [FORWARD, FORWARD, *[STILL] * 6])
    assert 0.005 < way[0] < 0.06
    assert np.diff(way).min() > -0.002
    assert way[-1] == pytest.approx(0.12, abs=0.001)
    env.close()


def test_an_action_delayed_by_one_control_step_is_done_one_step_later() -> None:
    ways = []
    for delay_s in (0.0, 0.1):
        env = make(delays(action_s=delay_s))
        ways.append(way_along_y(env, [FORWARD, STILL, -FORWARD, FORWARD, STILL]))
        env.close()
    on_time, late = ways
    assert late == pytest.approx([0.0, *on_time[:-1]], abs=1e-6)


def test_an_action_delayed_by_half_a_control_step_lies_between() -> None:
    ways = []
    for delay_s in (0.0, 0.05, 0.1):
        env = make(delays(action_s=delay_s))
        ways.append(way_along_y(env, [FORWARD, *[STILL] * 6]))
        env.close()
    on_time, half, late = ways
    assert on_time[0] > half[0] + 0.005 > late[0] + 0.01
    assert half[-1] == pytest.approx(0.06, abs=0.001)


def test_a_camera_delayed_by_one_control_step_shows_the_observation_before() -> None:
    on_time, late = make(delays()), make(delays(camera_s=0.1))
    images: dict[str, list[Any]] = {"on_time": [], "late": []}
    for name, env in (("on_time", on_time), ("late", late)):
        images[name].append(env.reset(seed=0)[0])
        images[name] += [env.step(FORWARD)[0] for _ in range(3)]
        env.close()
    for step in range(3):
        assert np.array_equal(images["late"][step + 1]["image"], images["on_time"][step]["image"])
        assert np.array_equal(images["late"][step + 1]["state"], images["on_time"][step + 1]["state"])


def test_the_label_of_an_image_is_the_state_that_it_shows() -> None:
    """Late by one control step, and by three quarters of one: then it is on the way between two states."""
    for delay_s in (0.0, 0.075, 0.1):
        env = make(delays(camera_s=delay_s))
        column = env.state_names.index("gripper_y_m")
        observation, info = env.reset(seed=0)
        states = [observation["state"]]
        assert np.array_equal(info["state_at_exposure"], states[0])
        for _ in range(3):
            observation, _, _, _, info = env.step(FORWARD)
            states.append(observation["state"])
            shown = info["state_at_exposure"]
            if delay_s in (0.0, 0.1):
                assert np.array_equal(shown, states[-1] if delay_s == 0.0 else states[-2])
            else:
                assert states[-2][column] + 0.001 < shown[column] < states[-1][column] - 0.005
        env.close()


def told_y(env: Any, state: Any) -> float:
    """Where a state says that the gripper was told to go."""
    return float(sum(state[env.state_names.index(name)] for name in ("gripper_y_m", "target_from_gripper_y_m")))


def test_the_state_says_where_the_gripper_was_told_to_go() -> None:
    env = make(delays())
    observation, info = env.reset(seed=0)
    start = told_y(env, observation["state"])
    assert told_y(env, info["state_at_exposure"]) == pytest.approx(start)
    columns = [env.state_names.index(f"target_from_gripper_{axis}_m") for axis in "xyz"]
    assert abs(observation["state"][columns]).max() < 0.005
    for step in range(1, 3):
        state = env.step(FORWARD)[0]["state"]
        assert told_y(env, state) == pytest.approx(start + step * 0.06, abs=1e-6)
        assert state[columns[1]] > 0.02, "the arm trails its command"
        assert abs(state[[columns[0], columns[2]]]).max() < 0.005
    env.close()


@pytest.mark.parametrize(
    ("action_s", "camera_s", "steps_late"),
    [(0.0, 0.0, 0), (0.03, 0.03, 0), (0.03, 0.06, 0), (0.0, 0.1, 1), (0.06, 0.06, 1), (0.1, 0.0, 1), (0.1, 0.1, 2)],
)
def test_the_label_of_an_image_holds_the_command_that_had_reached_the_arm(
    action_s: float, camera_s: float, steps_late: int
) -> None:
    env = make(delays(action_s=action_s, camera_s=camera_s))
    told = [told_y(env, env.reset(seed=0)[0]["state"])] * 2
    for share in (1.0, -0.5, 0.25, 0.75):
        observation, _, _, _, info = env.step(share * FORWARD)
        told.append(told_y(env, observation["state"]))
        assert told_y(env, info["state_at_exposure"]) == pytest.approx(told[-1 - steps_late], abs=1e-6)
    env.close()


def test_to_look_at_the_state_of_an_exposure_changes_no_state() -> None:
    """Exposures fall between the physics steps; an environment that renders nothing has none."""
    timing = delays(action_s=0.03, camera_s=0.06, held=0.3)
    paths = []
    for views in (0, 2):
        env = make_env("push", SimConfig(randomisation=RandomisationConfig(timing=timing)), views=views)
        states = [env.reset(seed=3)[0]["state"]]
        states += [env.step(np.array([1.0, step % 3 - 1.0], np.float32))[0]["state"] for step in range(40)]
        paths.append(np.stack(states))
        env.close()
    assert np.array_equal(*paths)


def test_an_error_of_the_state_is_none_of_what_the_image_shows() -> None:
    true, wrong = (make_env("push", SimConfig(), state_errors=errors) for errors in (False, True))
    truth, told = true.reset(seed=1), wrong.reset(seed=1)
    assert not np.allclose(truth[0]["state"], told[0]["state"])
    assert np.array_equal(truth[1]["state_at_exposure"], told[1]["state_at_exposure"])
    true.close()
    wrong.close()


def test_a_held_frame_is_the_frame_before_and_so_is_its_label() -> None:
    env = make(delays(held=0.5))
    observation, info = env.reset(seed=0)
    image, label = observation["image"], info["state_at_exposure"]
    held = 0
    for step in range(24):
        observation, _, _, _, info = env.step(FORWARD if step % 2 else -FORWARD)
        same = np.array_equal(image, observation["image"])
        assert np.array_equal(info["state_at_exposure"], label if same else observation["state"])
        held += same
        image, label = observation["image"], info["state_at_exposure"]
    assert 5 <= held <= 19
    env.close()


def test_frames_are_held_only_where_that_is_asked_for() -> None:
    env = make(delays())
    image = env.reset(seed=0)[0]["image"]
    for step in range(10):
        following = env.step(FORWARD if step % 2 else -FORWARD)[0]["image"]
        assert not np.array_equal(image, following)
        image = following
    env.close()
