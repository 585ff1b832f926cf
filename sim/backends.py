"""Which engine and which renderer a world gets, by the names that settings use. Each is imported when it is built."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sim.engine import Engine
from sim.renderer import Renderer
from sim.scenery import Scenery

if TYPE_CHECKING:
    from sim.raster.exposure import Exposure


def make_engine(physics_hz: int) -> Engine:
    """Return an empty world of PyBullet's."""
    from sim.bullet_engine import BulletEngine

    return BulletEngine(physics_hz)


def make_exposure(size_px: int, quiet: bool = False) -> Exposure:
    """Return what applies sensors' flaws to square pictures.

    Args:
        size_px: Their edge.
        quiet: As for `renderer_maker`.
    """
    from sim.raster.exposure import Exposure

    return Exposure(size_px, size_px, quiet=quiet)


def renderer_maker(name: str, quiet: bool = False) -> Callable[[Scenery], Renderer]:
    """Return what builds the renderer of a name for a scenery.

    Args:
        name: As `sim.config.SimConfig.renderer`.
        quiet: Whether nothing is said while it is compiled, as in a worker whose driver has said it.
    """

    def make(scenery: Scenery) -> Renderer:
        if name == "pybullet":
            from sim.bullet_renderer import BulletRenderer

            return BulletRenderer(scenery)
        from sim.raster.renderer import RasterRenderer

        return RasterRenderer(scenery, quiet=quiet)

    return make
