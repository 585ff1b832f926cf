"""Each factor of the dynamics by what physics says that it does, in each engine, with no contact to amplify it."""

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from engines import ENGINES, PHYSICS_HZ, empty_world

from sim import DynamicsConfig
from sim.assets import CUBE_HALF_EDGE_M, assets_directory
from sim.bullet import bullet
from sim.bullet_engine import BulletEngine
from sim.engine import Body, Engine, Vector
from sim.randomisation import DynamicsDraw
from sim.robot import MAX_OPENING_M
from sim.scene import Scene

START = (0.38, 0.0, 0.1)
SLOPE = math.radians(40.0)


class World:
    """A scene with a cube that is begun anew for each draw."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.scene = Scene(engine, assets_directory())
        self.cube: Body = self.scene.add_cube()
        engine.save()

    def begin(self, **factors: float) -> None:
        self.engine.restore()
        self.scene.set_dynamics(DynamicsDraw(**factors))

    def follow(self, position: Vector, opening: float, seconds: float) -> None:
        for _ in range(round(seconds * PHYSICS_HZ)):
            self.scene.robot.follow(position, opening, 1 / PHYSICS_HZ)
            self.engine.step()


@pytest.fixture(scope="module", params=ENGINES)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    engine = empty_world(request.param)
    yield World(engine)
    engine.close()


# Where the arm is sent, and after how long the ends of each factor's range differ most, metres and seconds.
ARM = {"lag_s": (0.03, 0.25, -0.004), "speed_share": (0.25, 0.4, 0.03), "acceleration_share": (0.25, 0.1, 0.008)}


@pytest.mark.parametrize("name", ARM)
def test_the_arms_factors_decide_how_far_it_comes(world: World, name: str) -> None:
    way, seconds, least = ARM[name]
    came = []
    for end in getattr(DynamicsConfig(), name):
        world.begin(**{name: end})
        world.scene.robot.place(START, 0.0)
        world.follow((START[0] + way, START[1], START[2]), 0.0, seconds)
        came.append(world.scene.robot.state().position[0])
    gained = came[1] - came[0]
    assert gained * math.copysign(1.0, least) > abs(least)


FRICTIONS = ("cube_friction_factor", "table_friction_factor")


@pytest.fixture
def tilt(world: World) -> Iterator[Callable[[float], None]]:
    """Turns everything by an angle (radians) about y: gravity pulls along x as well."""
    engine: Any = world.engine

    def turn(angle: float) -> None:
        gravity = (9.81 * math.sin(angle), 0.0, -9.81 * math.cos(angle))
        if isinstance(engine, BulletEngine):
            engine._call(bullet.setGravity, *gravity)
        else:
            engine._built().model.opt.gravity[:] = gravity

    yield turn
    turn(0.0)


@pytest.mark.parametrize("name", FRICTIONS)
def test_a_cube_slides_down_a_slope_as_far_as_the_friction_of_cube_and_table_lets_it(
    world: World, tilt: Callable[[float], None], name: str
) -> None:
    engine, start = world.engine, (0.4, 0.2, CUBE_HALF_EDGE_M)
    for factor in getattr(DynamicsConfig(), name):
        world.begin(**{name: factor})
        engine.set_pose(world.cube, start)
        tilt(SLOPE)
        seconds = 0.3
        for _ in range(round(seconds * PHYSICS_HZ)):
            engine.step()
        slid = math.dist(engine.motion(world.cube).position, start)
        expected = 9.81 * (math.sin(SLOPE) - 0.8 * 0.6 * factor * math.cos(SLOPE)) * seconds**2 / 2
        assert slid == pytest.approx(expected, rel=0.1)


def held(world: World, **factors: float) -> bool:
    """Whether a cube that is grasped and raised by 5 cm comes along."""
    world.begin(**factors)
    low, high = (0.5, 0.0, 0.025), (0.5, 0.0, 0.075)
    world.engine.set_pose(world.cube, low)
    world.scene.robot.place(low, MAX_OPENING_M)
    world.follow(low, 0.0, 0.6)
    world.follow(high, 0.0, 0.8)
    return world.engine.motion(world.cube).position[2] > 0.06


# Two fingers of at most 20 N each: 3.8 N at a tenth of their friction, where the cube's weight is 1 N.
HOLDS: list[tuple[dict[str, float], bool]] = [
    ({}, True),
    ({"cube_mass_factor": 5.0}, True),
    ({"finger_friction_factor": 0.1}, True),
    ({"finger_friction_factor": 0.1, "cube_mass_factor": 5.0}, False),
    ({"finger_friction_factor": 0.02}, False),
]


@pytest.mark.parametrize(("factors", "holds"), HOLDS)
def test_fingers_hold_a_cube_as_heavy_as_their_friction_lets_them(
    world: World, factors: dict[str, float], holds: bool
) -> None:
    assert held(world, **factors) == holds


def test_every_factor_is_tested_here() -> None:
    tested = {*ARM, *FRICTIONS, *(name for factors, _ in HOLDS for name in factors)}
    assert tested == {entry.name for entry in dataclasses.fields(DynamicsDraw)}
