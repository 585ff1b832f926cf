"""The world that all tasks share: robot, table, floor and wall, and how the draws of randomisation reach them."""

from __future__ import annotations

from pathlib import Path

from sim.assets import CUBE_HALF_EDGE_M, FLOOR_HEIGHT_M, TABLE_CENTRE_M, TABLE_HALF_EXTENTS_M
from sim.engine import BASE, Body, Engine, Texture, Vector
from sim.randomisation import DynamicsDraw, Surface
from sim.robot import Panda
from sim.textures import FAMILIES, texture_names

_TABLE_FRICTION = 0.6
_CUBE_FRICTION = 0.8
_CUBE_MASS_KG = 0.10
# Where the cube is in the saved state: it touches nothing there, so that no contact outlives its episode.
_PARKED: Vector = (0.0, 0.0, 5.0)


class Scene:
    """A robot at a table in an engine, with named surfaces that can be painted.

    Everything is loaded once. PyBullet would leak memory if textures or bodies were loaded anew per episode.
    """

    def __init__(self, engine: Engine, assets: Path) -> None:
        """Load the scene.

        Args:
            engine: An empty engine.
            assets: The directory from `sim.assets.assets_directory`.
        """
        self.engine = engine
        self._assets = assets
        self.robot = Panda(engine, assets / "panda.urdf")
        self._table = engine.add_body(
            visual=assets / "table.obj", collision_half_extents=TABLE_HALF_EXTENTS_M, position=TABLE_CENTRE_M
        )
        floor = engine.add_body(visual=assets / "floor.obj", position=(0.0, 0.0, FLOOR_HEIGHT_M))
        background = engine.add_body(visual=assets / "background.obj")
        self._cube: Body | None = None
        self._surfaces: dict[str, list[tuple[Body, int]]] = {
            "table": [(self._table, BASE)],
            "floor": [(floor, BASE)],
            "background": [(background, BASE)],
        }
        for name, links in self.robot.painted_links.items():
            self._surfaces[name] = [(self.robot.body, link) for link in links]
        self._textures: dict[str, Texture] = {
            name: engine.load_texture(assets / "textures" / f"{name}.png")
            for domain in FAMILIES
            for name in texture_names(domain)
        }
        self._painted: dict[str, Surface] = {}

    def add_goal(self, shape: str) -> Body:
        """Add the task's goal, a visible mark that nothing collides with: "ball" or "disc"."""
        goal = self.engine.add_body(visual=self._assets / f"{shape}.obj")
        self._surfaces["goal"] = [(goal, BASE)]
        return goal

    def add_cube(self) -> Body:
        """Add the cube that a task pushes or lifts."""
        half = CUBE_HALF_EDGE_M
        self._cube = self.engine.add_body(
            visual=self._assets / "cube.obj",
            collision_half_extents=(half, half, half),
            position=_PARKED,
            mass=_CUBE_MASS_KG,
        )
        self._surfaces["cube"] = [(self._cube, BASE)]
        return self._cube

    def bodies(self, surface: str) -> set[Body]:
        """Return the bodies that carry a surface, such as "goal"."""
        return {body for body, _ in self._surfaces.get(surface, [])}

    def paint(self, surfaces: dict[str, Surface]) -> None:
        """Give every surface of this scene its drawn look; surfaces that the scene does not have are left out."""
        for name, parts in self._surfaces.items():
            surface = surfaces[name]
            if self._painted.get(name) == surface:
                continue
            texture = None if surface.texture is None else self._textures[surface.texture]
            for body, link in parts:
                self.engine.paint(body, link, surface.colour, texture)
            self._painted[name] = surface

    def set_dynamics(self, draw: DynamicsDraw) -> None:
        """Give robot, table and cube their drawn dynamics."""
        self.robot.set_dynamics(
            mass_factor=draw.mass_factor,
            friction_factor=draw.friction_factor,
            damping_factor=draw.damping_factor,
            gain_factor=draw.controller_gain_factor,
            force_factor=draw.controller_force_factor,
        )
        self.engine.set_dynamics(self._table, friction=_TABLE_FRICTION * draw.friction_factor)
        if self._cube is not None:
            self.engine.set_dynamics(
                self._cube, mass=_CUBE_MASS_KG * draw.mass_factor, friction=_CUBE_FRICTION * draw.friction_factor
            )
