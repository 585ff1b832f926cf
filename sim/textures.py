"""Textures that are computed: grey patterns and cloths that a colour multiplies, woods and stones with their own.

Training and the held-out domain share none: patterns and cloths come in families, of which each side has its own, and
woods and stones in kinds, each with its colours and its grain. The lab has its own of all, and prints in two colours.
"""

from __future__ import annotations

import functools
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SIZE_PX = 64
GRAIN_PX = 128
VARIANTS = 4
_DARKEST = 0.35

Rgb = tuple[float, float, float]
Picture = NDArray[np.uint8]
Grey = NDArray[np.float64]
Pattern = Callable[[np.random.Generator], Grey]


def _axes() -> tuple[Grey, Grey]:
    steps = np.arange(SIZE_PX) / SIZE_PX
    v, u = np.meshgrid(steps, steps, indexing="ij")
    return u, v


def _checker(rng: np.random.Generator) -> Grey:
    u, v = _axes()
    columns, rows = rng.integers(1, 4, 2) * 2
    return np.asarray((np.floor(u * columns) + np.floor(v * rows)) % 2, np.float64)


def _stripes(rng: np.random.Generator) -> Grey:
    u, v = _axes()
    across, along = rng.integers(-3, 4), rng.integers(1, 5)
    return np.asarray(np.sin(2 * np.pi * (across * u + along * v)) > rng.uniform(-0.5, 0.5), np.float64)


def _clouds(rng: np.random.Generator) -> Grey:
    u, v = _axes()
    total = np.zeros_like(u)
    for _ in range(12):
        across, along = rng.integers(-4, 5, 2)
        phase = rng.uniform(0, 2 * np.pi)
        total += np.sin(2 * np.pi * (across * u + along * v) + phase) / (1 + abs(across) + abs(along))
    return np.asarray((total - total.min()) / max(np.ptp(total), 1e-9))


def _gradient(rng: np.random.Generator) -> Grey:
    u, v = _axes()
    shift_u, shift_v, weight = rng.uniform(0, 1, 3)
    wave_u, wave_v = (0.5 + 0.5 * np.cos(2 * np.pi * (axis + shift)) for axis, shift in ((u, shift_u), (v, shift_v)))
    return np.asarray(weight * wave_u + (1 - weight) * wave_v)


def _dots(rng: np.random.Generator) -> Grey:
    u, v = _axes()
    count, radius = rng.integers(2, 6), rng.uniform(0.2, 0.4)
    shift = 0.5 * (np.floor(v * count) % 2) if count % 2 == 0 else 0.0
    return np.asarray(np.hypot((u * count + shift) % 1 - 0.5, v * count % 1 - 0.5) < radius, np.float64)


def _bricks(rng: np.random.Generator) -> Grey:
    u, v = _axes()
    rows, joint = rng.integers(2, 4) * 2, rng.uniform(0.1, 0.2)
    along = u * rows / 2 + 0.5 * (np.floor(v * rows) % 2)
    return np.asarray((along % 1 > joint / 2) & (v * rows % 1 > joint), np.float64)


def _rings(rng: np.random.Generator) -> Grey:
    u, v = _axes()
    bend = 0.1 * np.sin(2 * np.pi * (u + rng.uniform())) + 0.1 * np.sin(4 * np.pi * (v + rng.uniform()))
    distance = np.hypot(np.minimum(u, 1 - u) + bend, np.minimum(v, 1 - v))
    return np.asarray(0.5 + 0.5 * np.cos(2 * np.pi * rng.uniform(2, 5) * distance))


def _cells(rng: np.random.Generator) -> Grey:
    u, v = _axes()
    centres = rng.uniform(0, 1, (rng.integers(6, 20), 2))
    wrapped = [np.hypot((u - x + 0.5) % 1 - 0.5, (v - y + 0.5) % 1 - 0.5) for x, y in centres]
    return np.asarray(rng.uniform(0, 1, len(centres))[np.argmin(wrapped, axis=0)])


def _weave(rng: np.random.Generator) -> Grey:
    u, v = _axes()
    threads = rng.integers(6, 13)
    over = (np.floor(u * threads) + np.floor(v * threads)) % 2
    return np.asarray(0.5 + 0.25 * np.sin(np.pi * (u * threads % 1)) * over + 0.25 * np.sin(np.pi * (v * threads % 1)))


def _tartan(rng: np.random.Generator) -> Grey:
    u, v = _axes()
    bands = rng.uniform(0, 1, 8)
    return np.asarray((bands[np.int64(u * 8)] + bands[np.int64(v * 8)]) / 2)


def _twill(rng: np.random.Generator) -> Grey:
    u, v = _axes()
    return np.asarray(0.6 + 0.4 * np.sin(2 * np.pi * rng.integers(6, 12) * (u + v)) * np.sin(2 * np.pi * 6 * v))


def _rib(rng: np.random.Generator) -> Grey:
    u, v = _axes()
    threads = rng.integers(8, 13)
    return np.asarray(0.6 + 0.25 * np.sin(2 * np.pi * threads * v) + 0.15 * np.sin(2 * np.pi * 2 * threads * u))


def _gingham(rng: np.random.Generator) -> Grey:
    """Return two crossed sets of stripes, light where neither lies."""
    u, v = _axes()
    return np.asarray(((u * 4 % 1 > 0.5) + (v * 4 % 1 > 0.5)) / 2.0)


def _tiles(rng: np.random.Generator) -> Grey:
    """Return four rows of tiles, each a little lighter or darker, with joints between them."""
    u, v = _axes()
    column, row = np.int64(u * 4), np.int64(v * 4)
    shade = 0.55 + rng.uniform(-0.2, 0.2, (4, 4))[row, column]
    joint = (u * 4 % 1 < 0.07) | (v * 4 % 1 < 0.07)
    return np.asarray(np.where(joint, 0.0, shade))


def _herringbone(rng: np.random.Generator) -> Grey:
    u, v = _axes()
    columns, pitch = 2 * rng.integers(2, 4), rng.integers(3, 7)
    zigzag = np.abs((u * columns) % 2 - 1)
    return np.asarray(0.5 + 0.5 * np.sign(np.sin(2 * np.pi * (pitch * v + zigzag))))


FAMILIES: dict[str, dict[str, dict[str, Pattern]]] = {
    "pattern": {
        "train": {"checker": _checker, "stripes": _stripes, "clouds": _clouds, "gradient": _gradient},
        "held_out": {"dots": _dots, "bricks": _bricks, "rings": _rings, "cells": _cells},
        "lab": {},
    },
    "cloth": {
        "train": {"weave": _weave, "tartan": _tartan},
        "held_out": {"twill": _twill, "herringbone": _herringbone},
        "lab": {"rib": _rib},
    },
}

# Of each kind the lightest and the darkest colour, how many rings cross a plank and how far they bend; of stones how
# large their grains are.
_WOODS: dict[str, dict[str, tuple[Rgb, Rgb, int, float]]] = {
    "train": {
        "oak": ((0.80, 0.62, 0.42), (0.58, 0.40, 0.24), 7, 0.04),
        "pine": ((0.90, 0.75, 0.53), (0.78, 0.56, 0.33), 4, 0.08),
        "walnut": ((0.46, 0.31, 0.21), (0.27, 0.17, 0.11), 8, 0.06),
        "beech": ((0.84, 0.66, 0.50), (0.74, 0.55, 0.40), 10, 0.02),
        "mahogany": ((0.55, 0.28, 0.18), (0.36, 0.15, 0.10), 6, 0.05),
        "grey": ((0.66, 0.63, 0.59), (0.45, 0.42, 0.38), 6, 0.05),
    },
    "held_out": {
        "birch": ((0.92, 0.82, 0.66), (0.84, 0.71, 0.54), 5, 0.10),
        "cherry": ((0.73, 0.45, 0.29), (0.57, 0.31, 0.19), 5, 0.07),
        "teak": ((0.64, 0.44, 0.26), (0.45, 0.28, 0.15), 9, 0.03),
        "ebony": ((0.24, 0.20, 0.18), (0.12, 0.10, 0.09), 12, 0.03),
    },
    "lab": {
        "maple": ((0.94, 0.84, 0.68), (0.87, 0.74, 0.56), 6, 0.05),
        "larch": ((0.76, 0.53, 0.34), (0.55, 0.33, 0.19), 8, 0.05),
        "ash": ((0.86, 0.77, 0.62), (0.70, 0.58, 0.43), 5, 0.09),
        "wenge": ((0.33, 0.24, 0.19), (0.20, 0.14, 0.11), 11, 0.02),
        "bamboo": ((0.85, 0.72, 0.47), (0.75, 0.60, 0.37), 14, 0.01),
    },
}
_STONES: dict[str, dict[str, tuple[Rgb, Rgb, int]]] = {
    "train": {
        "granite": ((0.72, 0.70, 0.68), (0.28, 0.27, 0.27), 40),
        "concrete": ((0.66, 0.65, 0.62), (0.54, 0.53, 0.51), 10),
        "slate": ((0.38, 0.41, 0.44), (0.24, 0.26, 0.29), 6),
    },
    "held_out": {
        "marble": ((0.93, 0.92, 0.90), (0.62, 0.62, 0.64), 4),
        "terrazzo": ((0.88, 0.85, 0.80), (0.55, 0.42, 0.36), 24),
    },
    "lab": {"screed": ((0.60, 0.60, 0.59), (0.48, 0.48, 0.47), 16)},
}
# The lightest and the darkest colour, and the pattern between them.
_PRINTS: dict[str, dict[str, tuple[Rgb, Rgb, Pattern]]] = {
    "train": {},
    "held_out": {},
    "lab": {
        "gingham": ((0.94, 0.94, 0.92), (0.20, 0.34, 0.66), _gingham),
        "terracotta": ((0.80, 0.47, 0.33), (0.50, 0.40, 0.34), _tiles),
    },
}
_OWN_COLOURS: dict[str, Any] = {"wood": _WOODS, "stone": _STONES, "print": _PRINTS}
KINDS = ("pattern", "cloth", *_OWN_COLOURS)
SIDES = ("train", "held_out", "lab")
"""Whose textures and things there are: two domains that are drawn, and the lab."""


def texture_names(kind: str, side: str) -> tuple[str, ...]:
    """Return the names of a kind's textures of one side ("train", "held_out", "lab"), as "checker_3" or "wood_oak"."""
    if kind in FAMILIES:
        return tuple(f"{family}_{variant}" for family in FAMILIES[kind][side] for variant in range(VARIANTS))
    return tuple(f"{kind}_{name}" for name in _OWN_COLOURS[kind][side])


def make_texture(name: str) -> Picture:
    """Return a texture by name, always the same one, [S, S, 3]; patterns with the contrast of their variant."""
    family, _, variant = name.rpartition("_")
    rng = np.random.default_rng([zlib.crc32(family.encode()), zlib.crc32(variant.encode())])
    if family in _OWN_COLOURS:
        kinds = {name: kind for side in _OWN_COLOURS[family].values() for name, kind in side.items()}
        light, dark, *grain = kinds[variant]
        if family == "print":
            share = grain[0](rng)
        else:
            share = _plank(rng, *grain) if family == "wood" else _grains(rng, *grain)
        return _as_picture(np.array(dark) + share[..., None] * np.subtract(light, dark))
    patterns = {
        name: pattern for sides in FAMILIES.values() for side in sides.values() for name, pattern in side.items()
    }
    darkest = rng.uniform(_DARKEST, 0.8)
    return _as_picture(np.repeat((darkest + (1 - darkest) * patterns[family](rng))[..., None], 3, axis=2))


def _as_picture(colours: Grey) -> Picture:
    return np.asarray(255 * np.clip(colours, 0, 1) + 0.5).astype(np.uint8)


def _plank(rng: np.random.Generator, rings: int, bend: float) -> Grey:
    """Return how light a board is, [GRAIN_PX, GRAIN_PX]; its grain runs along u."""
    steps = np.arange(GRAIN_PX) / GRAIN_PX
    v, u = np.meshgrid(steps, steps, indexing="ij")
    waves = np.zeros_like(u)
    for k in (1, 2, 3):
        turned = 2 * np.pi * (k * u + rng.integers(-1, 2) * v + rng.uniform())
        waves += rng.normal(0, bend / k) * np.sin(turned)
    late = (rings * v + 3 * waves) % 1
    fibre = rng.normal(0, 0.07, (GRAIN_PX, 1)) + rng.normal(0, 0.03, (GRAIN_PX, GRAIN_PX // 8)).repeat(8, axis=1)
    boards = np.array([0.0, rng.uniform(-0.15, 0.15)])[np.int64(2 * v)]
    return np.asarray(1 - 0.75 * late**2 + fibre + boards - 0.4 * (v * GRAIN_PX % (GRAIN_PX / 2) < 1))


def _grains(rng: np.random.Generator, grains: int) -> Grey:
    """Return how light a stone is, [GRAIN_PX, GRAIN_PX]: noise of grains and of what is four times as large."""
    total = np.zeros((GRAIN_PX, GRAIN_PX))
    for size, weight in ((grains, 0.6), (max(2, grains // 4), 0.4)):
        coarse = rng.uniform(0, 1, (size, size))
        where = np.arange(GRAIN_PX) * size / GRAIN_PX
        first, share = np.int64(where), where % 1
        rows = coarse[first] * (1 - share)[:, None] + coarse[(first + 1) % size] * share[:, None]
        total += weight * (rows[:, first] * (1 - share) + rows[:, (first + 1) % size] * share)
    return np.asarray(np.clip(1.6 * (total - 0.5) + 0.5, 0, 1))


@functools.cache
def texture_pictures() -> dict[str, Picture]:
    """Return all textures of all kinds and sides by name, [S, S, 3]."""
    names = [name for kind in KINDS for side in SIDES for name in texture_names(kind, side)]
    return {name: make_texture(name) for name in names}


def write_png(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write an image [H, W, 3] as a PNG file."""
    height, width, _ = picture.shape
    raw = b"".join(b"\0" + row.tobytes() for row in picture)

    def part(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = part(b"IHDR", header) + part(b"IDAT", zlib.compress(raw)) + part(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)
