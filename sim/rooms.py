"""What may stand in a room beside the robot: tables, floor, walls, and things that lie about. It is data alone.

`Scene` puts all of it into its scenery; which of it is seen, where and in which colours is drawn per episode
(`sim.looks`). Nothing here collides with anything.
"""

from __future__ import annotations

import numpy as np

from sim.assets import TABLE_CENTRE_M, TABLE_HALF_EXTENTS_M
from sim.light_meshes import creased
from sim.meshes import Mesh, grid, join
from sim.scenery import Item, Part

# Texture coordinates per metre: a texture is half a metre wide where nothing scales it.
_REPEATS_PER_M = 2.0
_TURNED_SEGMENTS = 14
FLOOR_HALF_M = 4.0
WALL_HEIGHT_M = 2.5

TABLES = ("bench", "desk", "round")
"""The shapes of tables. A bench is what the cube can stand on; the others are larger, so that it falls through them."""

THINGS: dict[str, tuple[str, ...]] = {
    "train": ("mug", "bottle", "can", "book", "carton", "roll"),
    "held_out": ("bowl", "orange", "tumbler", "box", "pot", "wedge"),
}
"""Kinds of things of the training and of the held-out domain."""

ALL_THINGS = (*THINGS["train"], *THINGS["held_out"])
HEIGHTS_M: dict[str, float] = {}
"""How high each thing is; filled below."""


def room_items() -> list[Item]:
    """Return tables, floor and walls; slots are "table", "floor" and "wall"."""
    x, y, thickness = TABLE_HALF_EXTENTS_M[0], TABLE_HALF_EXTENTS_M[1], 2 * TABLE_HALF_EXTENTS_M[2]
    middle = TABLE_CENTRE_M[0]
    return [
        _item("table.bench", board(middle - x, middle + x, -y, y, thickness), "table"),
        _item("table.desk", board(-0.45, 0.95, -0.75, 0.75, thickness), "table"),
        _item("table.round", _round_board(0.75, thickness, 0.30), "table"),
        _item("floor", _flat(-FLOOR_HALF_M, FLOOR_HALF_M, -FLOOR_HALF_M, FLOOR_HALF_M), "floor"),
        _item(
            "wall.back", _upright(np.array([FLOOR_HALF_M, 0.0, 0.0]), np.array([-2 * FLOOR_HALF_M, 0.0, 0.0])), "wall"
        ),
        _item(
            "wall.side", _upright(np.array([0.0, -FLOOR_HALF_M, 0.0]), np.array([0.0, 2 * FLOOR_HALF_M, 0.0])), "wall"
        ),
    ]


def thing_items() -> list[Item]:
    """Return one item per kind of thing, which stands on its origin; slots are its name, dot, "body" or "trim"."""
    return [
        Item(kind, tuple(Part(mesh, f"{kind}.{part}") for part, mesh in parts.items()))
        for kind, parts in _THING_MESHES.items()
    ]


def _item(name: str, mesh: Mesh, slot: str) -> Item:
    return Item(name, (Part(mesh, slot),), casts_shadow=False)


def _flat(left: float, right: float, front: float, back: float) -> Mesh:
    """Return a rectangle that faces up at height 0, textured in metres."""
    mesh = grid(np.array([left, front, 0.0]), np.array([right - left, 0, 0]), np.array([0, back - front, 0]), 1, 1.0)
    return _textured(mesh, mesh.vertices[:, :2])


def _upright(
    corner: np.ndarray[tuple[int], np.dtype[np.float64]], along: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> Mesh:
    mesh = grid(corner, along, np.array([0.0, 0.0, WALL_HEIGHT_M]), 1, 1.0)
    width = float(np.linalg.norm(along))
    return _textured(mesh, mesh.texture_coordinates * np.array([width, WALL_HEIGHT_M]))


def _textured(mesh: Mesh, metres: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Mesh:
    return Mesh(mesh.vertices, mesh.normals, _REPEATS_PER_M * metres, mesh.triangles)


def board(left: float, right: float, front: float, back: float, thickness: float) -> Mesh:
    """Return a board whose upper side lies at height 0, without what nobody sees: its lower side."""
    parts = [_flat(left, right, front, back)]
    corners = [(left, front), (right, front), (right, back), (left, back)]
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        along = np.array([x1 - x0, y1 - y0, 0.0])
        side = grid(np.array([x0, y0, -thickness]), along, np.array([0.0, 0.0, thickness]), 1, 1.0)
        parts.append(_textured(side, side.texture_coordinates * np.array([float(np.linalg.norm(along)), thickness])))
    return join(parts)


def _round_board(radius: float, thickness: float, middle: float, segments: int = 32) -> Mesh:
    mesh = turned([(0.0, -thickness), (radius, -thickness), (radius, 0.0), (0.0, 0.0)], segments)
    vertices = mesh.vertices + np.array([middle, 0.0, 0.0])
    return _textured(Mesh(vertices, mesh.normals, mesh.texture_coordinates, mesh.triangles), vertices[:, :2])


def turned(profile: list[tuple[float, float]], segments: int = _TURNED_SEGMENTS) -> Mesh:
    """Return what a lathe makes of (radius, height) pairs, from below to above on the outside, metres."""
    angle = np.linspace(0.0, 2 * np.pi, segments, endpoint=False)
    rings = [np.stack([r * np.cos(angle), r * np.sin(angle), np.full(segments, z)], axis=1) for r, z in profile]
    here, following = np.arange(segments), np.roll(np.arange(segments), -1)
    triangles = []
    for k in range(len(profile) - 1):
        low, high = k * segments, (k + 1) * segments
        if profile[k][0] > 0:
            triangles.append(np.stack([low + here, low + following, high + following], axis=1))
        if profile[k + 1][0] > 0:
            triangles.append(np.stack([low + here, high + following, high + here], axis=1))
    # Points on the axis are one.
    points, merged = np.unique(np.concatenate(rings).round(6), axis=0, return_inverse=True)
    return creased(points, merged.reshape(-1)[np.concatenate(triangles)])


def block(x: float, y: float, low: float, high: float) -> Mesh:
    """Return a box about the z axis from one height to another, metres; a texture covers each side once."""
    sides = []
    middle, half = np.array([0.0, 0.0, (low + high) / 2]), np.array([x / 2, y / 2, (high - low) / 2])
    for axis in range(3):
        for sign in (-1.0, 1.0):
            normal, u = np.zeros(3), np.zeros(3)
            normal[axis], u[(axis + 1) % 3] = sign, 1.0
            v = np.cross(normal, u)
            sides.append(grid(middle + (normal - u - v) * half, 2 * half * u, 2 * half * v, 1, 1.0))
    return join(sides)


def _moved(mesh: Mesh, x: float, y: float, z: float) -> Mesh:
    return Mesh(mesh.vertices + np.array([x, y, z]), mesh.normals, mesh.texture_coordinates, mesh.triangles)


def _ball(radius: float) -> list[tuple[float, float]]:
    angles = np.linspace(-np.pi / 2, np.pi / 2, 7)
    ring = [(float(radius * np.cos(a)), float(radius * (1 + np.sin(a)))) for a in angles]
    return [(0.0, 0.0), *ring[1:-1], (0.0, 2 * radius)]


_THING_MESHES: dict[str, dict[str, Mesh]] = {
    "mug": {
        "body": turned([(0.0, 0.0), (0.038, 0.0), (0.040, 0.095), (0.034, 0.095), (0.032, 0.01), (0.0, 0.01)]),
        "trim": join(
            [_moved(block(0.03, 0.012, z, z + 0.012), 0.05, 0.0, 0.0) for z in (0.02, 0.07)]
            + [_moved(block(0.01, 0.012, 0.02, 0.082), 0.064, 0.0, 0.0)]
        ),
    },
    "bottle": {
        "body": turned([(0.0, 0.0), (0.034, 0.0), (0.034, 0.12), (0.013, 0.16), (0.013, 0.185), (0.0, 0.185)]),
        "trim": turned([(0.0, 0.18), (0.016, 0.18), (0.016, 0.205), (0.0, 0.205)]),
    },
    "can": {
        "body": turned([(0.0, 0.004), (0.033, 0.004), (0.033, 0.112), (0.0, 0.112)]),
        "trim": turned([(0.0, 0.11), (0.03, 0.11), (0.028, 0.118), (0.0, 0.118)]),
    },
    "book": {"body": block(0.15, 0.21, 0.0, 0.028), "trim": block(0.146, 0.202, 0.004, 0.0295)},
    "carton": {"body": block(0.07, 0.07, 0.0, 0.17), "trim": block(0.071, 0.02, 0.165, 0.2)},
    "roll": {
        "body": turned([(0.0, 0.0), (0.055, 0.0), (0.055, 0.10), (0.022, 0.10), (0.022, 0.02), (0.0, 0.02)], 16),
        "trim": turned([(0.0, 0.0), (0.021, 0.0), (0.021, 0.101), (0.0, 0.101)], 10),
    },
    "bowl": {
        "body": turned([(0.0, 0.0), (0.03, 0.0), (0.065, 0.05), (0.060, 0.05), (0.028, 0.008), (0.0, 0.008)], 16),
        "trim": turned([(0.0, 0.01), (0.045, 0.034), (0.0, 0.04)], 12),
    },
    "orange": {"body": turned(_ball(0.038)), "trim": turned([(0.0, 0.070), (0.006, 0.074), (0.0, 0.082)], 6)},
    "tumbler": {
        "body": turned([(0.0, 0.0), (0.028, 0.0), (0.038, 0.12), (0.0, 0.115)]),
        "trim": turned([(0.0, 0.0), (0.0295, 0.0), (0.032, 0.035), (0.0, 0.036)]),
    },
    "box": {"body": block(0.14, 0.10, 0.0, 0.075), "trim": block(0.142, 0.03, 0.001, 0.077)},
    "pot": {
        "body": turned([(0.0, 0.0), (0.045, 0.0), (0.06, 0.09), (0.0, 0.085)]),
        "trim": turned([(0.0, 0.08), (0.03, 0.09), (0.055, 0.13), (0.03, 0.18), (0.0, 0.21)], 9),
    },
    "wedge": {"body": turned([(0.0, 0.0), (0.06, 0.0), (0.0, 0.16)], 4), "trim": block(0.13, 0.13, 0.0, 0.012)},
}
HEIGHTS_M.update(
    {kind: max(float(mesh.vertices[:, 2].max()) for mesh in parts.values()) for kind, parts in _THING_MESHES.items()}
)
