"""The rewards of push, against numbers worked out by hand."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sim import SimConfig, make_env
from sim.engine import Vector
from sim.robot import GripperState


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
    # tanh(1.5) = 0.90515, of 0.5 m/s.
    assert reward(from_cube, to_goal, (0.3, -0.4, 0.0)) == pytest.approx(0.8 + 0.2 * 0.09485, abs=1e-4)


def test_outside_push_does_not_pay_for_keeping_still(reward: Any) -> None:
    assert reward((0.1, 0.0, 0.0), 0.13, (0.3, -0.4, 0.0)) == reward((0.1, 0.0, 0.0), 0.13)
