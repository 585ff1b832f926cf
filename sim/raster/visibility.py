"""Which triangle each sample of the image shows."""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.raster.arrays import (
    FIRST_TRIANGLE,
    FIRST_VERTEX,
    FRAME,
    LAST_TRIANGLE,
    LAST_VERTEX,
    SIDE,
    TWO_SIDED,
    Canvas,
    Floats,
    Geometry,
    Integers,
    World,
)
from sim.raster.compiling import inlined, kernel
from sim.raster.transforms import is_outside, reciprocal, seen_by, span, whole_from, whole_to, within

F = np.float32
ZERO, ONE, HALF = F(0), F(1), F(0.5)
# An edge belongs to both of its triangles, so that rounding leaves no crack between them; the nearer one is seen.
EDGE = F(-1e-5)
NEAR_M = F(0.05)
# Columns of samples up to which a triangle is tested sample by sample: most of a robot's, and a processor's vector.
NARROW = 16


@kernel
def see(geometry: Geometry, world: World, canvas: Canvas, rows: Floats) -> None:
    """Find what every sample shows: `canvas.seen` and `near`, and `planes` of all triangles that might be seen.

    `rows` [3, 4] lead from the world to column and row (samples), both times the distance, and to the distance.
    """
    parts, triangles, points = geometry.parts, geometry.triangles, world.vertices
    near, seen, screen, planes = canvas.near, canvas.seen, canvas.screen, canvas.planes
    near[:] = ZERO
    seen[:] = -1
    height, width = F(seen.shape[0]), F(seen.shape[1])
    shown, spheres = world.shown, world.spheres
    for part in range(parts.shape[0]):
        if not shown[parts[part, FRAME]]:
            continue
        if is_outside(rows, width, height, True, spheres, part):
            continue
        for v in range(parts[part, FIRST_VERTEX], parts[part, LAST_VERTEX]):
            x, y, distance = seen_by(rows, points, v)
            inverse = ONE / distance if distance > NEAR_M else ZERO
            screen[v, 0], screen[v, 1], screen[v, 2] = x * inverse, y * inverse, inverse
        for t in range(parts[part, FIRST_TRIANGLE], parts[part, LAST_TRIANGLE]):
            i, j, k = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            if screen[i, 2] > ZERO and screen[j, 2] > ZERO and screen[k, 2] > ZERO:
                left, right, top, bottom = _look_at(screen, i, j, k, parts[part, TWO_SIDED], planes, t, width, height)
            else:
                left, right, top, bottom = _look_at_cut(points, i, j, k, parts[part, TWO_SIDED], planes, t, rows, seen)
            if left <= right:
                _fill(near, seen, planes, t, left, right, top, bottom)


@inlined
def _look_at(
    screen: Floats, i: int, j: int, k: int, two_sided: int, planes: Floats, t: int, width: Any, height: Any
) -> Any:
    """Write the planes of a triangle wholly before the camera and return its first and last column and row.

    `screen` [V, 3] has columns, rows and 1 / distance. A triangle that is not seen has no columns.
    """
    x0, y0, x1, y1, x2, y2 = screen[i, 0], screen[i, 1], screen[j, 0], screen[j, 1], screen[k, 0], screen[k, 1]
    area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
    left, right, top, bottom = 0, -1, 0, -1
    if area < ZERO or (area > ZERO and two_sided):  # rows run downwards: a front is clockwise
        left = whole_from(within(min(x0, x1, x2) - HALF, width))
        right = whole_to(max(min(max(x0, x1, x2), width - HALF) - HALF, -ONE))
        top = whole_from(within(min(y0, y1, y2) - HALF, height))
        bottom = whole_to(max(min(max(y0, y1, y2), height - HALF) - HALF, -ONE))
        if left <= right and top <= bottom:
            inverse = ONE / area
            f0, f1, f2 = screen[i, 2] * inverse, screen[j, 2] * inverse, screen[k, 2] * inverse
            a0, b0, a1, b1 = (y1 - y2) * f0, (x2 - x1) * f0, (y2 - y0) * f1, (x0 - x2) * f1
            a2, b2 = (y0 - y1) * f2, (x1 - x0) * f2
            planes[t, 0], planes[t, 1], planes[t, 2] = a0, b0, -(a0 * x1 + b0 * y1)
            planes[t, 3], planes[t, 4], planes[t, 5] = a1, b1, -(a1 * x2 + b1 * y2)
            planes[t, 6], planes[t, 7], planes[t, 8] = a2, b2, -(a2 * x0 + b2 * y0)
            planes[t, SIDE] = ONE if area < ZERO else -ONE
    return left, right, top, bottom


@inlined
def _look_at_cut(
    points: Floats, i: int, j: int, k: int, two_sided: int, planes: Floats, t: int, rows: Floats, seen: Integers
) -> Any:
    """Do the same where a triangle reaches behind the camera: homogeneous coordinates need no clipping."""
    x0, y0, d0 = seen_by(rows, points, i)
    x1, y1, d1 = seen_by(rows, points, j)
    x2, y2, d2 = seen_by(rows, points, k)
    a0, b0, c0 = y1 * d2 - y2 * d1, x2 * d1 - x1 * d2, x1 * y2 - x2 * y1
    volume = x0 * a0 + y0 * b0 + d0 * c0
    left, right, top, bottom = 0, -1, 0, -1
    if max(d0, d1, d2) > NEAR_M and (volume < ZERO or (volume > ZERO and two_sided)):
        right, bottom = seen.shape[1] - 1, seen.shape[0] - 1
        inverse = ONE / volume
        planes[t, 0], planes[t, 1], planes[t, 2] = a0 * inverse, b0 * inverse, c0 * inverse
        planes[t, 3] = (y2 * d0 - y0 * d2) * inverse
        planes[t, 4] = (x0 * d2 - x2 * d0) * inverse
        planes[t, 5] = (x2 * y0 - x0 * y2) * inverse
        planes[t, 6] = (y0 * d1 - y1 * d0) * inverse
        planes[t, 7] = (x1 * d0 - x0 * d1) * inverse
        planes[t, 8] = (x0 * y1 - x1 * y0) * inverse
        planes[t, SIDE] = ONE if volume < ZERO else -ONE
    return left, right, top, bottom


@inlined
def _fill(near: Floats, seen: Integers, planes: Floats, t: int, left: int, right: int, top: int, bottom: int) -> None:
    """Fill what a triangle covers of its columns and rows: sample by sample where it is narrow, else in spans."""
    if right - left < NARROW and seen.shape[1] >= NARROW:
        _fill_narrow(near, seen, planes, t, left, top, bottom)
    else:
        _fill_spans(near, seen, planes, t, left, right, top, bottom)


@inlined
def _fill_narrow(near: Floats, seen: Integers, planes: Floats, t: int, left: int, top: int, bottom: int) -> None:
    """Test `NARROW` samples of each row at once: a number known beforehand and no branch make it a few instructions."""
    a0, b0, c0 = planes[t, 0], planes[t, 1], planes[t, 2]
    a1, b1, c1 = planes[t, 3], planes[t, 4], planes[t, 5]
    a2, b2, c2 = planes[t, 6], planes[t, 7], planes[t, 8]
    a, number = a0 + a1 + a2, np.int32(t)
    begin = min(np.uint64(left), np.uint64(seen.shape[1] - NARROW))
    start = F(np.int32(begin)) + HALF
    for y in range(np.uint64(top), np.uint64(bottom + 1)):
        row = F(np.int32(y)) + HALF
        q0, q1, q2 = b0 * row + c0, b1 * row + c1, b2 * row + c2
        q = q0 + q1 + q2
        for k in range(np.uint64(NARROW)):
            x = begin + k
            column = start + F(np.int32(k))
            z, before, shown = a * column + q, near[y, x], seen[y, x]
            inside = min(a0 * column + q0, a1 * column + q1, a2 * column + q2) >= EDGE
            front = inside & (z > before)
            near[y, x] = z if front else before
            seen[y, x] = number if front else shown


@inlined
def _fill_spans(
    near: Floats, seen: Integers, planes: Floats, t: int, left: int, right: int, top: int, bottom: int
) -> None:
    """Fill a triangle row by row, from where its edges let it begin to where they let it end."""
    a0, b0, c0 = planes[t, 0], planes[t, 1], planes[t, 2]
    a1, b1, c1 = planes[t, 3], planes[t, 4], planes[t, 5]
    a2, b2, c2 = planes[t, 6], planes[t, 7], planes[t, 8]
    a, number, width = a0 + a1 + a2, np.int32(t), F(seen.shape[1])
    per0, per1, per2 = reciprocal(a0), reciprocal(a1), reciprocal(a2)
    for y in range(np.uint64(top), np.uint64(bottom + 1)):
        row = F(np.int32(y)) + HALF
        q0, q1, q2 = b0 * row + c0, b1 * row + c1, b2 * row + c2
        low, high = F(left) + HALF, F(right) + HALF
        low, high = span(a0, per0, q0 - EDGE, low, high)
        low, high = span(a1, per1, q1 - EDGE, low, high)
        low, high = span(a2, per2, q2 - EDGE, low, high)
        q = q0 + q1 + q2
        start, end = whole_from(within(low - HALF, width)), whole_to(within(high + HALF, width))
        for x in range(np.uint64(start), np.uint64(end)):
            z = a * (F(np.int32(x)) + HALF) + q
            if z > near[y, x]:
                near[y, x] = z
                seen[y, x] = number
