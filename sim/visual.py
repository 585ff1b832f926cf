"""Drawing what a camera sees: a value for every factor of `sim.factors`, from the ranges of `sim.config.VisualConfig`.

Every switch has a generator of its own, seeded by the episode, the switch's name and the view, so that switching one
off, or holding it out, changes no other. Two exceptions: how colourful and bright a surface is depends on whether its
texture has colours of its own, and a table is drawn anew until goal and cube stand out from it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from sim import colours
from sim.camera import NOMINAL_CAMERA
from sim.config import Range, VisualConfig
from sim.domains import changed_factors, held_out_groups, lab_room
from sim.factors import LONGEST_LAYOUT, PLAIN, SURFACES, TaskObject, Value, texture_of_kind
from sim.lab import ROOMS
from sim.rooms import AT_BACK, AT_SIDE, TABLES
from sim.scenery import CameraPose
from sim.seeds import generator
from sim.sensor import LOSSLESS
from sim.textures import texture_names
from sim.things import THINGS
from sim.visual_world import Values, VisualDraw, nominal_values, seen_colour

LIGHT_AZIMUTHS_DEG: dict[str, tuple[Range, ...]] = {
    "train": ((0.0, 90.0), (180.0, 270.0)),
    "held_out": ((90.0, 180.0), (270.0, 360.0)),
}
_KINDS = ("wood", "stone", "cloth", "pattern", "photograph", PLAIN)
# Kinds with colours of their own, which what they are multiplied by may change a little.
_COLOURED = ("wood", "stone", "photograph")
# How often a table is drawn anew before the one with the most contrast is taken.
_TRIES = 16


def draw_visual(
    config: VisualConfig,
    domain: str,
    seed: int,
    view: int,
    camera: CameraPose = NOMINAL_CAMERA,
    objects: Sequence[TaskObject] = (),
    given: Mapping[str, Value] | None = None,
) -> VisualDraw:
    """Draw one visual world.

    Args:
        config: What is drawn, and from which ranges.
        domain: See `sim.domains`.
        seed: Of the episode.
        view: Of the episode's views.
        camera: What its camera is drawn about.
        objects: What the task is about; their colours stay recognisable.
        given: Values that are not drawn, from `sim.factors.checked`.
    """
    values = nominal_values(objects)
    room = lab_room(domain, seed)
    if room is not None:
        values.update(ROOMS[room].factors)
    elif config.enabled:
        _Draw(config, held_out_groups(domain), seed, view, objects, values).draw_all()
    values.update({**changed_factors(domain), **(given or {})})
    return VisualDraw(values, camera)


class _Draw:
    """Fills in the values of one visual world."""

    def __init__(
        self,
        config: VisualConfig,
        held_out: frozenset[str],
        seed: int,
        view: int,
        objects: Sequence[TaskObject],
        values: Values,
    ) -> None:
        self._config, self._held_out, self._objects, self._values = config, held_out, objects, values
        self._seed, self._view = seed, view
        self._generators: dict[tuple[str | int, ...], np.random.Generator] = {}

    def draw_all(self) -> None:
        for thing in self._objects:
            self._draw_object(thing)
        for name in SURFACES:
            self._draw_surface(name)
        config = self._config
        if config.room:
            self._draw_room()
        if config.robot:
            self._draw_robot()
        if config.things:
            self._draw_things()
        if config.lights:
            self._draw_lights()
        if config.shadows:
            rng = self._rng("shadows")
            self._values["light.shadows"] = float(rng.uniform() < config.shadow)
            self._values["light.spread"] = _between(config.shadow_spread, float(rng.uniform()) ** 2)
        self._draw_camera()
        self._draw_sensor()

    def _rng(self, switch: str, *more: str | int) -> np.random.Generator:
        """Return the generator of a switch, which goes on where it was."""
        key = (switch, self._view, *more)
        if key not in self._generators:
            self._generators[key] = generator(self._seed, *key)
        return self._generators[key]

    def _side(self, group: str) -> str:
        """Return from whose ranges a group of `sim.domains.GROUPS` is drawn."""
        return "held_out" if group in self._held_out else "train"

    def _uniform(self, rng: np.random.Generator, name: str, allowed: Range) -> None:
        self._values[name] = float(rng.uniform(*allowed))

    def _draw_object(self, thing: TaskObject) -> None:
        config, name = self._config, thing.name
        if config.objects:
            rng = self._rng("objects", name)
            share = float(rng.uniform(-1, 1))
            hue = 180.0 * (1 + share) if thing.hue_deg is None else thing.hue_deg + share * config.object_hue_deg
            self._values[f"{name}.hue_deg"] = hue % 360.0
            self._uniform(rng, f"{name}.saturation", config.object_saturation)
            self._uniform(rng, f"{name}.value", config.object_value)
        if config.textures:
            rng = self._rng("textures", name)
            names = texture_names("pattern", self._side("textures"))
            if rng.uniform() < config.object_texture:
                self._values[f"{name}.texture"] = names[rng.integers(len(names))]

    def _draw_surface(self, name: str) -> None:
        """Draw a surface; the table so often that what lies on it stands out."""
        best = -1.0
        for attempt in range(_TRIES if name == "table" and self._objects else 1):
            drawn = self._surface(name, attempt)
            contrast = self._contrast(name, drawn)
            if contrast > best:
                best, kept = contrast, drawn
            if best >= self._config.least_contrast:
                break
        self._values.update(kept)

    def _surface(self, name: str, attempt: int) -> Values:
        config, drawn = self._config, dict[str, Value]()
        kind = PLAIN
        if config.textures:
            rng = self._rng("textures", name, attempt)
            weights = np.array([getattr(config, f"texture_{kind}") for kind in _KINDS])
            kind = _KINDS[int(np.searchsorted(np.cumsum(weights) / weights.sum(), rng.uniform(), side="right"))]
            names = () if kind == PLAIN else texture_of_kind(kind, self._side("textures"), config.pictures)
            drawn[f"{name}.texture"] = PLAIN if kind == PLAIN else names[rng.integers(len(names))]
            low, high = config.texture_scale
            drawn[f"{name}.scale"] = float(low * (high / low) ** rng.uniform())
            drawn[f"{name}.turn_deg"] = float(rng.uniform(0, 360))
        if config.surfaces:
            hue, saturation, value = self._rng("surfaces", name, attempt).uniform(size=3)
            saturations, values = config.surface_saturation, config.surface_value
            if kind in _COLOURED:
                saturations, values = (0.0, config.surface_tint), (config.surface_darkest, 1.0)
            drawn[f"{name}.hue_deg"] = float(360 * hue)
            drawn[f"{name}.saturation"] = _between(saturations, saturation)
            drawn[f"{name}.value"] = _between(values, value)
        elif kind in _COLOURED:
            drawn[f"{name}.saturation"], drawn[f"{name}.value"] = 0.0, 1.0
        return drawn

    def _contrast(self, name: str, drawn: Values) -> float:
        """Return how much the object stands out that stands out least."""
        world = VisualDraw({**self._values, **drawn})
        under = seen_colour(world, name, self._config.pictures)
        return min(
            (
                colours.difference(seen_colour(world, thing.name, self._config.pictures), under)
                for thing in self._objects
            ),
            default=1.0,
        )

    def _draw_room(self) -> None:
        config, rng = self._config, self._rng("room")
        self._values["table.shape"] = TABLES[int(rng.integers(len(TABLES)))]
        self._uniform(rng, "room.floor_depth_m", config.floor_depth_m)
        self._uniform(rng, "room.wall_back_m", config.wall_distance_m)
        self._uniform(rng, "room.wall_side_m", config.wall_distance_m)
        for side, kinds in (("back", AT_BACK), ("side", AT_SIDE)):
            if rng.uniform() < config.furniture:
                self._values[f"room.{side}"] = kinds[int(rng.integers(len(kinds)))]
        self._values["room.layout"] = float(rng.integers(LONGEST_LAYOUT))
        for name in ("legs", "skirting"):
            self._uniform(rng, f"{name}.hue_deg", (0.0, 360.0))
            self._uniform(rng, f"{name}.saturation", config.joinery_saturation)
            self._uniform(rng, f"{name}.value", config.joinery_value)

    def _draw_robot(self) -> None:
        config, rng = self._config, self._rng("robot")
        away = rng.uniform() < config.robot_away
        self._uniform(rng, "robot.hue_deg", (0.0, 360.0))
        self._uniform(rng, "robot.saturation", config.robot_away_saturation if away else config.robot_saturation)
        self._uniform(rng, "robot.value", config.robot_away_value if away else config.robot_value)
        self._uniform(rng, "robot.gloss", config.robot_gloss)

    def _draw_things(self) -> None:
        config, side, rng = self._config, self._side("things"), self._rng("things")
        self._values["things.of"] = side
        self._values["things.count"] = float(rng.integers(config.things_most + 1))
        self._values["things.layout"] = float(rng.integers(LONGEST_LAYOUT))
        if rng.uniform() < config.thing_before:
            self._values["things.before"] = THINGS[side][int(rng.integers(len(THINGS[side])))]

    def _draw_lights(self) -> None:
        config, bands, rng = self._config, LIGHT_AZIMUTHS_DEG[self._side("light")], self._rng("lights")
        for name in ("light", "second"):
            self._values[f"{name}.azimuth_deg"] = in_bands(bands, float(rng.uniform()))
            self._uniform(rng, f"{name}.elevation_deg", config.light_elevation_deg)
            warm, cold = (1e6 / kelvin for kelvin in config.light_temperature_k)
            mired = rng.uniform(cold, warm)
            self._values[f"{name}.temperature_k"] = float(1e6 / mired)
        self._uniform(rng, "light.ambient", config.light_ambient)
        self._uniform(rng, "light.diffuse", config.light_diffuse)
        self._uniform(rng, "light.specular", config.light_specular)
        if rng.uniform() < config.second_light:
            self._values["second.strength"] = float(rng.uniform(*config.second_light_strength))

    def _draw_camera(self) -> None:
        config, side = self._config, self._side("camera")
        for name, switch in (("position_m", "camera_position"), ("aim_m", "camera_aim")):
            if getattr(config, switch):
                inner, outer = getattr(config, f"{switch}_m"), getattr(config, f"held_out_{switch}_m")
                radii = (0.0, inner) if side == "train" else (inner, outer)
                self._values[f"camera.{name}"] = _offset_in_shell(self._rng(switch), *radii)
        if config.camera_roll:
            self._uniform(
                self._rng("camera_roll"), "camera.roll_deg", (-config.camera_roll_deg, config.camera_roll_deg)
            )
        if config.camera_lens:
            widest, farthest = config.camera_field_of_view_deg, config.camera_principal_point
            self._uniform(self._rng("camera_lens"), "camera.field_of_view_deg", (-widest, widest))
            across, down = self._rng("camera_lens").uniform(-farthest, farthest, 2)
            self._values["camera.principal_point"] = (float(across), float(down))

    def _draw_sensor(self) -> None:
        config, factor = self._config, self._config.held_out_sensor_factor
        beyond = factor if self._side("noise") == "held_out" else None
        if config.noise:
            self._uniform(self._rng("noise"), "sensor.noise_levels", _range(config.noise_levels, beyond))
        if config.blur:
            rng = self._rng("blur")
            self._uniform(rng, "sensor.blur_px", _range(config.blur_px, beyond))
            if rng.uniform() < config.motion_blur:
                self._values["sensor.motion_px"] = float(rng.uniform(*_range(config.motion_blur_px, beyond)))
            self._uniform(rng, "sensor.motion_deg", (0.0, 180.0))
        if config.exposure:
            rng = self._rng("exposure")
            self._values["sensor.exposure_stops"] = _change(rng, config.exposure_stops, beyond)
            self._uniform(rng, "sensor.gamma", config.gamma)
            self._uniform(rng, "sensor.vignette", config.vignette)
            self._uniform(rng, "sensor.least_brightness", config.least_brightness)
        if config.colour_balance:
            rng = self._rng("colour_balance")
            for channel in ("red", "blue"):
                change = _change(rng, math.log1p(config.white_balance), beyond)
                self._values[f"sensor.{channel}_gain"] = math.exp(change)
            self._uniform(rng, "sensor.saturation", config.colour_saturation)
        if config.jpeg:
            rng = self._rng("jpeg")
            compressed = rng.uniform() < config.jpeg_share
            self._values["sensor.jpeg_quality"] = float(rng.uniform(*config.jpeg_quality)) if compressed else LOSSLESS


def _between(allowed: Range, share: float) -> float:
    return float(allowed[0] + share * (allowed[1] - allowed[0]))


def _range(allowed: Range, beyond: float | None) -> Range:
    """Return a range or, with a factor, what reaches from its end to so many times that."""
    return allowed if beyond is None else (allowed[1], beyond * allowed[1])


def _change(rng: np.random.Generator, largest: float, beyond: float | None) -> float:
    """Return a change to either side, at most `largest` or, with a factor, from there to so many times that."""
    change = float(rng.uniform(-largest, largest))
    return change if beyond is None else math.copysign(largest, change) + (beyond - 1.0) * change


def in_bands(bands: tuple[Range, ...], share: float) -> float:
    """Return the point that lies at `share` (0 to 1) of the bands' joint length."""
    rest = share * sum(high - low for low, high in bands)
    for low, high in bands:
        if rest <= high - low:
            return low + rest
        rest -= high - low
    return bands[-1][1]


def _offset_in_shell(rng: np.random.Generator, inner: float, outer: float) -> tuple[float, ...]:
    """Return an offset drawn evenly from the space between two balls (metres, [3])."""
    direction = rng.standard_normal(3)
    radius = np.cbrt(rng.uniform(inner**3, outer**3))
    return tuple(float(part) for part in radius * direction / np.linalg.norm(direction))
