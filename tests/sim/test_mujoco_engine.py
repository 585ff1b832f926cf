"""What the engine on MuJoCo has of its own; what every engine does is tested with the robot and the environment."""

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from engines import PHYSICS_HZ

from sim import DynamicsConfig, SimConfig, make_env
from sim.assets import assets_directory
from sim.backends import make_engine
from sim.randomisation import draw_dynamics
from sim.scene import Scene

pytest.importorskip("mujoco", reason="MuJoCo is not installed")


@pytest.fixture
def engine() -> Iterator[Any]:
    engine = make_engine(PHYSICS_HZ, "mujoco")
    yield engine
    engine.close()


def stand(engine: Any, steps: int) -> None:
    for _ in range(steps):
        engine.step()


def test_what_is_set_while_the_world_is_built_is_there_when_it_is_complete(engine: Any) -> None:
    scene = Scene(engine, assets_directory())
    cube = scene.add_cube()
    scene.set_dynamics(draw_dynamics(DynamicsConfig(cube_mass_factor=(2.0, 2.0)), 0))
    scene.add_goal("disc")
    engine.save()
    index = engine._world.ids[cube][0]
    assert engine._world.model.body_mass[index] == pytest.approx(0.2)


def test_nothing_is_added_to_a_world_that_has_begun(engine: Any) -> None:
    engine.add_body(collision_half_extents=(0.1, 0.1, 0.1), mass=1.0)
    engine.step()
    with pytest.raises(AssertionError, match="before the world is first moved"):
        engine.add_body()


def test_bodies_fall_and_goals_and_tables_stay_where_they_are_put(engine: Any) -> None:
    table = engine.add_body(collision_half_extents=(1.0, 1.0, 0.1), position=(0.0, 0.0, -0.1))
    cube = engine.add_body(collision_half_extents=(0.05, 0.05, 0.05), position=(0.0, 0.0, 1.0), mass=0.5)
    goal = engine.add_body()
    engine.set_pose(goal, (0.2, 0.3, 0.4), (0.0, 0.0, 0.6, 0.8))
    stand(engine, PHYSICS_HZ // 10)
    fallen = engine.motion(cube)
    assert fallen.velocity[2] == pytest.approx(-0.981, rel=0.02)
    assert fallen.position[2] == pytest.approx(1.0 - 0.5 * 9.81 * 0.01, abs=0.005)
    stand(engine, 2 * PHYSICS_HZ)
    assert engine.motion(cube).position == pytest.approx((0.0, 0.0, 0.05), abs=0.001)
    assert engine.motion(table).position == pytest.approx((0.0, 0.0, -0.1))
    assert engine.poses(((goal, -1),))[0] == pytest.approx([0.2, 0.3, 0.4, 0.0, 0.0, 0.6, 0.8])


@pytest.mark.parametrize(("friction", "slides"), [(0.3, True), (0.9, False)])
def test_the_friction_of_two_bodies_is_the_product_of_theirs(engine: Any, friction: float, slides: bool) -> None:
    half = np.arctan(0.5) / 2  # a slope of one half
    slope = engine.add_body(collision_half_extents=(2.0, 2.0, 0.1))
    cube = engine.add_body(collision_half_extents=(0.05, 0.05, 0.05), mass=0.5)
    engine.set_dynamics(slope, friction=0.8)
    engine.set_dynamics(cube, friction=friction)
    turn = (0.0, float(np.sin(half)), 0.0, float(np.cos(half)))
    engine.set_pose(slope, (0.0, 0.0, 0.0), turn)
    engine.set_pose(cube, (0.15 * np.sin(2 * half), 0.0, 0.15 * np.cos(2 * half)), turn)
    stand(engine, PHYSICS_HZ // 2)
    # MuJoCo alone would take the larger friction, 0.8, which holds the cube in either case.
    assert (engine.motion(cube).position[0] > 0.2) == slides


def test_a_mass_changes_the_inertia_with_it(engine: Any) -> None:
    cube = engine.add_body(collision_half_extents=(0.05, 0.05, 0.05), mass=0.5)
    engine.save()
    engine.set_dynamics(cube, mass=1.5)
    engine.step()
    index = engine._world.ids[cube][0]
    assert engine._world.model.body_inertia[index] == pytest.approx([1.5 * 0.1**2 / 6] * 3)


def test_a_simulation_that_blows_up_says_so(engine: Any) -> None:
    cube = engine.add_body(collision_half_extents=(0.05, 0.05, 0.05), mass=0.5)
    engine.set_pose(cube, (0.0, 0.0, float("nan")))
    with pytest.raises(RuntimeError, match="blown up"):
        engine.step()


def test_a_world_without_the_package_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mujoco", None)
    for module in ("sim.mujoco_engine", "sim.mujoco_renderer"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    for settings in (SimConfig(engine="mujoco"), SimConfig(renderer="mujoco")):
        with pytest.raises(ValueError, match=r"^MuJoCo is not installed: pip install 'twist-distillation\[mujoco\]'$"):
            make_env("reach", settings)
