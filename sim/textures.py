"""Procedural textures: grey patterns in families, of which the training and the held-out domain share none.

They are grey so that the colour which multiplies them decides the hue: a textured table can never show the goal's red.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SIZE_PX = 64
VARIANTS = 6
_DARKEST = 0.35

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


FAMILIES: dict[str, dict[str, Pattern]] = {
    "train": {"checker": _checker, "stripes": _stripes, "clouds": _clouds, "gradient": _gradient},
    "held_out": {"dots": _dots, "bricks": _bricks, "rings": _rings, "cells": _cells},
}


def texture_names(domain: str) -> tuple[str, ...]:
    """Return the names of a domain's textures, such as "checker_3"."""
    return tuple(f"{family}_{variant}" for family in FAMILIES[domain] for variant in range(VARIANTS))


def make_texture(name: str) -> NDArray[np.uint8]:
    """Return a texture by name, always the same one, [SIZE_PX, SIZE_PX], with the contrast of its variant."""
    family, variant = name.rsplit("_", 1)
    pattern = next(patterns[family] for patterns in FAMILIES.values() if family in patterns)
    rng = np.random.default_rng([zlib.crc32(family.encode()), int(variant)])
    darkest = rng.uniform(_DARKEST, 0.8)
    return np.asarray(255 * (darkest + (1 - darkest) * pattern(rng))).astype(np.uint8)


def texture_pictures() -> dict[str, NDArray[np.uint8]]:
    """Return all textures of all domains by name, as grey RGB pictures [SIZE_PX, SIZE_PX, 3]."""
    names = [name for domain in FAMILIES for name in texture_names(domain)]
    return {name: np.repeat(make_texture(name)[..., None], 3, axis=2) for name in names}


def write_png(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write an image [H, W, 3] as a PNG file."""
    height, width, _ = picture.shape
    raw = b"".join(b"\0" + row.tobytes() for row in picture)

    def part(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = part(b"IHDR", header) + part(b"IDAT", zlib.compress(raw)) + part(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)
