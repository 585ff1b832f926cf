"""The factors of variation of what a camera sees: their names, what they may be, and what they are where none is drawn.

Each factor is one number, one choice or a few numbers, such as "table.texture" or "light.temperature_k". A value given
by hand (`reset(options={"factors": {...}})`) may lie anywhere in the factor's space; the ranges that training draws
from lie within and are in `sim.config.VisualConfig`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from sim.photographs import own_pictures, photograph_names
from sim.rooms import AT_BACK, AT_SIDE, TABLES
from sim.textures import KINDS, SIDES, texture_names
from sim.things import ALL_THINGS, THINGS

Value = float | str | tuple[float, ...]

PLAIN, NONE = "plain", "none"
SURFACES = ("table", "floor", "wall")
LONGEST_LAYOUT = 2**31 - 1


@dataclass(frozen=True)
class TaskObject:
    """A thing that a task is about.

    Attributes:
        name: Of its item and of its material slot.
        hue_deg: The hue that it keeps, so that it is recognised (0 is red, 120 green); None: it may have any.
    """

    name: str
    hue_deg: float | None


@dataclass(frozen=True)
class Factor:
    """One factor of variation.

    Attributes:
        name: Group, dot, and what it is, with its unit at the end.
        says: The same in words.
        switch: The field of `VisualConfig` that lets it be drawn.
        nominal: Its value where it is not drawn.
        low: Least value.
        high: Greatest value.
        choices: What it may be, if it is no number.
        whole: Whether only whole numbers are allowed.
    """

    name: str
    says: str
    switch: str
    nominal: Value
    low: float = 0.0
    high: float = 1.0
    choices: tuple[str, ...] = ()
    whole: bool = False

    @property
    def size(self) -> int:
        """How many numbers it is."""
        return len(self.nominal) if isinstance(self.nominal, tuple) else 1

    @property
    def space(self) -> spaces.Space[Any]:
        """What it may be; a choice by its number, in the order of `choices`."""
        if self.choices:
            return spaces.Discrete(len(self.choices))
        if self.whole:
            return spaces.Discrete(int(self.high - self.low) + 1, start=int(self.low))
        return spaces.Box(self.low, self.high, (self.size,) if isinstance(self.nominal, tuple) else (), np.float64)

    @property
    def allowed(self) -> str:
        """The same for people."""
        if self.choices:
            return ", ".join(self.choices)
        count = f"{self.size} numbers, " if isinstance(self.nominal, tuple) else "whole number, " if self.whole else ""
        return f"{count}{self.low:g} to {self.high:g}"

    def checked(self, value: Any) -> Value:
        """Return a value as a draw holds it: a choice by its word, whether it is given by that or by its number.

        Raises:
            ValueError: It is not in the factor's space.
        """
        refusal = ValueError(f"factor {self.name} is {value!r}, allowed: {self.allowed}")
        if self.choices:
            if isinstance(value, int | np.integer) and 0 <= value < len(self.choices):
                return self.choices[int(value)]
            if value not in self.choices:
                raise refusal
            return str(value)
        try:
            numbers = np.asarray(value, np.float64)
        except (TypeError, ValueError):
            raise refusal from None
        shape = (self.size,) if isinstance(self.nominal, tuple) else ()
        if numbers.shape != shape or not ((numbers >= self.low) & (numbers <= self.high)).all():
            raise refusal
        if self.whole and numbers % 1:
            raise refusal
        return tuple(float(number) for number in numbers) if shape else float(numbers)


def visual_factors(objects: Sequence[TaskObject] = (), pictures: str = "") -> dict[str, Factor]:
    """Return the factors of a task by name.

    Args:
        objects: What the task is about.
        pictures: A user's folder, as `VisualConfig.pictures`.

    Raises:
        ValueError: The folder cannot be used.
    """
    textures = (PLAIN, *all_textures(pictures))
    patterns = (PLAIN, *(name for side in SIDES for name in texture_names("pattern", side)))
    found = [*_surfaces(textures), *_room(), *_lights(), *_camera(), *_sensor()]
    for thing in objects:
        hue = 0.0 if thing.hue_deg is None else thing.hue_deg
        found += _colour(thing.name, "objects", (hue, 0.95, 0.95), thing.name)
        found.append(
            Factor(f"{thing.name}.texture", f"pattern of the {thing.name}", "textures", PLAIN, choices=patterns)
        )
    return {factor.name: factor for factor in found}


def all_textures(pictures: str) -> tuple[str, ...]:
    """Return the names of all textures of tables, floors and walls."""
    computed = [name for kind in KINDS for side in SIDES for name in texture_names(kind, side)]
    return (*computed, *(name for side in SIDES for name in photograph_names(side)), *own_pictures(pictures))


@functools.lru_cache(maxsize=64)
def texture_of_kind(kind: str, side: str, pictures: str) -> tuple[str, ...]:
    """Return a kind's textures of a side; of photographs training has the user's own beside others."""
    if kind == "photograph":
        return (*photograph_names(side), *(own_pictures(pictures) if side == "train" else ()))
    return texture_names(kind, side)


def checked(factors: Mapping[str, Factor], given: Mapping[str, Any]) -> dict[str, Value]:
    """Return given values as a draw holds them.

    Raises:
        ValueError: There is no such factor, or a value is not in its space.
    """
    for name in given:
        if name not in factors:
            raise ValueError(f"factor is {name!r}, allowed: {', '.join(factors)}")
    return {name: factors[name].checked(value) for name, value in given.items()}


def _colour(name: str, switch: str, hsv: tuple[float, float, float], what: str) -> list[Factor]:
    return [
        Factor(f"{name}.hue_deg", f"hue of the {what}", switch, hsv[0], 0.0, 360.0),
        Factor(f"{name}.saturation", f"colourfulness of the {what}", switch, hsv[1]),
        Factor(f"{name}.value", f"brightness of the {what}", switch, hsv[2]),
    ]


_NOMINAL_HSV = {"table": (210.0, 0.06, 0.66), "floor": (140.0, 0.08, 0.38), "wall": (210.0, 0.2, 0.7)}


def _surfaces(textures: tuple[str, ...]) -> list[Factor]:
    found = []
    for name in SURFACES:
        found += [
            Factor(f"{name}.texture", f"what the {name} is made of", "textures", PLAIN, choices=textures),
            Factor(f"{name}.scale", f"size of that, 1: half a metre ({name})", "textures", 1.0, 0.1, 8.0),
            Factor(f"{name}.turn_deg", f"turn of that ({name})", "textures", 0.0, 0.0, 360.0),
            *_colour(name, "surfaces", _NOMINAL_HSV[name], f"{name}, which multiplies its texture"),
        ]
    return found


def _room() -> list[Factor]:
    return [
        Factor("table.shape", "shape of the table", "room", TABLES[0], choices=TABLES),
        Factor("room.floor_depth_m", "depth of the floor below the table's top", "room", 0.6, 0.1, 1.5),
        Factor("room.wall_back_m", "distance of the wall to the robot's right", "room", 1.0, 0.5, 3.9),
        Factor("room.wall_side_m", "distance of the wall behind the robot", "room", 1.0, 0.5, 3.9),
        Factor("room.back", "what stands against the wall to the right", "room", NONE, choices=(NONE, *AT_BACK)),
        Factor("room.side", "what stands against the wall behind", "room", NONE, choices=(NONE, *AT_SIDE)),
        Factor("room.layout", "where, and in what colours", "room", 0.0, 0, LONGEST_LAYOUT, whole=True),
        *_colour("legs", "room", (30.0, 0.2, 0.5), "table's legs"),
        *_colour("skirting", "room", (0.0, 0.0, 0.9), "skirting boards"),
        *_colour("robot", "robot", (0.0, 0.0, 0.94), "robot's parts, which multiplies their own"),
        Factor("robot.gloss", "strength of highlights on the robot", "robot", 0.5),
        Factor("things.count", "how many things lie about", "things", 0.0, 0, len(THINGS["train"]), whole=True),
        Factor("things.of", "whose things", "things", SIDES[0], choices=SIDES),
        Factor("things.layout", "which, where and in what colours", "things", 0.0, 0, LONGEST_LAYOUT, whole=True),
        Factor("things.before", "what stands before the workspace", "things", NONE, choices=(NONE, *ALL_THINGS)),
    ]


def _lights() -> list[Factor]:
    found = []
    for name, what, azimuth, elevation in (("light", "lamp", 40.0, 57.0), ("second", "second lamp", 200.0, 45.0)):
        found += [
            Factor(f"{name}.azimuth_deg", f"direction of the {what}, from x towards y", "lights", azimuth, 0.0, 360.0),
            Factor(f"{name}.elevation_deg", f"height of the {what} above the horizon", "lights", elevation, 5.0, 90.0),
            Factor(f"{name}.temperature_k", f"colour of the {what}'s light", "lights", 5500.0, 2000.0, 10000.0),
        ]
    return [
        *found,
        Factor("light.ambient", "share of light from everywhere", "lights", 0.55),
        Factor("light.diffuse", "share of the lamp's light", "lights", 0.45),
        Factor("light.specular", "strength of highlights", "lights", 0.05),
        Factor("second.strength", "share of the second lamp's light, 0: none", "lights", 0.0),
        Factor("light.shadows", "whether the lamp casts shadows", "shadows", 0.0, 0, 1, whole=True),
        Factor("light.spread", "reach of a shadow's edge per metre, to 0.034 m", "shadows", 0.05, 0.0, 0.5),
    ]


def _camera() -> list[Factor]:
    return [
        Factor("camera.position_m", "offset of the camera", "camera_position", (0.0, 0.0, 0.0), -0.3, 0.3),
        Factor("camera.aim_m", "offset of where it looks", "camera_aim", (0.0, 0.0, 0.0), -0.1, 0.1),
        Factor("camera.roll_deg", "turn about its axis", "camera_roll", 0.0, -180.0, 180.0),
        Factor("camera.field_of_view_deg", "change of the field of view", "camera_lens", 0.0, -15.0, 60.0),
        Factor("camera.principal_point", "offset of its axis in the image", "camera_lens", (0.0, 0.0), -0.5, 0.5),
    ]


def _sensor() -> list[Factor]:
    return [
        Factor("sensor.noise_levels", "deviation of noise, of 255 levels", "noise", 0.0, 0.0, 120.0),
        Factor("sensor.blur_px", "blur of focus", "blur", 0.0, 0.0, 6.0),
        Factor("sensor.motion_px", "length of the blur of motion", "blur", 0.0, 0.0, 18.0),
        Factor("sensor.motion_deg", "its direction", "blur", 0.0, 0.0, 180.0),
        Factor("sensor.exposure_stops", "exposure, 1 doubles the light", "exposure", 0.0, -6.0, 6.0),
        Factor("sensor.least_brightness", "mean brightness up to which it opens itself", "exposure", 0.0, 0.0, 0.6),
        Factor("sensor.gamma", "power of the picture's values", "exposure", 1.0, 0.3, 3.0),
        Factor("sensor.vignette", "share of light missing in the corners", "exposure", 0.0),
        Factor("sensor.red_gain", "factor of red light", "colour_balance", 1.0, 0.2, 5.0),
        Factor("sensor.blue_gain", "factor of blue light", "colour_balance", 1.0, 0.2, 5.0),
        Factor("sensor.saturation", "factor of colourfulness", "colour_balance", 1.0, 0.0, 2.0),
        Factor("sensor.jpeg_quality", "quality of compression, 100: none", "jpeg", 100.0, 5.0, 100.0),
    ]
