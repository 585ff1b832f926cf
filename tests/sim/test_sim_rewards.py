"""Rewards, against numbers worked out by hand."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from sim import SimConfig, make_env
from sim.assets import CUBE_HALF_EDGE_M
from sim.engine import Vector
from sim.robot import MAX_OPENING_M, GripperState
from sim.tasks import TASKS


@pytest.fixture
def reward() -> Iterator[Callable[..., float]]:
    """The reward with the gripper there and so fast, and the cube so far from the disc's centre; metres, m/s."""
    env: Any = make_env("push", SimConfig(), views=0)
    world = env.unwrapped
    state = env.reset(seed=0)[0]["state"]
    goal_x, goal_y = (float(state[world.state_names.index(f"goal_{axis}_m")]) for axis in "xy")
    cube, _ = world.scene.frames["cube"]

    def of(from_cube: Vector, to_goal: float, velocity: Vector = (0.0, 0.0, 0.0)) -> float:
        x, y = goal_x + to_goal, goal_y
        world.engine.set_pose(cube, (x, y, 0.025))
        position = (x + from_cube[0], y + from_cube[1], 0.03 + from_cube[2])
        return float(world.task.reward(GripperState(position, velocity, 0.0)))

    yield of
    env.close()


def test_push_pays_for_being_near_the_cube_and_for_the_cube_being_near_the_disc(reward: Any) -> None:
    # tanh(0.5) = 0.46212; 0.13 m from the centre are 0.10 m from where it is close enough.
    assert reward((0.1, 0.0, 0.0), 0.13) == pytest.approx(0.2 * 0.53788 + 0.5 * 0.53788, abs=1e-4)
    assert reward((0.0, 0.0, 0.0), 0.13) == pytest.approx(0.2 + 0.5 * 0.53788, abs=1e-4)


def test_push_asks_for_more_than_success(reward: Any) -> None:
    # tanh(0.05) = 0.04996; 0.04 m would be success.
    assert reward((0.0, 0.0, 0.0), 0.04) == pytest.approx(0.2 + 0.5 * 0.95004, abs=1e-4)


@pytest.mark.parametrize("from_cube", [(0.0, 0.0, 0.0), (0.04, 0.0, 0.0), (0.1, -0.2, 0.0)])
@pytest.mark.parametrize("to_goal", [0.0, 0.015, 0.0299])
def test_inside_three_centimetres_only_keeping_still_gains_anything(
    reward: Any, from_cube: Vector, to_goal: float
) -> None:
    assert reward(from_cube, to_goal) == pytest.approx(1.0)
    # tanh(0.5) = 0.46212, of 0.05 m/s.
    assert reward(from_cube, to_goal, (0.03, -0.04, 0.0)) == pytest.approx(0.8 + 0.2 * 0.53788, abs=1e-4)


def test_outside_push_does_not_pay_for_keeping_still(reward: Any) -> None:
    assert reward((0.1, 0.0, 0.0), 0.13, (0.3, -0.4, 0.0)) == reward((0.1, 0.0, 0.0), 0.13)


def test_reach_pays_for_being_near_the_ball_and_there_for_rest() -> None:
    env: Any = make_env("reach", SimConfig(), views=0)
    world = env.unwrapped
    state = env.reset(seed=0)[0]["state"]
    x, y, z = (float(state[world.state_names.index(f"goal_{axis}_m")]) for axis in "xyz")

    def reward(away: float, speed: float) -> float:
        return float(world.task.reward(GripperState((x, y + away, z), (0.0, speed, 0.0), 0.0)))

    assert reward(0.0, 0.0) == pytest.approx(1.0)
    assert reward(0.0, 0.05) == pytest.approx(0.9 + 0.1 * 0.53788, abs=1e-4)
    # tanh(0.1) = 0.09967 and tanh(0.5) = 0.46212, of 0.025 m.
    assert reward(0.025, 0.0) == pytest.approx(0.5 * 0.90033 + 0.5 * 0.53788, abs=1e-4)
    # tanh(0.8) = 0.66404 and tanh(4) = 0.99933, of 0.2 m: rest gains nothing there.
    assert reward(0.2, 0.0) == pytest.approx(0.5 * 0.33596 + 0.5 * 0.00067, abs=1e-4)
    assert reward(0.2, 0.0) - reward(0.2, 1.0) < 1e-4
    env.close()


def test_lift_pays_for_rest_where_it_is_solved() -> None:
    env: Any = make_env("lift", SimConfig(), views=0)
    world = env.unwrapped
    env.reset(seed=0)
    cube, _ = world.scene.frames["cube"]

    def reward(height: float, speed: float) -> float:
        world.engine.set_pose(cube, (0.5, 0.0, height))
        return float(world.task.reward(GripperState((0.5, 0.0, height), (speed, 0.0, 0.0), 0.05)))

    assert reward(0.13, 0.0) == pytest.approx(1.0)
    assert reward(0.13, 0.05) == pytest.approx(0.9 + 0.1 * 0.53788, abs=1e-4)
    assert reward(0.075, 0.0) == reward(0.075, 1.0) == pytest.approx(0.4 + 0.4 * 0.5)
    env.close()


def test_lift_pays_for_fingers_that_close_about_the_cube_and_nowhere_else() -> None:
    env: Any = make_env("lift", SimConfig(), views=0)
    world = env.unwrapped
    env.reset(seed=0)
    x, y, z = world.engine.motion(world.scene.frames["cube"][0]).position

    def reward(above: float, opening: float) -> float:
        return float(world.task.reward(GripperState((x, y, z + above), (0.0, 0.0, 0.0), opening)))

    wide, held = MAX_OPENING_M, 2.0 * CUBE_HALF_EDGE_M
    assert reward(0.0, wide) == pytest.approx(0.2)
    assert reward(0.0, (wide + held) / 2) == pytest.approx(0.3)
    assert reward(0.0, held) == pytest.approx(0.4)
    assert reward(CUBE_HALF_EDGE_M, 0.0) == reward(CUBE_HALF_EDGE_M, wide)
    env.close()


@pytest.mark.parametrize("task", ["reach", "push", "lift"])
@pytest.mark.parametrize("solved", [True, False])
def test_where_it_is_solved_a_changed_action_has_its_price_and_an_unchanged_one_has_none(
    task: str, solved: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    free, dear = (make_env(task, SimConfig(action_change_price=price), views=0) for price in (0.0, 0.5))
    monkeypatch.setattr(TASKS[task], "is_success", lambda self, gripper: solved)
    assert free.action_space.shape is not None
    size = free.action_space.shape[0]
    for env in (free, dear):
        env.reset(seed=2)
    actions = [np.full(size, 0.5), np.full(size, 0.5), np.eye(size)[0] * 3.0 - 1.0]
    # Out of rest by a half; none; one component from 0.5 to 1, since no action is more, the others from 0.5 to -1.
    changes = [0.25, 0.0, (0.5**2 + (size - 1) * 1.5**2) / size]
    for action, change in zip(actions, changes, strict=True):
        rewards = [float(env.step(action.astype(np.float32))[1]) for env in (free, dear)]
        assert rewards[0] - rewards[1] == pytest.approx(0.5 * change if solved else 0.0)
    for env in (free, dear):
        env.close()
