"""The robot and the engine under it: kinematics, tracking, grip, and going back to a saved state."""

import itertools
from collections.abc import Iterator

import numpy as np
import pytest

from sim import DynamicsConfig
from sim.assets import assets_directory
from sim.bullet_engine import BulletEngine
from sim.engine import Vector
from sim.randomisation import draw_dynamics
from sim.robot import MAX_OPENING_M, Panda, inverse_kinematics
from sim.scene import Scene
from sim.tasks import TASKS

PHYSICS_HZ = 120
SUBSTEPS = 12


@pytest.fixture
def engine() -> Iterator[BulletEngine]:
    engine = BulletEngine(PHYSICS_HZ)
    yield engine
    engine.close()


def move(panda: Panda, engine: BulletEngine, start: Vector, end: Vector, opening: float = 0.0) -> None:
    """One control step from one target to the next, as the environment does it."""
    first, last = (np.array(panda.joint_targets(position, opening)) for position in (start, end))
    for substep in range(1, SUBSTEPS + 1):
        panda.drive((first + min(1.0, substep / (0.8 * SUBSTEPS)) * (last - first)).tolist())
        engine.step()


def test_the_gripper_is_where_inverse_kinematics_says_and_points_down(engine: BulletEngine) -> None:
    panda = Panda(engine, assets_directory() / "panda.urdf")
    link = engine.links(panda.body)["panda_grasptarget"]
    for task in TASKS.values():
        low, high = task.workspace.low, task.workspace.high
        for position in itertools.product(*zip(low, high, strict=True)):
            panda.place((position[0], position[1], position[2]), 0.02)
            assert panda.state().position == pytest.approx(position, abs=1e-5)
            assert panda.state().opening == pytest.approx(0.02)
            orientation = np.abs(engine.motion(panda.body, link).orientation)
            assert orientation == pytest.approx([1.0, 0.0, 0.0, 0.0], abs=1e-4), "half a turn about x: down"


def test_a_position_out_of_reach_is_refused() -> None:
    with pytest.raises(ValueError, match="out of the Panda's reach"):
        inverse_kinematics((1.2, 0.0, 0.1))


@pytest.mark.parametrize("seed", range(6))
def test_displacements_are_reached_within_their_step_under_randomised_dynamics(engine: BulletEngine, seed: int) -> None:
    scene = Scene(engine, assets_directory())
    scene.set_dynamics(draw_dynamics(DynamicsConfig(), seed))
    workspace = TASKS["reach"].workspace
    rng = np.random.default_rng(seed)
    target: Vector = (0.5, 0.0, 0.1)
    scene.robot.place(target, 0.0)
    errors = []
    for _ in range(30):
        moved = np.clip(np.array(target) + rng.uniform(-0.06, 0.06, 3), workspace.low, workspace.high)
        following = (float(moved[0]), float(moved[1]), float(moved[2]))
        move(scene.robot, engine, target, following)
        target = following
        errors.append(np.linalg.norm(np.array(scene.robot.state().position) - target))
    assert np.mean(errors) < 0.004
    assert max(errors) < 0.01


def test_the_fingers_hold_a_cube_against_gravity(engine: BulletEngine) -> None:
    scene = Scene(engine, assets_directory())
    cube = scene.add_cube()
    engine.set_pose(cube, (0.5, 0.0, 0.025))
    low, high = (0.5, 0.0, 0.025), (0.5, 0.0, 0.15)
    scene.robot.place(low, MAX_OPENING_M)
    for _ in range(5):
        move(scene.robot, engine, low, low, opening=0.0)
    move(scene.robot, engine, low, high)
    for _ in range(20):
        move(scene.robot, engine, high, high)
    assert engine.motion(cube).position[2] > 0.13
    assert scene.robot.state().opening == pytest.approx(0.05, abs=0.004)


def test_the_same_future_follows_from_a_restored_state_after_contacts(engine: BulletEngine) -> None:
    scene = Scene(engine, assets_directory())
    cube = scene.add_cube()
    engine.save()

    def push(start_y: float) -> list[float]:
        engine.restore()
        engine.set_pose(cube, (0.5, 0.0, 0.025))
        start, end = (0.5, start_y, 0.03), (0.5, start_y + 0.06, 0.03)
        scene.robot.place(start, 0.0)
        ways: list[float] = []
        for _ in range(3):
            move(scene.robot, engine, start, end)
            ways += engine.motion(cube).position
        return ways

    first = push(-0.06)
    other = push(-0.08)
    assert push(-0.06) == first
    assert other != first


def test_masses_are_set(engine: BulletEngine) -> None:
    scene = Scene(engine, assets_directory())
    cube = scene.add_cube()
    scene.set_dynamics(draw_dynamics(DynamicsConfig(mass_factor=(2.0, 2.0)), 0))
    assert engine.mass(cube) == pytest.approx(0.2)
    assert engine.mass(scene.robot.body, engine.links(scene.robot.body)["panda_hand"]) == pytest.approx(1.62)
