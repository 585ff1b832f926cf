"""`RasterRenderer`: pictures with 2 x 2 samples per pixel, textures, and shadows with soft edges, on one core."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.engine import Image
from sim.raster.arrays import FRAME, TEXELS, Canvas, Paint
from sim.raster.blank import blank_canvas, blank_world
from sim.raster.compiling import load
from sim.raster.packing import pack
from sim.raster.views import SHADOW_PX, camera_rows, paint_of, shadow_px
from sim.renderer import NOTHING
from sim.scenery import Camera, Look, Pose, Scenery

_SAMPLES = 2
# Looks whose arrays are kept: more than an environment has views.
_LOOKS = 64


class _Prepared(NamedTuple):
    look: Look  # held, so that its id stays its own
    paint: Paint


class RasterRenderer:
    """Implements `sim.renderer.Renderer` without any engine.

    All scratch is made once per size of image; a picture costs no allocation but its own bytes. An instance belongs to
    one thread.
    """

    name = "raster-2x2"

    def __init__(self, scenery: Scenery, *, quiet: bool = False) -> None:
        """Lay out a scenery, and compile the kernels where this machine has not done so (see `compiling`).

        Args:
            scenery: What may be seen.
            quiet: Whether nothing is said of a compilation.
        """
        self._kernels = load(quiet)
        self._scenery = scenery
        self._packed = pack(scenery)
        self._world = blank_world(self._packed.geometry, len(scenery.items))
        self._moving = np.array([self._packed.frames[name] for name in scenery.moving], np.int64)
        self._world.shown[self._moving] = 1
        self._still = [index for name, index in self._packed.frames.items() if name not in scenery.moving]
        self._placed_by: Look | None = None
        self._prepared: dict[tuple[int, Camera], _Prepared] = {}
        self._canvases: dict[tuple[int, int, int], Canvas] = {}
        self._shadows = {edge: np.zeros((edge, edge), np.float32) for edge in SHADOW_PX}

    def place(self, poses: NDArray[np.float64]) -> None:
        """See `Renderer.place`.

        Raises:
            ValueError: A pose is not finite, as when a simulation has blown up.
        """
        if not np.isfinite(poses).all():
            lost = [name for name, pose in zip(self._scenery.moving, poses, strict=True) if not np.isfinite(pose).all()]
            raise ValueError(f"the pose of {', '.join(lost)} is not finite")
        self._world.poses[self._moving] = poses
        self._kernels.move(self._packed.geometry, self._world, 0, self._packed.moving_parts)

    def render(self, look: Look, camera: Camera) -> Image:
        """See `Renderer.render`."""
        paint = self._paint(look, camera)
        self._furnish(look)
        image = np.empty((camera.height_px, camera.width_px, 3), np.uint8)
        canvas = self._canvas(camera, _SAMPLES, shadow_px(look.light, self._scenery.radius_m))
        geometry, world, kernels = self._packed.geometry, self._world, self._kernels
        if paint.penumbra[TEXELS]:
            kernels.cast(geometry, world, canvas, paint.shadow)
        kernels.see(geometry, world, canvas, camera_rows(camera, _SAMPLES))
        kernels.gather(geometry, world, canvas, paint)
        kernels.shade(geometry, canvas, paint)
        kernels.develop(canvas.linear.reshape(-1), image.reshape(-1))
        return image

    def segment(self, look: Look, camera: Camera) -> NDArray[np.int32]:
        """See `Renderer.segment`."""
        seen = self._see(look, camera).seen
        geometry = self._packed.geometry
        items = geometry.parts[geometry.part_of[np.maximum(seen, 0)], FRAME]
        return np.asarray(np.where(seen < 0, NOTHING, items), np.int32)

    def depth(self, look: Look, camera: Camera) -> NDArray[np.float32]:
        """See `Renderer.depth`."""
        canvas = self._see(look, camera)
        with np.errstate(divide="ignore"):
            return np.asarray(np.where(canvas.seen < 0, np.float32(np.inf), 1 / canvas.near), np.float32)

    def close(self) -> None:
        """See `Renderer.close`."""
        self._canvases.clear()
        self._prepared.clear()

    def _see(self, look: Look, camera: Camera) -> Canvas:
        self._paint(look, camera)
        self._furnish(look)
        canvas = self._canvas(camera, 1)
        self._kernels.see(self._packed.geometry, self._world, canvas, camera_rows(camera, 1))
        return canvas

    def _furnish(self, look: Look) -> None:
        """Put in place what no engine moves, unless the last picture was of the same look."""
        if self._placed_by is look:
            return
        self._world.shown[self._still] = 0
        for name, pose in look.placed.items():
            frame = self._packed.frames[name]
            self._world.shown[frame] = 1
            self._world.poses[frame] = _seven(pose)
        parts = len(self._packed.geometry.parts)
        self._kernels.move(self._packed.geometry, self._world, self._packed.moving_parts, parts)
        self._placed_by = look

    def _paint(self, look: Look, camera: Camera) -> Paint:
        key = (id(look), camera)
        if key not in self._prepared:
            if len(self._prepared) >= _LOOKS:
                self._prepared.pop(next(iter(self._prepared)))
            self._prepared[key] = _Prepared(look, paint_of(look, camera, self._scenery, self._packed))
        return self._prepared[key].paint

    def _canvas(self, camera: Camera, samples: int, shadow_edge: int = SHADOW_PX[0]) -> Canvas:
        """Return the scratch for a size of image, which shadow maps of all sizes share."""
        height, width = camera.height_px * samples, camera.width_px * samples
        if (height, width, shadow_edge) not in self._canvases:
            canvas = blank_canvas(self._packed.geometry, height, width, shadow_px=1)
            for edge, shadow in self._shadows.items():
                self._canvases[height, width, edge] = canvas._replace(shadow=shadow)
        return self._canvases[height, width, shadow_edge]


def _seven(pose: Pose) -> tuple[float, ...]:
    return (*pose.position, *pose.orientation)
