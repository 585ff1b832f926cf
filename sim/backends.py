"""Which engine and which renderer a world gets, by the names that settings use. Each is imported when it is built."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sim.config import World
from sim.engine import Engine
from sim.renderer import Renderer
from sim.scenery import Scenery

if TYPE_CHECKING:
    from sim.raster.exposure import Exposure


def make_engine(physics_hz: int, name: World = "pybullet") -> Engine:
    """Return an empty world.

    Args:
        physics_hz: Physics steps per second.
        name: As `sim.config.SimConfig.engine`.

    Raises:
        ValueError: It needs a package that is not installed.
    """
    if name == "mujoco":
        with _mujoco_needed():
            from sim.mujoco_engine import MujocoEngine

        return MujocoEngine(physics_hz)
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

    Raises:
        ValueError: When a scenery is given: it needs a package that is not installed.
        OSError: Likewise: it needs OpenGL, and there is none.
    """

    def make(scenery: Scenery) -> Renderer:
        if name == "pybullet":
            from sim.bullet_renderer import BulletRenderer

            return BulletRenderer(scenery)
        if name == "mujoco":
            with _mujoco_needed():
                from sim.mujoco_renderer import MujocoRenderer
            from sim.stock_panda import in_full_detail

            return MujocoRenderer(in_full_detail(scenery))
        from sim.raster.renderer import RasterRenderer

        return RasterRenderer(scenery, quiet=quiet)

    return make


@contextmanager
def _mujoco_needed() -> Iterator[None]:
    """Say in one line that MuJoCo is missing, where it is."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != "mujoco":
            raise
        raise ValueError("MuJoCo is not installed: pip install 'twist-distillation[mujoco]'") from error
