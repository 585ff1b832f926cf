"""The shadow map: how near to the lamp what casts shadows is, seen from the lamp; and how much light passes it.

Drawn are the sides that face away from the lamp. So no surface shades itself where the map or a light mesh is coarse,
and a shadow begins where the thing that casts it stands. The further behind it a point lies, the softer the edge is.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.raster.arrays import (
    BOARD_DEPTH,
    BOARD_SIZE,
    BOARD_X,
    BOARD_Y,
    FIRST_TRIANGLE,
    FIRST_VERTEX,
    FRAME,
    LAST_TRIANGLE,
    LAST_VERTEX,
    REACH_M,
    REACH_TEXELS,
    SHADOW_PX,
    TWO_SIDED,
    Canvas,
    Casters,
    Floats,
    Integers,
    World,
)
from sim.raster.compiling import inlined, kernel
from sim.raster.transforms import carry, is_outside, seen_by, whole_from, whole_to, within

F = np.float32
ZERO, HALF, ONE, TWO = F(0), F(0.5), F(1), F(2)
# An edge belongs to both of its triangles, so that rounding leaves no crack between them.
EDGE = F(-1e-5)
FARTHEST, DEEPEST = np.int32(-(1 << 28)), F(1 << 24)
NOTHING, FULL = np.int32(0), F(256)
# Texels that a point looks at each way; nothing is drawn on the map's rim, half as wide.
WINDOW = 8
STEPS = (np.uint64(1), np.uint64(2), np.uint64(4))
RIM = F(WINDOW // 2)
FIRST_OFFSET, WIDEST = F(3.5), F(3.5)
# How far below the board a point is at least that it shades, and how sharp its edge may be (depth, metres).
CLEAR, SHARPEST_M = F(64), F(0.004)


@kernel
def clear(depth: Integers) -> None:
    """Take everything off a shadow map."""
    depth[:] = FARTHEST


@kernel
def cast(casters: Casters, world: World, canvas: Canvas, depth: Integers, rows: Floats, first: int, last: int) -> None:
    """Draw the parts `first` to `last` (exclusive) of what casts shadows into a map.

    `rows` [3, 4] lead from the world to its texels and depths.
    """
    parts, triangles, spot, carried = casters.parts, casters.triangles, canvas.spot, canvas.carried
    edge = F(depth.shape[0])
    for part in range(first, last):
        frame = parts[part, FRAME]
        if not world.shown[frame]:
            continue
        carry(world.poses, frame, rows, carried)
        if is_outside(carried, edge, edge, False, casters.spheres, part):
            continue
        for v in range(parts[part, FIRST_VERTEX], parts[part, LAST_VERTEX]):
            x, y, z = seen_by(carried, casters.vertices, v)
            spot[v, 0], spot[v, 1], spot[v, 2] = x, y, _bounded(z)
        for t in range(parts[part, FIRST_TRIANGLE], parts[part, LAST_TRIANGLE]):
            _draw(spot, triangles[t, 0], triangles[t, 1], triangles[t, 2], parts[part, TWO_SIDED], depth)


@inlined
def _bounded(z: Any) -> Any:
    """Return a depth that a whole number can hold; 0 for what is no number."""
    return within(z + DEEPEST, DEEPEST + DEEPEST) - DEEPEST


@inlined
def _draw(spot: Floats, i: int, j: int, k: int, two_sided: int, depth: Integers) -> None:
    """Draw one triangle, corners (column, row, depth) in `spot` [V, 3], where it faces away from the lamp."""
    x0, y0, x1, y1, x2, y2 = spot[i, 0], spot[i, 1], spot[j, 0], spot[j, 1], spot[k, 0], spot[k, 1]
    area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
    if area < ZERO or (area > ZERO and two_sided):
        most = F(depth.shape[0]) - TWO * RIM - ONE
        left = whole_from(RIM + within(min(x0, x1, x2) - RIM - HALF, most + ONE))
        top = whole_from(RIM + within(min(y0, y1, y2) - RIM - HALF, most + ONE))
        right = whole_to(within(max(x0, x1, x2) - HALF, RIM + most))
        bottom = whole_to(within(max(y0, y1, y2) - HALF, RIM + most))
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
                here = np.int32(z0 + u * d1 + w * d2 if inside else ZERO)
                # No branch: a processor would guess it wrong at every edge.
                depth[y, x] = max(depth[y, x], here if inside else FARTHEST)


@kernel
def bound_windows(canvas: Canvas) -> None:
    """Write into `canvas.nearest` and `farthest` the bounds of every window of the shadow map.

    Pairs are compared, then pairs of pairs, and so on, in place.
    """
    shadow, nearest, farthest = canvas.shadow, canvas.nearest, canvas.farthest
    size = np.uint64(shadow.shape[0])
    for y in range(size):
        for x in range(size):
            nearest[y, x] = shadow[y, x]
            farthest[y, x] = shadow[y, x]
        for step in STEPS:
            for x in range(size - step):
                nearest[y, x] = max(nearest[y, x], nearest[y, x + step])
            for x in range(size - step):
                farthest[y, x] = min(farthest[y, x], farthest[y, x + step])
    for step in STEPS:
        for y in range(size - step):
            for x in range(size):
                nearest[y, x] = max(nearest[y, x], nearest[y + step, x])
            for x in range(size):
                farthest[y, x] = min(farthest[y, x], farthest[y + step, x])


@inlined
def lit(shadow: Integers, nearest: Integers, farthest: Integers, u: Any, v: Any, z: Any, penumbra: Floats) -> Any:
    """Return how much of the lamp's light, 0 to 1, reaches a point of the shadow map (texels; depth)."""
    share, last = ONE, F(SHADOW_PX) - RIM
    # What is beyond the map is lit, and what is no number, which no comparison admits.
    if u > RIM and v > RIM and u < last and v < last:
        depth = np.int32(_bounded(z))
        i, j = np.uint32(np.int32(u - FIRST_OFFSET)), np.uint32(np.int32(v - FIRST_OFFSET))
        if nearest[j, i] > depth:
            share = ZERO
            if farthest[j, i] <= depth:
                share = _lit_softly(shadow, i, j, u - F(np.int32(i)), v - F(np.int32(j)), depth, penumbra)
    return share


@inlined
def _lit_softly(shadow: Integers, i: int, j: int, x: Any, y: Any, depth: Any, penumbra: Floats) -> Any:
    """Return the share of the window at column i and row j that lets light pass to the place (x, y) in it.

    How much of the window counts follows from how far away is what stands before the light (Fernando, Percentage-closer
    soft shadows, 2005). All sums are of whole numbers.
    """
    count, ahead = NOTHING, NOTHING
    for row in range(np.uint32(WINDOW)):
        for column in range(np.uint32(WINDOW)):
            before = np.int32(shadow[j + row, i + column] - depth)
            count = np.int32(count + np.int32(before > NOTHING))
            ahead = np.int32(ahead + max(before, NOTHING))
    reach = min(max(penumbra[REACH_TEXELS] * F(ahead) / F(count), HALF), WIDEST) + HALF
    w0, w1, w2, w3 = _weight(0, x, reach), _weight(1, x, reach), _weight(2, x, reach), _weight(3, x, reach)
    w4, w5, w6, w7 = _weight(4, x, reach), _weight(5, x, reach), _weight(6, x, reach), _weight(7, x, reach)
    total, passed = NOTHING, NOTHING
    for row in range(np.uint32(WINDOW)):
        weight = _weight(np.int32(row), y, reach)
        k = j + row
        line = w0 if shadow[k, i] <= depth else NOTHING
        line += w1 if shadow[k, i + np.uint32(1)] <= depth else NOTHING
        line += w2 if shadow[k, i + np.uint32(2)] <= depth else NOTHING
        line += w3 if shadow[k, i + np.uint32(3)] <= depth else NOTHING
        line += w4 if shadow[k, i + np.uint32(4)] <= depth else NOTHING
        line += w5 if shadow[k, i + np.uint32(5)] <= depth else NOTHING
        line += w6 if shadow[k, i + np.uint32(6)] <= depth else NOTHING
        line += w7 if shadow[k, i + np.uint32(7)] <= depth else NOTHING
        passed += weight * line
        total += weight
    return F(passed) / F(total * (w0 + w1 + w2 + w3 + w4 + w5 + w6 + w7))


@inlined
def _weight(k: int, x: Any, reach: Any) -> Any:
    """Return how much of the texel `k` of a window lies within reach of the place x in it, of 256."""
    return np.int32(FULL * within(reach - abs(F(np.int32(k)) + HALF - x), ONE))


@inlined
def under_board(board: Floats, u: Any, v: Any, z: Any, penumbra: Floats) -> Any:
    """Return how much of the lamp's light passes beside a board, which is round or has right angles."""
    share = ONE
    below = board[BOARD_DEPTH, 0] * u + board[BOARD_DEPTH, 1] * v + board[BOARD_DEPTH, 2] - z
    if below > CLEAR and board[BOARD_SIZE, 0] > ZERO:
        x = abs(board[BOARD_X, 0] * u + board[BOARD_X, 1] * v + board[BOARD_X, 2])
        y = abs(board[BOARD_Y, 0] * u + board[BOARD_Y, 1] * v + board[BOARD_Y, 2])
        per = HALF / max(penumbra[REACH_M] * below, SHARPEST_M)
        if board[BOARD_SIZE, 2] > ZERO:
            share = ONE - within(HALF + per * (board[BOARD_SIZE, 0] - np.sqrt(x * x + y * y)), ONE)
        else:
            across = within(HALF + per * (board[BOARD_SIZE, 0] - x), ONE)
            share = ONE - across * within(HALF + per * (board[BOARD_SIZE, 1] - y), ONE)
    return share
