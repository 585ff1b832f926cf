"""The shadow map: how near to the light the nearest surface is, seen from the light."""

from __future__ import annotations

import numpy as np

from sim.raster.arrays import (
    CASTS,
    FIRST_TRIANGLE,
    FIRST_VERTEX,
    FRAME,
    LAST_TRIANGLE,
    LAST_VERTEX,
    TWO_SIDED,
    Canvas,
    Floats,
    Geometry,
    World,
)
from sim.raster.compiling import inlined, kernel
from sim.raster.transforms import is_outside, seen_by, whole_from, whole_to, within

F = np.float32
ZERO, HALF, ONE, TWO = F(0), F(0.5), F(1), F(2)
# An edge belongs to both of its triangles, so that rounding leaves no crack between them.
EDGE = F(-1e-5)
FARTHEST = F(-1e9)


@kernel
def cast(geometry: Geometry, world: World, canvas: Canvas, rows: Floats) -> None:
    """Draw what casts a shadow into `canvas.shadow`; `rows` [3, 4] lead from the world to its texels and metres."""
    parts, triangles, points, spot, depth = (
        geometry.parts,
        geometry.triangles,
        world.vertices,
        canvas.spot,
        canvas.shadow,
    )
    depth[:] = FARTHEST
    edge = F(depth.shape[0])
    shown, spheres = world.shown, world.spheres
    for part in range(parts.shape[0]):
        if not (parts[part, CASTS] and shown[parts[part, FRAME]]):
            continue
        if is_outside(rows, edge, edge, False, spheres, part):
            continue
        for v in range(parts[part, FIRST_VERTEX], parts[part, LAST_VERTEX]):
            spot[v, 0], spot[v, 1], spot[v, 2] = seen_by(rows, points, v)
        for t in range(parts[part, FIRST_TRIANGLE], parts[part, LAST_TRIANGLE]):
            i, j, k = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            _draw(spot, i, j, k, parts[part, TWO_SIDED], depth)


@inlined
def _draw(spot: Floats, i: int, j: int, k: int, two_sided: int, depth: Floats) -> None:
    """Draw one triangle, corners (column, row, metres towards the light) in `spot` [V, 3]."""
    x0, y0, x1, y1, x2, y2 = spot[i, 0], spot[i, 1], spot[j, 0], spot[j, 1], spot[k, 0], spot[k, 1]
    area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
    if area > ZERO or (area < ZERO and two_sided):
        # The rim stays empty, so that what lies beyond the map has light.
        low, most = ONE + HALF, F(depth.shape[0]) - TWO - TWO
        left = whole_from(ONE + within(min(x0, x1, x2) - low, most + ONE))
        top = whole_from(ONE + within(min(y0, y1, y2) - low, most + ONE))
        right, bottom = (
            whole_to(within(max(x0, x1, x2) - HALF, ONE + most)),
            whole_to(within(max(y0, y1, y2) - HALF, ONE + most)),
        )
        inverse = ONE / area
        a1, b1 = (y2 - y0) * inverse, (x0 - x2) * inverse
        a2, b2 = (y0 - y1) * inverse, (x1 - x0) * inverse
        z0 = spot[i, 2]
        d1, d2 = spot[j, 2] - z0, spot[k, 2] - z0
        for y in range(np.uint64(top), np.uint64(bottom + 1)):
            down = F(np.int32(y)) + HALF - y0
            for x in range(np.uint64(left), np.uint64(right + 1)):
                across = F(np.int32(x)) + HALF - x0
                u, w = a1 * across + b1 * down, a2 * across + b2 * down
                inside = min(u, w, ONE - u - w) >= EDGE
                # No branch: a processor would guess it wrong at every edge.
                depth[y, x] = max(depth[y, x], z0 + u * d1 + w * d2 if inside else FARTHEST)
