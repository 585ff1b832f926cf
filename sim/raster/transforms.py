"""Moving vertices to where their items are, and from there to an image or a shadow map."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sim.raster.arrays import FIRST_VERTEX, FRAME, LAST_VERTEX, Floats, Geometry, World
from sim.raster.compiling import inlined, kernel

F = np.float32
ONE, TWO, ZERO = F(1), F(2), F(0)


@kernel
def move(geometry: Geometry, world: World, first: int, last: int) -> None:
    """Move the vertices of the parts `first` to `last` (exclusive) by the poses of their frames."""
    for part in range(first, last):
        frame = geometry.parts[part, FRAME]
        if not world.shown[frame]:
            continue
        px, py, pz = world.poses[frame, 0], world.poses[frame, 1], world.poses[frame, 2]
        xx, xy, xz, yx, yy, yz, zx, zy, zz = turned(world.poses, frame)
        a, b, c = geometry.spheres[part, 0], geometry.spheres[part, 1], geometry.spheres[part, 2]
        world.spheres[part, 0] = xx * a + xy * b + xz * c + px
        world.spheres[part, 1] = yx * a + yy * b + yz * c + py
        world.spheres[part, 2] = zx * a + zy * b + zz * c + pz
        world.spheres[part, 3] = geometry.spheres[part, 3]
        for v in range(geometry.parts[part, FIRST_VERTEX], geometry.parts[part, LAST_VERTEX]):
            a, b, c = geometry.vertices[v, 0], geometry.vertices[v, 1], geometry.vertices[v, 2]
            world.vertices[v, 0] = xx * a + xy * b + xz * c + px
            world.vertices[v, 1] = yx * a + yy * b + yz * c + py
            world.vertices[v, 2] = zx * a + zy * b + zz * c + pz
            a, b, c = geometry.normals[v, 0], geometry.normals[v, 1], geometry.normals[v, 2]
            world.normals[v, 0] = xx * a + xy * b + xz * c
            world.normals[v, 1] = yx * a + yy * b + yz * c
            world.normals[v, 2] = zx * a + zy * b + zz * c


@inlined
def turned(poses: Floats, frame: int) -> Any:
    """Return the rotation of a pose [F, 7], by rows."""
    x, y, z, w = poses[frame, 3], poses[frame, 4], poses[frame, 5], poses[frame, 6]
    s = TWO / (x * x + y * y + z * z + w * w)
    return (
        ONE - s * (y * y + z * z),
        s * (x * y - z * w),
        s * (x * z + y * w),
        s * (x * y + z * w),
        ONE - s * (x * x + z * z),
        s * (y * z - x * w),
        s * (x * z - y * w),
        s * (y * z + x * w),
        ONE - s * (x * x + y * y),
    )


@inlined
def carry(poses: Floats, frame: int, rows: Floats, carried: Floats) -> None:
    """Write into `carried` what leads from a frame to where `rows` lead from the world, both [3, 4]."""
    xx, xy, xz, yx, yy, yz, zx, zy, zz = turned(poses, frame)
    for row in range(3):
        a, b, c = rows[row, 0], rows[row, 1], rows[row, 2]
        carried[row, 0] = a * xx + b * yx + c * zx
        carried[row, 1] = a * xy + b * yy + c * zy
        carried[row, 2] = a * xz + b * yz + c * zz
        carried[row, 3] = a * poses[frame, 0] + b * poses[frame, 1] + c * poses[frame, 2] + rows[row, 3]


@inlined
def seen_by(rows: Floats, points: Floats, v: int) -> Any:
    """Return what three rows [3, 4] make of the point `v` of [V, 3]."""
    x, y, z = points[v, 0], points[v, 1], points[v, 2]
    return (
        rows[0, 0] * x + rows[0, 1] * y + rows[0, 2] * z + rows[0, 3],
        rows[1, 0] * x + rows[1, 1] * y + rows[1, 2] * z + rows[1, 3],
        rows[2, 0] * x + rows[2, 1] * y + rows[2, 2] * z + rows[2, 3],
    )


@inlined
def is_outside(rows: Floats, width: Any, height: Any, in_perspective: bool, spheres: Floats, part: int) -> bool:
    """Say whether the ball `part` of [P, 4] lies wholly beside what `rows` [3, 4] show: 0 to width and 0 to height.

    In perspective the rows give columns and rows times the distance, and the last one the distance.
    """
    x, y, z, radius = spheres[part, 0], spheres[part, 1], spheres[part, 2], spheres[part, 3]
    outside = False
    for axis in range(2):
        edge = width if axis == 0 else height
        q0, q1, q2, q3 = rows[axis, 0], rows[axis, 1], rows[axis, 2], rows[axis, 3]
        if q0 * x + q1 * y + q2 * z + q3 < -radius * math.sqrt(q0 * q0 + q1 * q1 + q2 * q2):
            outside = True
        if in_perspective:
            q0, q1 = edge * rows[2, 0] - q0, edge * rows[2, 1] - q1
            q2, q3 = edge * rows[2, 2] - q2, edge * rows[2, 3] - q3
        else:
            q0, q1, q2, q3 = -q0, -q1, -q2, edge - q3
        if q0 * x + q1 * y + q2 * z + q3 < -radius * math.sqrt(q0 * q0 + q1 * q1 + q2 * q2):
            outside = True
    return outside


@inlined
def whole_from(x: Any) -> Any:
    """Return the least whole number that is not below x, which is not negative; numba's own `ceil` is a call."""
    whole = np.int64(x)
    return whole + np.int64(F(whole) < x)


@inlined
def whole_to(x: Any) -> Any:
    """Return the greatest whole number that is not above x; numba's own `floor` is a call."""
    whole = np.int64(x)
    return whole - np.int64(F(whole) > x)


@inlined
def within(x: Any, most: Any) -> Any:
    """Return x where it lies between 0 and `most`, else the nearer of them, and 0 for what is no number.

    Whatever becomes an index passes through here: compiled code writes wherever a wrong one leads. The order of the
    comparisons matters, as none with NaN is true; `min` and `max` let it through.
    """
    return (x if x < most else most) if x > ZERO else ZERO


@inlined
def reciprocal(a: Any) -> Any:
    """Return 1 / a, and 0 for 0."""
    return ONE / a if a != ZERO else ZERO


@inlined
def span(a: Any, per: Any, q: Any, low: Any, high: Any) -> Any:
    """Shorten the span from low to high to where a x + q is not negative; `per` is the reciprocal of a."""
    if a > ZERO:
        low = max(low, -q * per)
    elif a < ZERO:
        high = min(high, -q * per)
    elif q < ZERO:
        low = high + ONE
    return low, high
