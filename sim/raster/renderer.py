"""`RasterRenderer`: pictures with 2 x 2 samples per pixel, textures, and shadows with soft edges, on one core."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sim.engine import Image
from sim.raster.arrays import FRAME, SHADOWS, Canvas, Floats, Integers, Paint
from sim.raster.blank import blank_canvas, blank_world
from sim.raster.compiling import load
from sim.raster.packing import pack
from sim.raster.views import camera_rows, paint_of
from sim.renderer import NOTHING
from sim.scenery import Camera, Look, Pose, Scenery

_SAMPLES = 2
# Looks whose arrays are kept: more than an environment has views.
_LOOKS = 64


class _Prepared(NamedTuple):
    look: Look  # held, so that its id stays its own
    paint: Paint
    rows: Floats
    frames: Integers  # of what the look places, and where
    poses: Floats


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
        still = [index for name, index in self._packed.frames.items() if name not in scenery.moving]
        self._still = np.array(still, np.int64)
        self._placed_by: Look | None = None
        self._prepared: dict[tuple[int, Camera], _Prepared] = {}
        self._canvases: dict[tuple[int, int], Canvas] = {}

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
        prepared = self._prepare(look, camera)
        image = np.empty((camera.height_px, camera.width_px, 3), np.uint8)
        packed = self._packed
        self._kernels.photograph(
            packed.geometry,
            packed.casters,
            self._world,
            self._canvas(camera, _SAMPLES),
            prepared.paint,
            prepared.rows,
            packed.moving_casters,
            image.reshape(-1),
        )
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
        self._prepare(look, camera)
        canvas = self._canvas(camera, 1)
        self._kernels.see(self._packed.geometry, self._world, canvas, camera_rows(camera, 1))
        return canvas

    def _prepare(self, look: Look, camera: Camera) -> _Prepared:
        """Put in place what no engine moves, and return what is the same for all pictures of a look and a camera."""
        key = (id(look), camera)
        prepared = self._prepared.get(key)
        if prepared is None:
            paint = paint_of(look, camera, self._scenery, self._packed)
            frames = np.array([self._packed.frames[name] for name in look.placed], np.int32)
            poses = np.array([_seven(pose) for pose in look.placed.values()], np.float32).reshape(-1, 7)
            prepared = _Prepared(look, paint, camera_rows(camera, _SAMPLES), frames, poses)
            self._furnish(prepared)
            if paint.penumbra[SHADOWS]:
                canvas = self._canvas(camera, _SAMPLES)
                self._kernels.cast_still(self._packed.casters, self._world, canvas, paint, self._packed.moving_casters)
            if len(self._prepared) >= _LOOKS:
                self._prepared.pop(next(iter(self._prepared)))
            self._prepared[key] = prepared
        elif self._placed_by is not look:
            self._furnish(prepared)
        return prepared

    def _furnish(self, prepared: _Prepared) -> None:
        self._world.shown[self._still] = 0
        self._world.shown[prepared.frames] = 1
        self._world.poses[prepared.frames] = prepared.poses
        parts = len(self._packed.geometry.parts)
        self._kernels.move(self._packed.geometry, self._world, self._packed.moving_parts, parts)
        self._placed_by = prepared.look

    def _canvas(self, camera: Camera, samples: int) -> Canvas:
        """Return the scratch for a size of image."""
        size = camera.height_px * samples, camera.width_px * samples
        if size not in self._canvases:
            self._canvases[size] = blank_canvas(self._packed.geometry, self._packed.casters, *size)
        return self._canvases[size]


def _seven(pose: Pose) -> tuple[float, ...]:
    return (*pose.position, *pose.orientation)
