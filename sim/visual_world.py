"""One visual world as values of factors: what `sim.visual` draws, and what follows from the values at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim import colours
from sim.camera import NOMINAL_CAMERA
from sim.engine import Vector
from sim.factors import NONE, PLAIN, TaskObject, Value, visual_factors
from sim.photographs import is_own, own_pictures, photographs
from sim.scenery import CameraPose, Picture
from sim.sensor import Sensor
from sim.textures import texture_pictures

Values = dict[str, Value]


@dataclass(frozen=True)
class VisualDraw:
    """One visual world: the value of every factor.

    Attributes:
        factors: By name.
        nominal_camera: What the camera's factors are offsets from.
    """

    factors: Mapping[str, Value] = field(default_factory=lambda: nominal_values(()))
    nominal_camera: CameraPose = NOMINAL_CAMERA

    def number(self, name: str) -> float:
        """Return the value of a factor that is one number."""
        value = self.factors[name]
        assert isinstance(value, float), name
        return value

    def word(self, name: str) -> str:
        """Return the value of a factor that is a choice."""
        return str(self.factors[name])

    def numbers(self, name: str) -> tuple[float, ...]:
        """Return the value of a factor that is several numbers."""
        value = self.factors[name]
        assert isinstance(value, tuple), name
        return value

    def colour(self, name: str) -> Vector:
        """Return the colour that is drawn for a surface (RGB)."""
        return colours.from_hsv(*(self.number(f"{name}.{part}") for part in ("hue_deg", "saturation", "value")))

    @cached_property
    def camera(self) -> CameraPose:
        """Where the camera stands and how it looks."""
        nominal = self.nominal_camera
        across, down = self.numbers("camera.principal_point")
        return CameraPose(
            _sum(nominal.eye, self.numbers("camera.position_m")),
            _sum(nominal.aim, self.numbers("camera.aim_m")),
            nominal.field_of_view_deg + self.number("camera.field_of_view_deg"),
            nominal.roll_deg + self.number("camera.roll_deg"),
            (nominal.principal_point[0] + across, nominal.principal_point[1] + down),
        )

    @cached_property
    def sensor(self) -> Sensor:
        """The camera's flaws."""
        drawn = {name: value for name, value in self.factors.items() if name.startswith("sensor.")}
        return Sensor(**{name.removeprefix("sensor."): float(value) for name, value in drawn.items()})  # type: ignore[arg-type]


def _sum(one: Vector, other: tuple[float, ...]) -> Vector:
    return (one[0] + other[0], one[1] + other[1], one[2] + other[2])


def nominal_values(objects: Sequence[TaskObject]) -> Values:
    """Return every factor's nominal value."""
    return dict(_nominal_values(tuple(objects)))


@lru_cache(maxsize=16)
def _nominal_values(objects: tuple[TaskObject, ...]) -> Values:
    return {name: factor.nominal for name, factor in visual_factors(objects).items()}


def pictures_of(folder: str) -> dict[str, Picture]:
    """Return every texture by name, with those of a user's folder (`VisualConfig.pictures`)."""
    return {**texture_pictures(), **photographs(), **own_pictures(folder)}


@lru_cache(maxsize=1024)
def _mean(name: str, folder: str) -> Vector:
    """Return the colour that a texture has from afar."""
    pictures = own_pictures(folder) if is_own(name) else pictures_of("")
    light: NDArray[Any] = np.square(pictures[name].astype(np.float64) / 255).mean((0, 1))
    red, green, blue = (float(part) for part in np.sqrt(light))
    return red, green, blue


def seen_colour(draw: VisualDraw, name: str, folder: str) -> Vector:
    """Return the colour that a surface or an object has from afar under white light (RGB)."""
    colour, texture = draw.colour(name), draw.word(f"{name}.texture")
    if texture in (PLAIN, NONE):
        return colour
    mean = _mean(texture, folder)
    return (colour[0] * mean[0], colour[1] * mean[1], colour[2] * mean[2])
