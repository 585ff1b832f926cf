"""What a room consists of beside what lies about in it: tables, floor, walls, and what stands against the walls.

It is data alone: `Scene` puts all of it into its scenery; which of it is seen, where and in which colours is drawn per
episode (`sim.looks`). Nothing here collides with anything.
"""

from __future__ import annotations

import numpy as np

from sim.assets import TABLE_CENTRE_M, TABLE_HALF_EXTENTS_M
from sim.meshes import Floats, Mesh, join, rectangle
from sim.scenery import Board, Item, Part
from sim.solids import block, board, flat, moved, round_board, turned, upright

FLOOR_HALF_M = 4.0
WALL_HEIGHT_M = 2.5
# Legs reach below the lowest floor, which hides the rest of them.
_LEG_M = 1.55
_LEG_WIDTH_M = 0.05
_SKIRTING_M = (0.014, 0.09)

TABLES = ("bench", "desk", "round")
"""The shapes of tables. A bench is what the cube can stand on; the others are larger, so that it falls through them."""

ROUND_TABLE = (0.30, 0.75)
"""Middle along x and radius of the round one, metres."""
DESK_M = ((-0.45, 0.95), (-0.75, 0.75))
"""From where to where the desk reaches, x and y."""

AT_BACK = ("door", "cupboard", "shelf")
AT_SIDE = ("window", "radiator", "sideboard")
"""What may stand against the wall to the robot's right, and against the one behind it."""

DEPTHS_M: dict[str, float] = {}
"""How far each of these stands out from its wall; filled below."""


def room_items() -> list[Item]:
    """Return tables, floor, walls and what stands against them.

    Slots are "table", "legs", "floor", "wall" and "skirting"; of furniture its name, dot, "body" or "trim".
    """
    along_back, along_side = np.array([-2 * FLOOR_HALF_M, 0.0, 0.0]), np.array([0.0, 2 * FLOOR_HALF_M, 0.0])
    return [
        *_tables(),
        Item("floor", (Part(flat(*(-FLOOR_HALF_M, FLOOR_HALF_M) * 2), "floor"),), casts_shadow=False),
        _wall("wall.back", np.array([FLOOR_HALF_M, 0.0, 0.0]), along_back),
        _wall("wall.side", np.array([0.0, -FLOOR_HALF_M, 0.0]), along_side),
        *(
            Item(kind, tuple(Part(mesh, f"{kind}.{part}") for part, mesh in parts.items()), casts_shadow=False)
            for kind, parts in _FURNITURE.items()
        ),
    ]


def _tables() -> list[Item]:
    half_x, half_y, thickness = TABLE_HALF_EXTENTS_M[0], TABLE_HALF_EXTENTS_M[1], 2 * TABLE_HALF_EXTENTS_M[2]
    middle = TABLE_CENTRE_M[0]
    items = []
    for name, x, y in (("bench", (middle - half_x, middle + half_x), (-half_y, half_y)), ("desk", *DESK_M)):
        legs = [
            moved(block(_LEG_WIDTH_M, _LEG_WIDTH_M, -_LEG_M, -thickness), at_x, at_y, 0.0)
            for at_x in (x[0] + _LEG_WIDTH_M, x[1] - _LEG_WIDTH_M)
            for at_y in (y[0] + _LEG_WIDTH_M, y[1] - _LEG_WIDTH_M)
        ]
        shade = Board((sum(x) / 2, sum(y) / 2, -thickness), ((x[1] - x[0]) / 2, (y[1] - y[0]) / 2))
        items.append(_table(name, board(*x, *y, thickness), join(legs), shade))
    at, radius = ROUND_TABLE
    column = moved(turned([(0.0, -_LEG_M), (0.045, -_LEG_M), (0.045, -thickness), (0.0, -thickness)]), at, 0.0, 0.0)
    shade = Board((at, 0.0, -thickness), (radius, radius), is_round=True)
    items.append(_table("round", round_board(radius, thickness, at), column, shade))
    return items


def _table(name: str, top: Mesh, legs: Mesh, shade: Board) -> Item:
    return Item(f"table.{name}", (Part(top, "table"), Part(legs, "legs")), casts_shadow=False, board=shade)


def _wall(name: str, corner: Floats, along: Floats) -> Item:
    """Return a wall with a skirting board; it faces `along` x up."""
    out, height = _SKIRTING_M
    up = np.array([0.0, 0.0, height])
    inwards = out * np.cross(along, up) / np.linalg.norm(np.cross(along, up))
    skirting = [rectangle(corner + inwards, along, up), rectangle(corner + inwards + up, along, -inwards)]
    parts = (Part(upright(corner, along, WALL_HEIGHT_M), "wall"), Part(join(skirting), "skirting"))
    return Item(name, parts, casts_shadow=False)


def _box(x: tuple[float, float], y: tuple[float, float], z: tuple[float, float]) -> Mesh:
    """Return a box from and to places in metres."""
    return moved(block(x[1] - x[0], y[1] - y[0], *z), sum(x) / 2, sum(y) / 2, 0.0)


# Each stands on the floor with its back to a wall at y = 0.
_FURNITURE: dict[str, dict[str, Mesh]] = {
    "door": {
        "body": _box((-0.42, 0.42), (0.0, 0.03), (0.005, 2.02)),
        "trim": join(
            [_box((x, x + 0.09), (0.0, 0.045), (0.0, 2.11)) for x in (-0.51, 0.42)]
            + [_box((-0.42, 0.42), (0.0, 0.045), (2.02, 2.11)), _box((0.30, 0.38), (0.03, 0.08), (1.0, 1.03))]
        ),
    },
    "cupboard": {
        "body": _box((-0.6, 0.6), (0.0, 0.38), (0.06, 0.9)),
        "trim": join(
            [
                _box((-0.58, 0.58), (0.0, 0.34), (0.0, 0.06)),
                _box((-0.62, 0.62), (0.0, 0.40), (0.9, 0.93)),
                _box((-0.006, 0.006), (0.38, 0.384), (0.06, 0.9)),
                *(_box((x - 0.01, x + 0.01), (0.38, 0.405), (0.5, 0.66)) for x in (-0.06, 0.06)),
            ]
        ),
    },
    "shelf": {
        "body": join(
            [_box((x, x + 0.03), (0.0, 0.28), (0.0, 1.8)) for x in (-0.45, 0.42)]
            + [_box((-0.42, 0.42), (0.0, 0.27), (z, z + 0.03)) for z in (0.05, 0.4, 0.75, 1.1, 1.45, 1.77)]
        ),
        "trim": join(
            [_box((x, x + 0.05), (0.04, 0.22), (0.08, 0.30)) for x in (-0.38, -0.32, -0.25, 0.10, 0.33)]
            + [_box((x, x + 0.04), (0.04, 0.22), (0.43, 0.68)) for x in (-0.30, -0.10, 0.02, 0.30)]
        ),
    },
    "window": {
        "body": _box((-0.7, 0.7), (0.0, 0.02), (0.08, 2.1)),
        "trim": join(
            [_box((x - 0.04, x + 0.04), (0.0, 0.06), (0.0, 2.18)) for x in (-0.74, 0.0, 0.74)]
            + [_box((-0.78, 0.78), (0.0, 0.055), (z, z + 0.08)) for z in (0.0, 1.0, 2.1)]
        ),
    },
    "radiator": {
        "body": _box((-0.5, 0.5), (0.03, 0.09), (0.12, 0.62)),
        "trim": join([_box((x, x + 0.02), (0.09, 0.105), (0.14, 0.60)) for x in np.linspace(-0.48, 0.46, 12)]),
    },
    "sideboard": {
        "body": _box((-0.8, 0.8), (0.0, 0.42), (0.15, 0.7)),
        "trim": join(
            [_box((x - 0.02, x + 0.02), (0.04, 0.36), (0.0, 0.15)) for x in (-0.7, 0.7)]
            + [_box((x - 0.004, x + 0.004), (0.42, 0.424), (0.15, 0.7)) for x in (-0.27, 0.27)]
        ),
    },
}
DEPTHS_M.update(
    {kind: max(float(mesh.vertices[:, 1].max()) for mesh in parts.values()) for kind, parts in _FURNITURE.items()}
)
