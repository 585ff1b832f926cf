"""The runtime's posture of the arm is the simulator's, and both ways of computing it agree."""

from __future__ import annotations

import numpy as np
import pytest

import sim
from deploy.robot.runtime.kinematics import gripper_at, joints_at
from sim.config import RandomisationConfig, SimConfig
from sim.robot import inverse_kinematics
from sim.tasks import TASKS


def places(count: int = 200) -> list[tuple[float, float, float]]:
    low = np.min([task.workspace.low for task in TASKS.values()], axis=0)
    high = np.max([task.workspace.high for task in TASKS.values()], axis=0)
    drawn = np.random.default_rng(0).uniform(low, high, (count, 3)).tolist()
    return [(x, y, z) for x, y, z in drawn]


def test_it_is_the_simulators() -> None:
    for place in places():
        assert joints_at(place) == inverse_kinematics(place)


def test_forward_undoes_inverse() -> None:
    for place in places():
        assert gripper_at(joints_at(place)) == pytest.approx(place, abs=1e-12)


def test_the_simulated_gripper_is_where_the_joints_say() -> None:
    """What the engine makes of the robot's description, which nobody here has written."""
    world = sim.make_env("reach", SimConfig(randomisation=RandomisationConfig.off()), views=0)
    robot = world.unwrapped.scene.robot  # type: ignore[attr-defined]
    for place in places(20):
        robot.place(place, 0.0)
        assert robot.state().position == pytest.approx(gripper_at(joints_at(place)), abs=1e-4)
    world.close()


def test_what_is_out_of_reach_is_refused() -> None:
    with pytest.raises(ValueError, match=r"position \(2\.000, 0\.000, 0\.100\) is out of the arm's reach"):
        joints_at((2.0, 0.0, 0.1))
