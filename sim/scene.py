"""The world that all tasks share: robot and table in an engine, and these in a room as what a renderer may draw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sim.actuator import ActuatorLimits
from sim.assets import CUBE_HALF_EDGE_M, TABLE_CENTRE_M, TABLE_HALF_EXTENTS_M, scene_meshes
from sim.engine import BASE, Body, Engine, Frame, Motion, Vector
from sim.panda_parts import panda_items
from sim.randomisation import DynamicsDraw
from sim.robot import Panda
from sim.rooms import room_items
from sim.scenery import Item, Part, Scenery
from sim.things import thing_items
from sim.visual_world import pictures_of

_TABLE_FRICTION = 0.6
_CUBE_FRICTION = 0.8
_CUBE_MASS_KG = 0.10
# Where the cube is in the saved state: it touches nothing there, so that no contact outlives its episode.
_PARKED: Vector = (0.0, 0.0, 5.0)


class Scene:
    """A robot at a table in an engine, and the scenery of it.

    Everything is loaded once: tasks add what they need while they are built, and then the scene is complete.
    """

    def __init__(self, engine: Engine, assets: Path) -> None:
        """Load the scene.

        Args:
            engine: An empty engine.
            assets: The directory from `sim.assets.assets_directory`.
        """
        self.engine = engine
        self.robot = Panda(engine, assets / "panda.urdf")
        self._table = engine.add_body(collision_half_extents=TABLE_HALF_EXTENTS_M, position=TABLE_CENTRE_M)
        self._cube: Body | None = None
        self._shapes = scene_meshes()
        self._items = [*room_items(), *thing_items()]
        self.frames: dict[str, Frame] = {}  # of what the engine moves, by the name of its item
        links = engine.links(self.robot.body)
        for item in panda_items(assets):
            self._items.append(item)
            self.frames[item.name] = (self.robot.body, links[item.name])

    def _shape(self, name: str, slot: str = "", *, casts_shadow: bool = True) -> Item:
        """Return one of the plain shapes, in the slot of its own name unless another is given."""
        return Item(slot or name, (Part(self._shapes[name], slot or name),), casts_shadow)

    def add_goal(self, shape: str) -> Body:
        """Add the task's goal, a visible mark that nothing collides with: "ball" or "disc"."""
        goal = self.engine.add_body()
        self._items.append(self._shape(shape, "goal", casts_shadow=shape == "ball"))
        self.frames["goal"] = (goal, BASE)
        return goal

    def add_cube(self) -> Body:
        """Add the cube that a task pushes or lifts."""
        half = CUBE_HALF_EDGE_M
        self._cube = self.engine.add_body(
            collision_half_extents=(half, half, half), position=_PARKED, mass=_CUBE_MASS_KG
        )
        self._items.append(self._shape("cube"))
        self.frames["cube"] = (self._cube, BASE)
        return self._cube

    def scenery(self, pictures: str = "") -> Scenery:
        """Return everything that may be seen; what the engine moves is the robot, the goal and the cube.

        Args:
            pictures: A user's folder, as `VisualConfig.pictures`.

        Raises:
            ValueError: The folder cannot be used.
        """
        return Scenery(tuple(self._items), tuple(self.frames), pictures_of(pictures))

    def poses(self) -> NDArray[np.float64]:
        """Return where the engine has the scenery's moving items, in their order, [N, 7]."""
        return self.engine.poses(tuple(self.frames.values()))

    def cube_motion(self) -> Motion | None:
        """Return pose and velocity of the cube, where there is one."""
        return None if self._cube is None else self.engine.motion(self._cube)

    def set_dynamics(self, draw: DynamicsDraw) -> None:
        """Give robot, table and cube their drawn dynamics."""
        limits = ActuatorLimits(draw.lag_s, draw.speed_share, draw.acceleration_share)
        self.robot.set_dynamics(limits, friction_factor=draw.finger_friction_factor)
        self.engine.set_dynamics(self._table, friction=_TABLE_FRICTION * draw.table_friction_factor)
        if self._cube is not None:
            mass, friction = _CUBE_MASS_KG * draw.cube_mass_factor, _CUBE_FRICTION * draw.cube_friction_factor
            self.engine.set_dynamics(self._cube, mass=mass, friction=friction)
