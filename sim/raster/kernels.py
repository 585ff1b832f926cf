"""What Python calls of the kernels. Import this through `compiling.load`, which knows where compiled code lies."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from sim.raster.arrays import SHADOWS, Bytes, Canvas, Casters, Floats, Geometry, Paint, World
from sim.raster.blank import blank_canvas, blank_casters, blank_geometry, blank_paint, blank_world
from sim.raster.compiling import kernel
from sim.raster.sensing import brightness, compress, give_out, smear, soften, take_in, tone
from sim.raster.shading import develop, shade
from sim.raster.shadows import bound_windows, cast, clear
from sim.raster.transforms import move
from sim.raster.visibility import see

__all__ = [  # noqa: PLE0604 - strings, by the handful
    *("brightness", "cast_still", "compile_all", "compress", "develop", "give_out", "move", "photograph", "see"),
    *("shade", "smear", "soften", "take_in", "tone"),
]


@kernel
def cast_still(casters: Casters, world: World, canvas: Canvas, paint: Paint, moving: int) -> None:
    """Draw the shadow map of what no engine moves, all parts from `moving` on, into `paint.still`."""
    clear(paint.still)
    cast(casters, world, canvas, paint.still, paint.shadow, moving, casters.parts.shape[0])


@kernel
def photograph(
    geometry: Geometry, casters: Casters, world: World, canvas: Canvas, paint: Paint, rows: Floats, moving: int,
    image: Bytes,
) -> None:  # fmt: skip
    """Draw a picture: into the shadow map what moves, then what is seen, then its colours, and bytes in the end.

    Args:
        geometry: What may be seen.
        casters: What casts shadows, the engine's `moving` parts first.
        world: Where it is.
        canvas: Scratch.
        paint: How it looks; `paint.still` is drawn.
        rows: From the world to samples, see `views.camera_rows`.
        moving: How many parts cast shadows and move.
        image: The picture, flat, [H * W * 3].
    """
    if paint.penumbra[SHADOWS] > 0:
        shadow, still = canvas.shadow, paint.still
        for y in range(shadow.shape[0]):
            for x in range(shadow.shape[1]):
                shadow[y, x] = still[y, x]
        cast(casters, world, canvas, shadow, paint.shadow, 0, moving)
        bound_windows(canvas)
    see(geometry, world, canvas, rows)
    shade(geometry, world, canvas, paint)
    develop(canvas.linear, image)


def compile_all() -> None:
    """Compile what Python calls, and what that calls, for the arrays there will be."""
    geometry, casters = blank_geometry(vertices=1, triangles=1, parts=1, texels=1), blank_casters(1, 1, 1)
    world, canvas, paint = blank_world(geometry, frames=1), blank_canvas(geometry, casters, 1, 1), blank_paint(1)
    rows, flat, image = np.zeros((3, 4), np.float32), np.zeros(1, np.float32), np.zeros(1, np.uint8)
    picture, values, plane = (
        np.zeros((1, 1, 3), np.uint8),
        np.zeros((1, 1, 3), np.float32),
        np.zeros((1, 1), np.float32),
    )
    calls: list[tuple[Any, tuple[Any, ...]]] = [
        (move, (geometry, world, 0, 1)),
        (see, (geometry, world, canvas, rows)),
        (cast_still, (casters, world, canvas, paint, 1)),
        (photograph, (geometry, casters, world, canvas, paint, rows, 1, image)),
        (shade, (geometry, world, canvas, paint)),
        (develop, (flat, image)),
        (brightness, (picture,)),
        (take_in, (picture, values)),
        (soften, (plane, plane, values[0, 0])),
        (smear, (values, values, 1, 1.0, 1.0)),
        (tone, (values, plane, plane, values[0, 0], values[0, 0], 1, 1.0)),
        (compress, (values, plane, plane, plane, plane, plane, plane)),
        (give_out, (values, picture)),
    ]
    for function, arguments in calls:
        function.compile(tuple(numba.typeof(argument) for argument in arguments))
