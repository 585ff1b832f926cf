"""From what is drawn to what a renderer is told: one `Look` per visual draw, furnished, painted and lit."""

from __future__ import annotations

import math

import numpy as np

from sim import colours
from sim.assets import TABLE_CENTRE_M, TABLE_HALF_EXTENTS_M
from sim.engine import Vector
from sim.factors import NONE, PLAIN, SURFACES
from sim.panda_parts import PALETTE
from sim.rooms import AT_BACK, AT_SIDE, DEPTHS_M, DESK_M, ROUND_TABLE
from sim.scenery import Lamp, Light, Look, Material, Pose, Scenery
from sim.things import COLOURS, THINGS
from sim.visual_world import VisualDraw, seen_colour

# Things keep out of where the robot works, and out of where it stands (metres: low and high, x and y).
_WORKSPACE = ((0.24, 0.76), (-0.27, 0.27))
_ROBOT = ((-0.25, 0.3), (-0.24, 0.24))
# Where a thing stands that stands before the workspace: so far from its middle, towards the camera.
_BEFORE_M = 0.23
_APART_M = 0.14
# So far from a table's edge a thing stands at least, but for a bench, which is small.
_RIM_M = 0.05
_TRIES = 20
# How many colours things have between them, at most one per part.
_SHADES = 48
_BESIDE = 0.2
# How colourful furniture is at most, and what is seen of a window by day.
_MUTED = 0.5
_DAYLIGHT = (0.93, 0.96, 1.0)
# Nearer to the robot, right and behind, stands no furniture: there a table may be.
_NEAREST_FURNITURE_M = 0.8
# How much of its colour a table gives to the light that it sends upwards.
_BOUNCE = 0.4


def look_of(draw: VisualDraw, scenery: Scenery, pictures: str = "") -> Look:
    """Return how a draw looks.

    Args:
        draw: A value for every factor.
        scenery: What there is.
        pictures: A user's folder, as `VisualConfig.pictures`.
    """
    placed = {**_placed(draw), **_furniture(draw), **_things(draw)}
    return Look(_materials(draw, scenery), _light(draw, pictures), placed, draw.colour("wall"))


def _placed(draw: VisualDraw) -> dict[str, Pose]:
    floor = -draw.number("room.floor_depth_m")
    return {
        f"table.{draw.word('table.shape')}": Pose(),
        "floor": Pose((0.0, 0.0, floor)),
        "wall.back": Pose((0.0, -draw.number("room.wall_back_m"), floor)),
        "wall.side": Pose((-draw.number("room.wall_side_m"), 0.0, floor)),
    }


def _furniture(draw: VisualDraw) -> dict[str, Pose]:
    """Return what stands against the walls and where, but for what would stand under the table."""
    rng = np.random.default_rng([int(draw.number("room.layout")), 0])
    floor = -draw.number("room.floor_depth_m")
    placed = {}
    for wall, turn_deg in (("back", 0.0), ("side", -90.0)):
        kind, distance, along = draw.word(f"room.{wall}"), draw.number(f"room.wall_{wall}_m"), float(rng.uniform(-1, 1))
        if kind == NONE or distance - DEPTHS_M[kind] < _NEAREST_FURNITURE_M:
            continue
        half = math.radians(turn_deg) / 2
        x, y = (along, -distance) if wall == "back" else (-distance, along)
        placed[kind] = Pose((x, y, floor), (0.0, 0.0, math.sin(half), math.cos(half)))
    return placed


def _materials(draw: VisualDraw, scenery: Scenery) -> dict[str, Material]:
    tint, gloss = draw.colour("robot"), draw.number("robot.gloss")
    shades = {
        layout: np.random.default_rng([int(draw.number(f"{layout}.layout")), 1]).uniform(
            (0, 0, 0.08), most, (_SHADES, 3)
        )
        for layout, most in (("things", (360.0, 1.0, 1.0)), ("room", (360.0, _MUTED, 1.0)))
    }
    own = {"window.body": _DAYLIGHT, **COLOURS}
    materials = {}
    for index, slot in enumerate(scenery.slots):
        group, _, part = slot.partition(".")
        if part in PALETTE:
            red, green, blue = PALETTE[part]
            materials[slot] = Material((red * tint[0], green * tint[1], blue * tint[2]), gloss=gloss)
        elif part:
            hsv = shades["room" if group in (*AT_BACK, *AT_SIDE) else "things"][index % _SHADES]
            drawn = colours.from_hsv(*(float(value) for value in hsv))
            materials[slot] = Material(own.get(slot, drawn))
        else:
            materials[slot] = _surface(draw, slot)
    return materials


def _surface(draw: VisualDraw, name: str) -> Material:
    texture = str(draw.factors.get(f"{name}.texture", PLAIN))
    if texture == PLAIN:
        return Material(draw.colour(name))
    if name not in SURFACES:
        return Material(draw.colour(name), texture)
    return Material(draw.colour(name), texture, 1.0, draw.number(f"{name}.scale"), draw.number(f"{name}.turn_deg"))


def _light(draw: VisualDraw, pictures: str) -> Light:
    strength = draw.number("second.strength")
    second = None
    if strength > 0:
        colour = colours.of_lamp(draw.number("second.temperature_k"))
        second = Lamp(_direction(draw, "second"), colour, strength)
    red, green, blue = (1 - _BOUNCE * (1 - part) for part in seen_colour(draw, "table", pictures))
    return Light(
        direction=_direction(draw, "light"),
        colour=colours.of_lamp(draw.number("light.temperature_k")),
        ambient=draw.number("light.ambient"),
        diffuse=draw.number("light.diffuse"),
        specular=draw.number("light.specular"),
        shadows=draw.number("light.shadows") > 0,
        spread=draw.number("light.spread"),
        ground=(red, green, blue),
        second=second,
    )


def _direction(draw: VisualDraw, lamp: str) -> Vector:
    azimuth = math.radians(draw.number(f"{lamp}.azimuth_deg"))
    elevation = math.radians(draw.number(f"{lamp}.elevation_deg"))
    level = math.cos(elevation)
    return (level * math.cos(azimuth), level * math.sin(azimuth), math.sin(elevation))


def _things(draw: VisualDraw) -> dict[str, Pose]:
    """Return where things stand: on the table outside of the workspace, beside it on the floor, one before it."""
    rng = np.random.default_rng([int(draw.number("things.layout")), 0])
    kinds = THINGS[draw.word("things.of")]
    chosen = [kinds[index] for index in rng.permutation(len(kinds))[: int(draw.number("things.count"))]]
    placed: dict[str, Pose] = {}
    before = draw.word("things.before")
    if before != NONE:
        towards = np.subtract(draw.camera.eye, draw.camera.aim)[:2]
        x, y = np.array((0.5, 0.0)) + _BEFORE_M * towards / np.linalg.norm(towards)
        placed[before] = Pose((float(x), float(y), 0.0), _turned(rng))
    for kind in chosen:
        if kind == before:
            continue
        where = _free_place(draw, rng, placed)
        if where is not None:
            placed[kind] = Pose(where, _turned(rng))
    return placed


def _turned(rng: np.random.Generator) -> tuple[float, float, float, float]:
    half = float(rng.uniform(0, math.pi))
    return (0.0, 0.0, math.sin(half), math.cos(half))


def _free_place(draw: VisualDraw, rng: np.random.Generator, placed: dict[str, Pose]) -> Vector | None:
    beside = rng.uniform() < _BESIDE
    for _ in range(_TRIES):
        x, y = (float(part) for part in rng.uniform((-0.4, -1.1), (1.0, 0.6)))
        if beside == _on_table(draw, x, y) or (not beside and (_within(x, y, _WORKSPACE) or _within(x, y, _ROBOT))):
            continue
        if all(math.dist((x, y), pose.position[:2]) > _APART_M for pose in placed.values()):
            return (x, y, -draw.number("room.floor_depth_m") if beside else 0.0)
    return None


def _within(x: float, y: float, area: tuple[tuple[float, float], tuple[float, float]]) -> bool:
    return area[0][0] < x < area[0][1] and area[1][0] < y < area[1][1]


def _on_table(draw: VisualDraw, x: float, y: float) -> bool:
    shape = draw.word("table.shape")
    if shape == "round":
        return math.dist((x, y), (ROUND_TABLE[0], 0.0)) < ROUND_TABLE[1] - _RIM_M
    if shape == "desk":
        (left, right), (front, back) = DESK_M
        return _within(x, y, ((left + _RIM_M, right - _RIM_M), (front + _RIM_M, back - _RIM_M)))
    middle, half_x, half_y = TABLE_CENTRE_M[0], TABLE_HALF_EXTENTS_M[0], TABLE_HALF_EXTENTS_M[1]
    return _within(x, y, ((middle - half_x, middle + half_x), (-half_y, half_y)))
