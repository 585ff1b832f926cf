"""What a sensor does to a picture, compiled: in numpy it would take longer than drawing the picture."""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.raster.arrays import Bytes, Floats
from sim.raster.compiling import inlined, kernel
from sim.raster.transforms import within

F = np.float32
ZERO, HALF, ONE, WHITE, GREY, QUARTER = F(0), F(0.5), F(1), F(255), F(128), F(0.25)
# JFIF's colours (ITU-R BT.601): luma, and what is missing to blue and red.
RED, GREEN, BLUE = F(0.299), F(0.587), F(0.114)
TO_CB, TO_CR, CB_TO_B, CR_TO_R = F(0.564334), F(0.713267), F(1.772), F(1.402)
CB_TO_G, CR_TO_G = F(-0.344136), F(-0.714136)


@kernel
def brightness(picture: Bytes) -> float:
    """Return the mean luma of a picture [H, W, 3], 0 to 1; the sum is of whole numbers."""
    total = 0
    for y in range(picture.shape[0]):
        for x in range(picture.shape[1]):
            total += 299 * np.int64(picture[y, x, 0]) + 587 * np.int64(picture[y, x, 1])
            total += 114 * np.int64(picture[y, x, 2])
    mean: float = total / (255_000 * picture.shape[0] * picture.shape[1])
    return mean


@kernel
def take_in(picture: Bytes, values: Floats) -> None:
    """Copy a picture's bytes [H, W, 3] into values [H, W, 3]."""
    for y in range(values.shape[0]):
        for x in range(values.shape[1]):
            for c in range(3):
                values[y, x, c] = F(picture[y, x, c])


@kernel
def soften(values: Floats, scratch: Floats, weights: Floats) -> None:
    """Blur values [H, 3 W] with weights [2 R + 1] along rows and columns; edges repeat their last pixel.

    Weight by weight, so that the inner loops run along rows without a condition.
    """
    height, width, radius = values.shape[0], values.shape[1], weights.size // 2
    inner = min(3 * radius, width)
    for y in range(np.uint64(height)):
        for e in range(np.uint64(width)):
            scratch[y, e] = weights[radius] * values[y, e]
        for k in range(weights.size):
            shift, weight = 3 * (k - radius), weights[k]
            if shift == 0:
                continue
            for e in range(inner):
                channel = e % 3
                scratch[y, e] += weight * values[y, min(max(e + shift, channel), width - 3 + channel)]
            for e in range(inner, width - inner):
                scratch[y, np.uint64(e)] += weight * values[y, np.uint64(e + shift)]
            for e in range(max(inner, width - inner), width):
                channel = e % 3
                scratch[y, e] += weight * values[y, min(max(e + shift, channel), width - 3 + channel)]
    for y in range(np.uint64(height)):
        for e in range(np.uint64(width)):
            values[y, e] = ZERO
        for k in range(weights.size):
            row, weight = np.uint64(min(max(np.int64(y) + k - radius, 0), height - 1)), weights[k]
            for e in range(np.uint64(width)):
                values[y, e] += weight * scratch[row, e]


@kernel
def smear(values: Floats, scratch: Floats, count: int, across: float, down: float) -> None:
    """Replace values [H, W, 3] by the mean of `count` places on a line (pixels to the right and down) about each."""
    last_y, last_x = values.shape[0] - 1, values.shape[1] - 1
    for y in range(values.shape[0]):
        for x in range(values.shape[1]):
            for c in range(3):
                scratch[y, x, c] = values[y, x, c]
    for y in range(values.shape[0]):
        for x in range(values.shape[1]):
            red = green = blue = ZERO
            for k in range(count):
                share = F(k) / F(count - 1) - HALF
                v = within(F(y) + share * F(down), F(last_y))
                u = within(F(x) + share * F(across), F(last_x))
                i, j = np.int64(u), np.int64(v)
                right, below = min(i + 1, last_x), min(j + 1, last_y)
                u, v = u - F(i), v - F(j)
                wa, wb, wc, wd = (ONE - u) * (ONE - v), u * (ONE - v), (ONE - u) * v, u * v
                red += wa * scratch[j, i, 0] + wb * scratch[j, right, 0]
                red += wc * scratch[below, i, 0] + wd * scratch[below, right, 0]
                green += wa * scratch[j, i, 1] + wb * scratch[j, right, 1]
                green += wc * scratch[below, i, 1] + wd * scratch[below, right, 1]
                blue += wa * scratch[j, i, 2] + wb * scratch[j, right, 2]
                blue += wc * scratch[below, i, 2] + wd * scratch[below, right, 2]
            values[y, x, 0], values[y, x, 1], values[y, x, 2] = red / F(count), green / F(count), blue / F(count)


@kernel
def tone(values: Floats, mixed: Floats, shade: Floats, curve: Floats, noise: Floats, start: int, levels: float) -> None:
    """Mix the channels, darken the corners, bend the curve and add noise, in place.

    Args:
        values: [H, W, 3].
        mixed: What each channel is made of: row of the outcome, column of the origin, [3, 3].
        shade: Factor of each pixel, [H, W].
        curve: What becomes of a value, by equal steps from 0 to 255, [N].
        noise: Normal numbers to take from, [N].
        start: Which of them is the first.
        levels: Their factor.
    """
    most, fine = F(curve.size - 1), F(curve.size - 1) / WHITE
    at = np.uint64(start)
    for y in range(values.shape[0]):
        for x in range(values.shape[1]):
            red, green, blue = values[y, x, 0], values[y, x, 1], values[y, x, 2]
            for c in range(3):
                value = (mixed[c, 0] * red + mixed[c, 1] * green + mixed[c, 2] * blue) * shade[y, x]
                place = within(value * fine, most)
                first = np.uint32(np.int32(place))
                second = min(first + np.uint32(1), np.uint32(curve.size - 1))
                value = curve[first] + (place - F(np.int32(place))) * (curve[second] - curve[first])
                values[y, x, c] = within(value + F(levels) * noise[at], WHITE)
                at += np.uint64(1)


@kernel
def give_out(values: Floats, image: Bytes) -> None:
    """Round values [H, W, 3] into bytes."""
    for y in range(values.shape[0]):
        for x in range(values.shape[1]):
            for c in range(3):
                image[y, x, c] = np.uint8(np.int32(within(values[y, x, c], WHITE) + HALF))


@kernel
def compress(
    values: Floats, luma: Floats, blue: Floats, red: Floats, cosines: Floats, fine: Floats, coarse: Floats
) -> None:
    """Leave of values [H, W, 3] what JPEG does, with colours at half the resolution; edges repeat their last pixel.

    Args:
        values: 0 to 255, in place.
        luma: Scratch, H and W rounded up to multiples of 16.
        blue: Scratch, half of that each way.
        red: The same.
        cosines: Of the discrete cosine transform, [8, 8].
        fine: Steps to which brightness is rounded, [8, 8].
        coarse: Steps to which colours are rounded, [8, 8].
    """
    last_y, last_x = values.shape[0] - 1, values.shape[1] - 1
    blue[:] = ZERO
    red[:] = ZERO
    for y in range(luma.shape[0]):
        for x in range(luma.shape[1]):
            j, i = min(y, last_y), min(x, last_x)
            bright = RED * values[j, i, 0] + GREEN * values[j, i, 1] + BLUE * values[j, i, 2]
            luma[y, x] = bright - GREY
            blue[y // 2, x // 2] += QUARTER * TO_CB * (values[j, i, 2] - bright)
            red[y // 2, x // 2] += QUARTER * TO_CR * (values[j, i, 0] - bright)
    for top in range(0, luma.shape[0], 8):
        for left in range(0, luma.shape[1], 8):
            _round_block(luma, top, left, cosines, fine)
    for top in range(0, blue.shape[0], 8):
        for left in range(0, blue.shape[1], 8):
            _round_block(blue, top, left, cosines, coarse)
            _round_block(red, top, left, cosines, coarse)
    for y in range(values.shape[0]):
        for x in range(values.shape[1]):
            bright, b, r = luma[y, x] + GREY, blue[y // 2, x // 2], red[y // 2, x // 2]
            values[y, x, 0] = within(bright + CR_TO_R * r, WHITE)
            values[y, x, 1] = within(bright + CB_TO_G * b + CR_TO_G * r, WHITE)
            values[y, x, 2] = within(bright + CB_TO_B * b, WHITE)


@kernel
def _round_block(plane: Floats, top: int, left: int, cosines: Floats, steps: Floats) -> None:
    """Transform a block of 8 x 8, round its spectrum to steps, and transform it back; rows first, then columns."""
    for y in range(8):
        _turn_row(plane, top + y, left, cosines)
    for x in range(8):
        _turn_column(plane, top, left + x, cosines)
    for y in range(8):
        for x in range(8):
            step = steps[y, x]
            level = plane[top + y, left + x] / step
            plane[top + y, left + x] = F(np.int32(level + HALF if level > ZERO else level - HALF)) * step
    for x in range(8):
        _turn_column_back(plane, top, left + x, cosines)
    for y in range(8):
        _turn_row_back(plane, top + y, left, cosines)


@inlined
def _turned(cosines: Floats, k: int, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any) -> Any:
    low = cosines[k, 0] * a + cosines[k, 1] * b + cosines[k, 2] * c + cosines[k, 3] * d
    return low + (cosines[k, 4] * e + cosines[k, 5] * f + cosines[k, 6] * g + cosines[k, 7] * h)


@inlined
def _turned_back(cosines: Floats, k: int, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any) -> Any:
    low = cosines[0, k] * a + cosines[1, k] * b + cosines[2, k] * c + cosines[3, k] * d
    return low + (cosines[4, k] * e + cosines[5, k] * f + cosines[6, k] * g + cosines[7, k] * h)


@inlined
def _turn_row(plane: Floats, y: int, x: int, cosines: Floats) -> None:
    a, b, c, d = plane[y, x], plane[y, x + 1], plane[y, x + 2], plane[y, x + 3]
    e, f, g, h = plane[y, x + 4], plane[y, x + 5], plane[y, x + 6], plane[y, x + 7]
    for k in range(8):
        plane[y, x + k] = _turned(cosines, k, a, b, c, d, e, f, g, h)


@inlined
def _turn_column(plane: Floats, y: int, x: int, cosines: Floats) -> None:
    a, b, c, d = plane[y, x], plane[y + 1, x], plane[y + 2, x], plane[y + 3, x]
    e, f, g, h = plane[y + 4, x], plane[y + 5, x], plane[y + 6, x], plane[y + 7, x]
    for k in range(8):
        plane[y + k, x] = _turned(cosines, k, a, b, c, d, e, f, g, h)


@inlined
def _turn_row_back(plane: Floats, y: int, x: int, cosines: Floats) -> None:
    a, b, c, d = plane[y, x], plane[y, x + 1], plane[y, x + 2], plane[y, x + 3]
    e, f, g, h = plane[y, x + 4], plane[y, x + 5], plane[y, x + 6], plane[y, x + 7]
    for k in range(8):
        plane[y, x + k] = _turned_back(cosines, k, a, b, c, d, e, f, g, h)


@inlined
def _turn_column_back(plane: Floats, y: int, x: int, cosines: Floats) -> None:
    a, b, c, d = plane[y, x], plane[y + 1, x], plane[y + 2, x], plane[y + 3, x]
    e, f, g, h = plane[y + 4, x], plane[y + 5, x], plane[y + 6, x], plane[y + 7, x]
    for k in range(8):
        plane[y + k, x] = _turned_back(cosines, k, a, b, c, d, e, f, g, h)
