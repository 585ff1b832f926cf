"""From surfaces to colours: light, shadow and texture of every surface in a pixel, once each, and bytes in the end."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sim.raster.arrays import (
    DENSITY,
    GROUND,
    HALF_WAY,
    KEY,
    LIT,
    OUTWARDS,
    SECOND,
    SECOND_TOWARDS,
    SHADOWS,
    SIDE,
    SKY,
    TOWARDS,
    TOWARDS_LIGHT,
    Bytes,
    Canvas,
    Floats,
    Geometry,
    Integers,
    Paint,
    World,
)
from sim.raster.compiling import inlined, kernel
from sim.raster.shadows import lit, under_board
from sim.raster.transforms import whole_to, within

F = np.float32
ZERO, QUARTER, HALF, ONE, FOUR, WHITE = F(0), F(0.25), F(0.5), F(1), F(4), F(255)
TINY = F(1e-12)


@inlined
def _gather(
    triangles: Integers, uv: Floats, even: Bytes, normals: Floats, planes: Floats, values: Floats, lights: Floats,
    mapping: Floats, t: int, m: int,
) -> None:  # fmt: skip
    """Write into `values` what is the same wherever on the triangle `t` of the material `m` a pixel lies."""
    i, j, k = triangles[t, 0], triangles[t, 1], triangles[t, 2]
    if even[t]:
        side = planes[t, SIDE]
        soft_r, soft_g, soft_b, key, shine = light_up(
            side * normals[i, 0], side * normals[i, 1], side * normals[i, 2], lights
        )
        values[t, LIT], values[t, LIT + 1], values[t, LIT + 2] = soft_r, soft_g, soft_b
        values[t, LIT + 3], values[t, LIT + 4] = key, shine
    # The determinant of the planes of both texture coordinates and of 1 / distance: the first two are sums of the
    # corners' planes, times which the mapping enters by its determinant.
    u0, v0, u1, v1, u2, v2 = uv[i, 0], uv[i, 1], uv[j, 0], uv[j, 1], uv[k, 0], uv[k, 1]
    ua = u0 * planes[t, 0] + u1 * planes[t, 3] + u2 * planes[t, 6]
    ub = u0 * planes[t, 1] + u1 * planes[t, 4] + u2 * planes[t, 7]
    uc = u0 * planes[t, 2] + u1 * planes[t, 5] + u2 * planes[t, 8]
    va = v0 * planes[t, 0] + v1 * planes[t, 3] + v2 * planes[t, 6]
    vb = v0 * planes[t, 1] + v1 * planes[t, 4] + v2 * planes[t, 7]
    vc = v0 * planes[t, 2] + v1 * planes[t, 5] + v2 * planes[t, 8]
    a = planes[t, 0] + planes[t, 3] + planes[t, 6]
    b = planes[t, 1] + planes[t, 4] + planes[t, 7]
    c = planes[t, 2] + planes[t, 5] + planes[t, 8]
    scale = mapping[m, 0] * mapping[m, 3] - mapping[m, 1] * mapping[m, 2]
    values[t, DENSITY] = abs(scale * (ua * (vb * c - vc * b) - ub * (va * c - vc * a) + uc * (va * b - vb * a)))


@inlined
def light_up(n0: Any, n1: Any, n2: Any, lights: Floats) -> Any:
    """Return what a surface with this normal gets: even and second light (RGB), share of the key light, highlight.

    `lights` [7, 3]: towards the key light; half way from there to the camera; the key light's colour; even light from
    above and from below; towards the second light; its colour.
    """
    length = ONE / math.sqrt(n0 * n0 + n1 * n1 + n2 * n2 + TINY)
    n0, n1, n2 = n0 * length, n1 * length, n2 * length
    up = HALF + HALF * n2
    down = ONE - up
    key = max(ZERO, n0 * lights[TOWARDS, 0] + n1 * lights[TOWARDS, 1] + n2 * lights[TOWARDS, 2])
    fill = max(ZERO, n0 * lights[SECOND_TOWARDS, 0] + n1 * lights[SECOND_TOWARDS, 1] + n2 * lights[SECOND_TOWARDS, 2])
    shine = max(ZERO, n0 * lights[HALF_WAY, 0] + n1 * lights[HALF_WAY, 1] + n2 * lights[HALF_WAY, 2])
    shine *= shine
    shine *= shine
    shine *= shine
    shine *= shine
    shine *= shine  # to the 32nd power
    return (
        up * lights[SKY, 0] + down * lights[GROUND, 0] + fill * lights[SECOND, 0],
        up * lights[SKY, 1] + down * lights[GROUND, 1] + fill * lights[SECOND, 1],
        up * lights[SKY, 2] + down * lights[GROUND, 2] + fill * lights[SECOND, 2],
        key,
        shine * key,
    )


@kernel
def shade(geometry: Geometry, world: World, canvas: Canvas, paint: Paint) -> None:
    """Write the linear light of every pixel, from its 2 x 2 samples, into `canvas.linear`.

    A surface is shaded once in a pixel, in the middle of the samples that show it: never beyond its edge, where what is
    interpolated may be anything. Inside a smooth part one of its triangles speaks for the others.
    """
    material_of, part_of, even, texels = geometry.material_of, geometry.part_of, geometry.even, geometry.texels
    seen, values, known, linear = canvas.seen, canvas.values, canvas.known, canvas.linear
    back_r, back_g, back_b = paint.backdrop[0], paint.backdrop[1], paint.backdrop[2]
    known[:] = 0
    at = 0
    for row in range(seen.shape[0] // 2):
        for column in range(seen.shape[1] // 2):
            y, x = 2 * row, 2 * column
            a, b, c, d = seen[y, x], seen[y, x + 1], seen[y + 1, x], seen[y + 1, x + 1]
            whole = a == b and a == c and a == d
            smooth = False
            if not whole and min(a, b, c, d) >= 0 and not (even[a] or even[b] or even[c] or even[d]):
                smooth = part_of[a] == part_of[b] and part_of[a] == part_of[c] and part_of[a] == part_of[d]
            red = green = blue = ZERO
            for sample in range(1 if whole or smooth else 4):
                t, weight, across, down = a, ONE, HALF, HALF
                if not whole:
                    t = a if sample == 0 else b if sample == 1 else c if sample == 2 else d
                    if (sample > 0 and t == a) or (sample > 1 and t == b) or (sample > 2 and t == c):
                        continue
                    in_b, in_c, in_d = F(t == b), F(t == c), F(t == d)
                    count = F(t == a) + in_b + in_c + in_d
                    across, down = (in_b + in_d) / count, (in_c + in_d) / count
                    if not smooth:
                        weight = QUARTER * count
                r, g, b_ = back_r, back_g, back_b
                if t >= 0:
                    t = np.uint32(t)
                    m = np.uint32(material_of[t])
                    if not known[t]:
                        known[t] = 1
                        _gather(
                            geometry.triangles, geometry.uv, even, world.normals, canvas.planes, values, paint.lights,
                            paint.mapping, t, m,
                        )  # fmt: skip
                    r, g, b_ = _shade_surface(
                        geometry.triangles, geometry.uv, even, world.vertices, world.normals, canvas.planes, values,
                        texels, canvas.shadow, canvas.nearest, canvas.farthest, paint.shadow, paint.penumbra,
                        paint.board, paint.colours, paint.textures, paint.mapping, paint.lights, t, m,
                        F(x) + HALF + across, F(y) + HALF + down,
                    )  # fmt: skip
                red += weight * r
                green += weight * g
                blue += weight * b_
            linear[at], linear[at + 1], linear[at + 2] = red, green, blue
            at += 3


@kernel
def develop(linear: Floats, image: Bytes) -> None:
    """Turn linear light into bytes, both flat.

    sRGB's curve is taken as a square root, which every processor rounds alike.
    """
    for k in range(image.size):
        image[k] = np.uint8(np.int32(WHITE * math.sqrt(within(linear[k], ONE)) + HALF))


@inlined
def _shade_surface(
    triangles: Integers, uv: Floats, even: Bytes, points: Floats, normals: Floats, planes: Floats, values: Floats,
    texels: Floats, shadow: Integers, nearest: Integers, farthest: Integers, rows: Floats, penumbra: Floats,
    board: Floats, colours: Floats, textures: Integers, mapping: Floats, lights: Floats, t: int, m: int, x: Any, y: Any,
) -> Any:  # fmt: skip
    """Return the linear light (RGB) that the triangle `t` sends from where the camera sees it at the sample (x, y)."""
    i, j, k = np.uint32(triangles[t, 0]), np.uint32(triangles[t, 1]), np.uint32(triangles[t, 2])
    first = planes[t, 0] * x + planes[t, 1] * y + planes[t, 2]
    second = planes[t, 3] * x + planes[t, 4] * y + planes[t, 5]
    third = planes[t, 6] * x + planes[t, 7] * y + planes[t, 8]
    distance = ONE / (first + second + third)
    first, second, third = first * distance, second * distance, third * distance
    if even[t]:
        n0, n1, n2 = normals[i, 0], normals[i, 1], normals[i, 2]
        soft_r, soft_g, soft_b = values[t, LIT], values[t, LIT + 1], values[t, LIT + 2]
        key, shine = values[t, LIT + 3], values[t, LIT + 4]
    else:
        n0 = first * normals[i, 0] + second * normals[j, 0] + third * normals[k, 0]
        n1 = first * normals[i, 1] + second * normals[j, 1] + third * normals[k, 1]
        n2 = first * normals[i, 2] + second * normals[j, 2] + third * normals[k, 2]
        side = planes[t, SIDE]
        soft_r, soft_g, soft_b, key, shine = light_up(side * n0, side * n1, side * n2, lights)
    shine *= colours[m, 3]
    if penumbra[SHADOWS] > ZERO and key > ZERO:
        out = penumbra[OUTWARDS] * planes[t, SIDE]
        px = first * points[i, 0] + second * points[j, 0] + third * points[k, 0] + out * n0
        py = first * points[i, 1] + second * points[j, 1] + third * points[k, 1] + out * n1
        pz = first * points[i, 2] + second * points[j, 2] + third * points[k, 2] + out * n2
        u = rows[0, 0] * px + rows[0, 1] * py + rows[0, 2] * pz + rows[0, 3]
        v = rows[1, 0] * px + rows[1, 1] * py + rows[1, 2] * pz + rows[1, 3]
        z = rows[2, 0] * px + rows[2, 1] * py + rows[2, 2] * pz + rows[2, 3] + penumbra[TOWARDS_LIGHT]
        share = lit(shadow, nearest, farthest, u, v, z, penumbra) * under_board(board, u, v, z, penumbra)
        key, shine = key * share, shine * share
    red, green, blue = colours[m, 0], colours[m, 1], colours[m, 2]
    if textures[m, 1] > 0:
        across = first * uv[i, 0] + second * uv[j, 0] + third * uv[k, 0]
        along = first * uv[i, 1] + second * uv[j, 1] + third * uv[k, 1]
        u, v = mapping[m, 0] * across + mapping[m, 1] * along, mapping[m, 2] * across + mapping[m, 3] * along
        density = values[t, DENSITY] * distance * distance * distance
        r, g, b = _texel(texels, textures[m, 0], textures[m, 1], u, v, density)
        red, green, blue = red * r, green * g, blue * b
    return (
        red * (soft_r + lights[KEY, 0] * key) + lights[KEY, 0] * shine,
        green * (soft_g + lights[KEY, 1] * key) + lights[KEY, 1] * shine,
        blue * (soft_b + lights[KEY, 2] * key) + lights[KEY, 2] * shine,
    )


@inlined
def _texel(texels: Floats, start: int, edge: int, u: Any, v: Any, density: Any) -> Any:
    """Return a tiled texture's linear RGB at (u, v), from the level whose texels are about as large as a pixel.

    Args:
        texels: [N, 3].
        start: Where the finest level begins.
        edge: Its width.
        u: Texture coordinate to the right.
        v: Upwards.
        density: Area of a sample in texture coordinates.
    """
    full = np.int32(edge)
    area = FOUR * density * F(full) * F(full)
    # A loop over levels would end where no processor can guess.
    size = max(full >> _level(area), np.int32(1))
    begin = np.int32(start) + (full * full - size * size) // np.int32(3) * np.int32(4)
    mask = size - np.int32(1)
    u, v = (u - F(whole_to(u))) * F(size) + (F(size) - HALF), (v - F(whole_to(v))) * F(size) + (F(size) - HALF)
    i, j = np.int32(u), np.int32(v)
    u, v = u - F(i), v - F(j)
    right, below = (i + np.int32(1)) & mask, (j + np.int32(1)) & mask
    i, j = i & mask, j & mask
    row, next_row = begin + j * size, begin + below * size
    a, b, c, d = np.uint32(row + i), np.uint32(row + right), np.uint32(next_row + i), np.uint32(next_row + right)
    wd = u * v
    wb, wc = u - wd, v - wd
    wa = ONE - u - wc
    return (
        wa * texels[a, 0] + wb * texels[b, 0] + wc * texels[c, 0] + wd * texels[d, 0],
        wa * texels[a, 1] + wb * texels[b, 1] + wc * texels[c, 1] + wd * texels[d, 1],
        wa * texels[a, 2] + wb * texels[b, 2] + wc * texels[c, 2] + wd * texels[d, 2],
    )


@inlined
def _level(area: Any) -> Any:
    """Return how often a texture is halved, so that of its texels, so many to a pixel, no more than two are left."""
    few = np.int32(area > F(2)) + np.int32(area > F(8)) + np.int32(area > F(32)) + np.int32(area > F(128))
    many = np.int32(area > F(512)) + np.int32(area > F(2048)) + np.int32(area > F(8192)) + np.int32(area > F(32768))
    return few + many + np.int32(area > F(131072)) + np.int32(area > F(524288))
