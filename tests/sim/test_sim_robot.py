"""The robot and the engine under it: kinematics, motors, grip, and going back to a saved state."""

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from engines import ENGINES, PHYSICS_HZ, empty_world

from sim import DynamicsConfig
from sim.assets import assets_directory
from sim.engine import Engine, Vector
from sim.randomisation import draw_dynamics
from sim.robot import MAX_OPENING_M, Panda, inverse_kinematics
from sim.scene import Scene
from sim.tasks import TASKS

SUBSTEPS = 12


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    engine = empty_world(request.param)
    yield engine
    engine.close()


def follow(panda: Panda, engine: Engine, position: Vector, opening: float = 0.0, steps: int = SUBSTEPS) -> None:
    """As many physics steps towards a command."""
    for _ in range(steps):
        panda.follow(position, opening, 1 / PHYSICS_HZ)
        engine.step()


def test_the_gripper_is_where_inverse_kinematics_says_and_points_down(engine: Engine) -> None:
    panda = Panda(engine, assets_directory() / "panda.urdf")
    link = engine.links(panda.body)["panda_hand"]
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


@pytest.mark.parametrize("seed", range(4))
def test_joints_are_where_the_actuator_has_them_after_every_step(engine: Engine, seed: int) -> None:
    scene = Scene(engine, assets_directory())
    scene.set_dynamics(draw_dynamics(DynamicsConfig(), seed))
    workspace = TASKS["reach"].workspace
    rng = np.random.default_rng(seed)
    scene.robot.place((0.5, 0.0, 0.1), 0.0)
    errors = []
    for _ in range(30):
        x, y, z = rng.uniform(workspace.low, workspace.high)
        for _ in range(int(rng.integers(3, 30))):
            follow(scene.robot, engine, (float(x), float(y), float(z)), steps=1)
            errors.append(np.abs(np.subtract(scene.robot.joint_positions(), scene.robot.actuator.joints)).max())
    assert max(errors) < 1e-4, "radians"


def test_the_reported_velocity_is_that_of_the_point_between_the_fingertips(engine: Engine) -> None:
    panda = Panda(engine, assets_directory() / "panda.urdf")
    panda.place((0.45, -0.1, 0.1), 0.0)
    follow(panda, engine, (0.6, 0.15, 0.05), steps=20)
    before = panda.state()
    follow(panda, engine, (0.6, 0.15, 0.05), steps=1)
    after = panda.state()
    moved = np.subtract(after.position, before.position) * PHYSICS_HZ
    assert np.linalg.norm(moved) > 0.2
    assert np.array(after.velocity) == pytest.approx(moved, abs=0.01)


def test_the_fingers_hold_a_cube_against_gravity_and_it_does_not_wander_in_the_hand(engine: Engine) -> None:
    scene = Scene(engine, assets_directory())
    cube = scene.add_cube()
    engine.set_pose(cube, (0.5, 0.004, 0.025))
    low = (0.5, 0.0, 0.025)
    scene.robot.place(low, MAX_OPENING_M)
    follow(scene.robot, engine, low, 0.0, steps=80)
    in_hand = []
    for y in (0.0, 0.1, -0.1, 0.1, 0.0):
        follow(scene.robot, engine, (0.5, y, 0.15), 0.0, steps=80)
        at = engine.motion(cube).position
        in_hand.append(np.subtract(at, scene.robot.state().position))
        assert at[2] > 0.13
    assert scene.robot.state().opening == pytest.approx(0.05, abs=0.002)
    assert np.ptp(in_hand, axis=0).max() < 0.002
    fingers = engine.joints(scene.robot.body)
    one, other = engine.joint_positions(scene.robot.body, [fingers[f"panda_finger_joint{number}"] for number in (1, 2)])
    assert one == pytest.approx(other, abs=5e-4)


def test_the_same_future_follows_from_a_restored_state_after_contacts(engine: Engine) -> None:
    scene = Scene(engine, assets_directory())
    cube = scene.add_cube()
    engine.save()

    def push(start_y: float) -> list[float]:
        engine.restore()
        engine.set_pose(cube, (0.5, 0.0, 0.025))
        scene.robot.place((0.5, start_y, 0.03), 0.0)
        ways: list[float] = []
        for _ in range(6):
            follow(scene.robot, engine, (0.5, start_y + 0.12, 0.03))
            ways += engine.motion(cube).position
        return ways

    first = push(-0.06)
    other = push(-0.08)
    assert push(-0.06) == first
    assert other != first


def grasp(scene: Scene, engine: Engine) -> list[float]:
    """Where the cube goes that is grasped askew, carried and let go."""
    assert (cube := scene.frames["cube"][0]) is not None
    engine.restore()
    engine.set_pose(cube, (0.5, 0.006, 0.025), (0.0, 0.0, 0.1, 0.995))
    scene.robot.place((0.5, 0.0, 0.025), MAX_OPENING_M)
    ways: list[float] = []
    for height, opening in ((0.025, 0.0), (0.1, 0.0), (0.1, MAX_OPENING_M)):
        for _ in range(6):
            follow(scene.robot, engine, (0.5, 0.0, height), opening)
            scene.robot.actuator.fingers_are_at(scene.robot.state().opening)
            ways += engine.motion(cube).position
    return ways


def test_the_same_future_follows_from_a_restored_state_after_a_grasp(engine: Engine) -> None:
    scene = Scene(engine, assets_directory())
    scene.add_cube()
    engine.save()
    first = grasp(scene, engine)
    assert max(first[2::3]) > 0.08
    assert first[-1] < 0.03, "let go again"
    assert grasp(scene, engine) == first
