"""What Python calls of the kernels. Import this through `compiling.load`, which knows where compiled code lies."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from sim.raster.blank import blank_canvas, blank_geometry, blank_paint, blank_world
from sim.raster.sensing import compress, give_out, smear, soften, take_in, tone
from sim.raster.shading import develop, gather, shade
from sim.raster.shadows import cast
from sim.raster.transforms import move
from sim.raster.visibility import see

__all__ = [  # noqa: PLE0604 - strings, by the handful
    *("cast", "compile_all", "compress", "develop", "gather", "give_out", "move", "see", "shade", "smear", "soften"),
    *("take_in", "tone"),
]


def compile_all() -> None:
    """Compile what Python calls, and what that calls, for the arrays there will be."""
    geometry = blank_geometry(vertices=1, triangles=1, parts=1, texels=1)
    world, canvas = blank_world(geometry, frames=1), blank_canvas(geometry, height=1, width=1, shadow_px=1)
    rows = np.zeros((3, 4), np.float32)
    picture, values, plane = (
        np.zeros((1, 1, 3), np.uint8),
        np.zeros((1, 1, 3), np.float32),
        np.zeros((1, 1), np.float32),
    )
    calls: list[tuple[Any, tuple[Any, ...]]] = [
        (move, (geometry, world, 0, 1)),
        (see, (geometry, world, canvas, rows)),
        (cast, (geometry, world, canvas, rows)),
        (gather, (geometry, world, canvas, blank_paint(materials=1))),
        (shade, (geometry, canvas, blank_paint(materials=1))),
        (develop, (np.zeros(1, np.float32), np.zeros(1, np.uint8))),
        (take_in, (picture, values)),
        (soften, (plane, plane, values[0, 0])),
        (smear, (values, values, 1, 1.0, 1.0)),
        (tone, (values, plane, plane, values[0, 0], values[0, 0], 1, 1.0)),
        (compress, (values, plane, plane, plane, plane, plane, plane)),
        (give_out, (values, picture)),
    ]
    for function, arguments in calls:
        function.compile(tuple(numba.typeof(argument) for argument in arguments))
