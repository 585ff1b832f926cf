"""From surfaces to colours: light, shadow and texture of every surface in a pixel, once each, and bytes in the end."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sim.raster.arrays import (
    DENSITY,
    GROUND,
    HALF_WAY,
    INVERSE,
    KEY,
    LIT,
    NORMAL,
    OUTWARDS,
    SECOND,
    SECOND_TOWARDS,
    SIDE,
    SKY,
    SPOT,
    TEXELS,
    TOWARDS,
    TOWARDS_LIGHT,
    UV,
    WIDTH,
    Bytes,
    Canvas,
    Floats,
    Geometry,
    Integers,
    Paint,
    World,
)
from sim.raster.compiling import inlined, kernel
from sim.raster.transforms import seen_by, whole_to, within

F = np.float32
ZERO, QUARTER, HALF, ONE, TWO, FOUR, WHITE = F(0), F(0.25), F(0.5), F(1), F(2), F(4), F(255)
TINY = F(1e-12)
# Corners whose normals differ less than this (cosine) are lit once for the whole triangle.
SAME_NORMAL = F(0.9999)
# Texels to a pixel (areas) above which the next coarser level of a texture is taken.
TOO_FINE = F(2)


@kernel
def gather(geometry: Geometry, world: World, canvas: Canvas, paint: Paint) -> None:
    """Write into `canvas.values` of every triangle in sight what shading interpolates."""
    triangles, uv, points, normals = geometry.triangles, geometry.uv, world.vertices, world.normals
    seen, flat, planes, values = canvas.seen, canvas.flat, canvas.planes, canvas.values
    shadow_rows, penumbra, lights, mapping = paint.shadow, paint.penumbra, paint.lights, paint.mapping
    material_of = geometry.material_of
    flat[:] = 0
    for y in range(seen.shape[0]):
        for x in range(seen.shape[1]):
            if seen[y, x] >= 0:
                flat[seen[y, x]] = 1
    for t in range(triangles.shape[0]):
        if not flat[t]:
            continue
        side, m = planes[t, SIDE], material_of[t]
        for entry in range(LIT):
            values[t, entry] = ZERO
        for corner in range(3):
            v = triangles[t, corner]
            across = mapping[m, 0] * uv[v, 0] + mapping[m, 1] * uv[v, 1]
            along = mapping[m, 2] * uv[v, 0] + mapping[m, 3] * uv[v, 1]
            _add_corner(points, normals, planes, shadow_rows, penumbra, values, t, corner, v, side, across, along)
        values[t, DENSITY] = abs(
            values[t, UV] * (values[t, UV + 4] * values[t, INVERSE + 2] - values[t, UV + 5] * values[t, INVERSE + 1])
            - values[t, UV + 1] * (values[t, UV + 3] * values[t, INVERSE + 2] - values[t, UV + 5] * values[t, INVERSE])
            + values[t, UV + 2] * (values[t, UV + 3] * values[t, INVERSE + 1] - values[t, UV + 4] * values[t, INVERSE])
        )
        i, j, k = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        n0, n1, n2 = normals[i, 0], normals[i, 1], normals[i, 2]
        second = n0 * normals[j, 0] + n1 * normals[j, 1] + n2 * normals[j, 2]
        third = n0 * normals[k, 0] + n1 * normals[k, 1] + n2 * normals[k, 2]
        if min(second, third) > SAME_NORMAL:
            flat[t] = 2
            soft_r, soft_g, soft_b, key, shine = light_up(side * n0, side * n1, side * n2, lights)
            values[t, LIT], values[t, LIT + 1], values[t, LIT + 2] = soft_r, soft_g, soft_b
            values[t, LIT + 3], values[t, LIT + 4] = key, shine


@inlined
def _add_corner(
    points: Floats, normals: Floats, planes: Floats, rows: Floats, penumbra: Floats, values: Floats,
    t: int, corner: int, v: int, side: Any, across: Any, along: Any,
) -> None:  # fmt: skip
    """Add what the vertex `v`, with its place in the texture, contributes to the planes of the triangle `t`."""
    out = penumbra[OUTWARDS]
    n0, n1, n2 = side * normals[v, 0], side * normals[v, 1], side * normals[v, 2]
    s0, s1, s2 = seen_by(rows, points, v)
    s0 += out * (rows[0, 0] * n0 + rows[0, 1] * n1 + rows[0, 2] * n2)
    s1 += out * (rows[1, 0] * n0 + rows[1, 1] * n1 + rows[1, 2] * n2)
    s2 += out * (rows[2, 0] * n0 + rows[2, 1] * n1 + rows[2, 2] * n2) + penumbra[TOWARDS_LIGHT]
    for entry in range(3):
        share = planes[t, 3 * corner + entry]
        values[t, INVERSE + entry] += share
        values[t, SPOT + entry] += share * s0
        values[t, SPOT + 3 + entry] += share * s1
        values[t, SPOT + 6 + entry] += share * s2
        values[t, UV + entry] += share * across
        values[t, UV + 3 + entry] += share * along
        values[t, NORMAL + entry] += share * n0
        values[t, NORMAL + 3 + entry] += share * n1
        values[t, NORMAL + 6 + entry] += share * n2


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
def shade(geometry: Geometry, canvas: Canvas, paint: Paint) -> None:
    """Write the linear light of every pixel, from its 2 x 2 samples, into `canvas.linear`.

    A surface is shaded once in a pixel, in the middle of the samples that show it: never beyond its edge, where what is
    interpolated may be anything. Inside a smooth part one of its triangles speaks for the others.
    """
    material_of, part_of, texels, linear = geometry.material_of, geometry.part_of, geometry.texels, canvas.linear
    seen, values, flat, shadow = canvas.seen, canvas.values, canvas.flat, canvas.shadow
    colours, textures, lights, penumbra = paint.colours, paint.textures, paint.lights, paint.penumbra
    back_r, back_g, back_b = paint.backdrop[0], paint.backdrop[1], paint.backdrop[2]
    for row in range(linear.shape[0]):
        for column in range(linear.shape[1]):
            y, x = 2 * row, 2 * column
            a, b, c, d = seen[y, x], seen[y, x + 1], seen[y + 1, x], seen[y + 1, x + 1]
            whole = a == b and a == c and a == d
            smooth = False
            if not whole and min(a, b, c, d) >= 0 and flat[a] == 1 and flat[b] == 1 and flat[c] == 1 and flat[d] == 1:
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
                    r, g, b_ = _shade_surface(
                        material_of, texels, values, flat, shadow, colours, textures, lights, penumbra,
                        np.uint32(t), F(x) + HALF + across, F(y) + HALF + down,
                    )  # fmt: skip
                red += weight * r
                green += weight * g
                blue += weight * b_
            linear[row, column, 0], linear[row, column, 1], linear[row, column, 2] = red, green, blue


@kernel
def develop(linear: Floats, image: Bytes) -> None:
    """Turn linear light into bytes, both flat.

    sRGB's curve is taken as a square root, which every processor rounds alike.
    """
    for k in range(image.size):
        image[k] = np.uint8(np.int32(WHITE * math.sqrt(within(linear[k], ONE)) + HALF))


@inlined
def _shade_surface(
    material_of: Integers, texels: Floats, values: Floats, flat: Bytes, shadow: Floats, colours: Floats,
    textures: Integers, lights: Floats, penumbra: Floats, t: int, x: Any, y: Any,
) -> Any:  # fmt: skip
    """Return the linear light (RGB) that the triangle `t` sends from where the camera sees it at the sample (x, y)."""
    m = np.uint32(material_of[t])
    distance = ONE / (values[t, INVERSE] * x + values[t, INVERSE + 1] * y + values[t, INVERSE + 2])
    x, y = x * distance, y * distance
    if flat[t] == 2:
        soft_r, soft_g, soft_b = values[t, LIT], values[t, LIT + 1], values[t, LIT + 2]
        key, shine = values[t, LIT + 3], values[t, LIT + 4]
    else:
        soft_r, soft_g, soft_b, key, shine = light_up(
            values[t, NORMAL] * x + values[t, NORMAL + 1] * y + values[t, NORMAL + 2] * distance,
            values[t, NORMAL + 3] * x + values[t, NORMAL + 4] * y + values[t, NORMAL + 5] * distance,
            values[t, NORMAL + 6] * x + values[t, NORMAL + 7] * y + values[t, NORMAL + 8] * distance,
            lights,
        )
    shine *= colours[m, 3]
    if penumbra[TEXELS] > ZERO and key > ZERO:
        u = values[t, SPOT] * x + values[t, SPOT + 1] * y + values[t, SPOT + 2] * distance
        v = values[t, SPOT + 3] * x + values[t, SPOT + 4] * y + values[t, SPOT + 5] * distance
        z = values[t, SPOT + 6] * x + values[t, SPOT + 7] * y + values[t, SPOT + 8] * distance
        lit = _lit(shadow, u, v, z, penumbra)
        key, shine = key * lit, shine * lit
    red, green, blue = colours[m, 0], colours[m, 1], colours[m, 2]
    if textures[m, 1] > 0:
        u = values[t, UV] * x + values[t, UV + 1] * y + values[t, UV + 2] * distance
        v = values[t, UV + 3] * x + values[t, UV + 4] * y + values[t, UV + 5] * distance
        density = values[t, DENSITY] * distance * distance * distance
        r, g, b = _texel(texels, textures[m, 0], textures[m, 1], u, v, density)
        red, green, blue = red * r, green * g, blue * b
    return (
        red * (soft_r + lights[KEY, 0] * key) + lights[KEY, 0] * shine,
        green * (soft_g + lights[KEY, 1] * key) + lights[KEY, 1] * shine,
        blue * (soft_b + lights[KEY, 2] * key) + lights[KEY, 2] * shine,
    )


@inlined
def _lit(shadow: Floats, u: Any, v: Any, z: Any, penumbra: Floats) -> Any:
    """Return how much of the light, 0 to 1, reaches a point of the shadow map (texels; metres towards the light).

    That is the share of a square window around it that the light passes; a texel at its rim counts as far as it is in.
    """
    texels, width = np.int32(penumbra[TEXELS]), penumbra[WIDTH]
    last = F(np.int32(shadow.shape[0]) - max(texels, np.int32(4)))
    u, v = u - HALF * width, v - HALF * width
    lit = ONE
    # Nothing is drawn on the map's rim: what is beyond is lit, and what is no number, which no comparison admits.
    if u > ZERO and v > ZERO and u < last and v < last:
        i, j = np.uint32(np.int32(u)), np.uint32(np.int32(v))
        first = ONE - (u - F(np.int32(u)))
        down = ONE - (v - F(np.int32(v)))
        rest_down = width - down
        lit = ZERO
        if texels <= 4:
            rest = width - first
            second = min(rest, ONE)
            rest -= second
            third = min(rest, ONE)
            fourth = rest - third
            for row in range(np.uint32(texels)):
                a = first if z >= shadow[j + row, i] else ZERO
                b = second if z >= shadow[j + row, i + np.uint32(1)] else ZERO
                c = third if z >= shadow[j + row, i + np.uint32(2)] else ZERO
                d = fourth if z >= shadow[j + row, i + np.uint32(3)] else ZERO
                lit += down * ((a + b) + (c + d))
                down = min(rest_down, ONE)
                rest_down -= down
        else:
            for row in range(np.uint32(texels)):
                across, rest, line = first, width - first, ZERO
                for column in range(np.uint32(texels)):
                    line += across if z >= shadow[j + row, i + column] else ZERO
                    across = min(rest, ONE)
                    rest -= across
                lit += down * line
                down = min(rest_down, ONE)
                rest_down -= down
        lit /= width * width
    return lit


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
    size = np.int32(edge)
    begin = np.int32(start)
    area = FOUR * density * F(size) * F(size)
    while area > TOO_FINE and size > 1:
        area *= QUARTER
        begin += size * size
        size >>= np.int32(1)
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
