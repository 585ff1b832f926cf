"""What is drawn per episode, and from which ranges each domain draws.

Every draw comes from generators seeded by the episode's seed and the name of what is drawn, so that switching one
factor off, or holding it out, changes no other. What is held out shares no texture family, no hue band, no light
direction and no camera offset with training; red and yellow belong to goal and cube everywhere. Which factors a domain
holds out is said in `sim.domains`.
"""

from __future__ import annotations

import colorsys
import math
import zlib
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from sim.camera import NOMINAL_CAMERA, Sensor
from sim.config import DynamicsConfig, Range, SensingConfig, TimingConfig, VisualConfig
from sim.domains import held_out_factors
from sim.engine import Vector
from sim.scenery import CameraPose, Light
from sim.textures import texture_names

HUE_BANDS_DEG: dict[str, tuple[Range, ...]] = {
    "train": ((85.0, 155.0), (195.0, 240.0)),
    "held_out": ((155.0, 195.0), (240.0, 290.0)),
}
LIGHT_AZIMUTHS_DEG: dict[str, tuple[Range, ...]] = {
    "train": ((0.0, 90.0), (180.0, 270.0)),
    "held_out": ((90.0, 180.0), (270.0, 360.0)),
}
BODIES = ("gripper", "cube", "goal")
GOAL_HUE_DEG = 0.0
CUBE_HUE_DEG = 52.0

# The switch of each surface's colour, and the field with the chance of its texture.
_SURFACES: dict[str, tuple[str, str | None]] = {
    "table": ("table", "scenery_texture_probability"),
    "floor": ("floor", "scenery_texture_probability"),
    "background": ("background", "scenery_texture_probability"),
    "arm": ("robot", "robot_texture_probability"),
    "hand": ("robot", None),
    "fingers": ("robot", None),
    "goal": ("objects", "object_texture_probability"),
    "cube": ("objects", "object_texture_probability"),
}


@dataclass(frozen=True)
class Surface:
    """A colour (RGB) and a texture's name, or None for plain."""

    colour: Vector
    texture: str | None = None


NOMINAL_SURFACES: dict[str, Surface] = {
    "table": Surface((0.62, 0.64, 0.66)),
    "floor": Surface((0.35, 0.38, 0.36)),
    "background": Surface((0.55, 0.62, 0.70)),
    "arm": Surface((0.92, 0.93, 0.94)),
    "hand": Surface((0.95, 0.96, 0.97)),
    "fingers": Surface((0.22, 0.24, 0.26)),
    "goal": Surface((0.95, 0.05, 0.05)),
    "cube": Surface((0.95, 0.83, 0.05)),
}
NOMINAL_LIGHT = Light(
    direction=(0.5, 0.4, 1.0), colour=(1.0, 1.0, 1.0), ambient=0.55, diffuse=0.45, specular=0.05, shadows=False
)


@dataclass(frozen=True)
class VisualDraw:
    """One visual world."""

    surfaces: dict[str, Surface] = field(default_factory=lambda: dict(NOMINAL_SURFACES))
    light: Light = NOMINAL_LIGHT
    camera: CameraPose = NOMINAL_CAMERA
    sensor: Sensor = Sensor()


@dataclass(frozen=True)
class DynamicsDraw:
    """Factors of the nominal dynamics."""

    mass_factor: float = 1.0
    friction_factor: float = 1.0
    damping_factor: float = 1.0
    controller_gain_factor: float = 1.0
    controller_force_factor: float = 1.0


@dataclass(frozen=True)
class TimingDraw:
    """Delays in seconds and the chance of a held frame per step."""

    action_delay_s: float = 0.0
    camera_delay_s: float = 0.0
    held_frame_probability: float = 0.0


@dataclass(frozen=True)
class SensingDraw:
    """By how much the state misjudges x and y of each body in metres; empty where it tells the truth."""

    position_error_m: dict[str, tuple[float, float]] = field(default_factory=dict)

    def of(self, name: str) -> float:
        """Return the error of one number of the state, by its name (`sim.tasks`)."""
        what, _, axis = name.removesuffix("_m").rpartition("_")
        if not name.endswith("_m") or axis not in ("x", "y"):
            return 0.0
        body, _, origin = what.partition("_from_")
        index = "xy".index(axis)
        return sum(
            sign * self.position_error_m[thing][index]
            for thing, sign in ((body, 1.0), (origin, -1.0))
            if thing in self.position_error_m
        )


@dataclass(frozen=True)
class EpisodeDraw:
    """Everything that randomisation decides about one episode; `visual` has one entry per view."""

    visual: tuple[VisualDraw, ...]
    dynamics: DynamicsDraw
    timing: TimingDraw
    sensing: SensingDraw = SensingDraw()

    def as_json(self) -> dict[str, Any]:
        """Return the draw as plain dictionaries, lists and numbers."""
        return _plain(asdict(self))  # type: ignore[no-any-return]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(entry) for entry in value]
    return round(value, 6) if isinstance(value, float) else value


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """Return the generator for one purpose in the episode with this seed."""
    words = [zlib.crc32(name.encode()) if isinstance(name, str) else name for name in names]
    return np.random.default_rng([seed, *words])


def draw_visual(
    config: VisualConfig, domain: str, seed: int, view: int, camera: CameraPose = NOMINAL_CAMERA
) -> VisualDraw:
    """Draw one visual world of a domain for one view of an episode; `camera` is what its camera is drawn about."""
    if not config.enabled:
        return VisualDraw(camera=camera)
    held_out = held_out_factors(domain)
    return VisualDraw(
        surfaces=_draw_surfaces(config, held_out, seed, view),
        light=_draw_light(config, _side("light", held_out), generator(seed, "light", view)),
        camera=_draw_camera(config, _side("camera", held_out), seed, view, camera),
        sensor=_draw_sensor(config, _side("noise", held_out), seed, view),
    )


def _side(factor: str, held_out: frozenset[str]) -> str:
    """Return from whose ranges a factor is drawn: the key of the tables above."""
    return "held_out" if factor in held_out else "train"


def draw_sensing(config: SensingConfig, seed: int) -> SensingDraw:
    """Draw how wrong the state of an episode is."""
    if not config.enabled:
        return SensingDraw()
    most, rng = config.position_error_m, generator(seed, "sensing")
    errors = rng.uniform(-most, most, (len(BODIES), 2))
    return SensingDraw({body: (float(x), float(y)) for body, (x, y) in zip(BODIES, errors, strict=True)})


def draw_dynamics(config: DynamicsConfig, seed: int) -> DynamicsDraw:
    """Draw the dynamics of an episode."""
    drawn = {}
    for factor in ("mass", "friction", "damping", "controller_gain", "controller_force"):
        if config.enabled and getattr(config, factor):
            low, high = getattr(config, f"{factor}_factor")
            # Evenly in the logarithm, where the range allows it: half as heavy is as likely as twice as heavy.
            share = generator(seed, factor).uniform()
            even = low + share * (high - low)
            drawn[f"{factor}_factor"] = float(low * (high / low) ** share) if low > 0 else float(even)
    return DynamicsDraw(**drawn)


def draw_timing(config: TimingConfig, seed: int, domain: str = "train", *, longest_s: float = math.inf) -> TimingDraw:
    """Draw the delays of an episode; held out by name they go beyond training's, up to `longest_s` (seconds)."""
    drawn = {}
    held_out = "delay" in held_out_factors(domain)
    factor = config.held_out_delay_factor
    for name in ("action_delay", "camera_delay"):
        if config.enabled and getattr(config, name):
            low, high = getattr(config, f"{name}_s")
            if held_out:
                low, high = high, min(factor * high, longest_s)
            drawn[f"{name}_s"] = float(generator(seed, name).uniform(low, high))
    if config.enabled and config.held_frames:
        probability = config.held_frame_probability
        drawn["held_frame_probability"] = min(factor * probability, 0.9) if held_out else probability
    return TimingDraw(**drawn)


def _draw_surfaces(config: VisualConfig, held_out: frozenset[str], seed: int, view: int) -> dict[str, Surface]:
    surfaces = dict(NOMINAL_SURFACES)
    hues, names = HUE_BANDS_DEG[_side("colours", held_out)], texture_names(_side("textures", held_out))
    for name, (switch, probability) in _SURFACES.items():
        colour, texture = surfaces[name].colour, None
        if getattr(config, switch):
            rng = generator(seed, "surface", name, view)
            table_value = max(surfaces["table"].colour)
            colour = _draw_colour(config, hues, name, table_value, rng)
        if config.textures and probability is not None:
            rng = generator(seed, "texture", name, view)
            if rng.uniform() < getattr(config, probability):
                texture = names[rng.integers(len(names))]
        surfaces[name] = Surface(colour, texture)
    return surfaces


def _draw_colour(
    config: VisualConfig, hues: tuple[Range, ...], name: str, table_value: float, rng: np.random.Generator
) -> Vector:
    values: tuple[Range, ...]
    hue_share, saturation_share, value_share = rng.uniform(size=3)
    if name in ("goal", "cube"):
        hue = (GOAL_HUE_DEG if name == "goal" else CUBE_HUE_DEG) + (2 * hue_share - 1) * config.object_hue_deg
        saturations, values = config.object_saturation, (config.object_value,)
    else:
        hue = _in_bands(hues, hue_share)
        saturations, values = config.scenery_saturation, (config.scenery_value,)
    if name in ("arm", "hand", "fingers"):
        saturations = config.robot_saturation
        values = (config.finger_value if name == "fingers" else config.robot_value,)
    if name == "hand":
        values = _apart_from(table_value, config.robot_value, config.gripper_contrast)
    saturation = _in_bands((saturations,), saturation_share)
    return colorsys.hsv_to_rgb((hue % 360.0) / 360.0, saturation, _in_bands(values, value_share))


def _apart_from(value: float, allowed: Range, gap: float) -> tuple[Range, ...]:
    """Return the parts of a range that are at least `gap` below or above a value; its far end, if there are none."""
    low, high = allowed
    parts = ((low, min(high, value - gap)), (max(low, value + gap), high))
    kept = tuple((start, end) for start, end in parts if start <= end)
    return kept or ((high, high) if high - value > value - low else (low, low),)


def _in_bands(bands: tuple[Range, ...], share: float) -> float:
    """Return the point that lies at `share` (0 to 1) of the bands' joint length."""
    rest = share * sum(high - low for low, high in bands)
    for low, high in bands:
        if rest <= high - low:
            return low + rest
        rest -= high - low
    return bands[-1][1]


def _draw_light(config: VisualConfig, side: str, rng: np.random.Generator) -> Light:
    if not config.lights:
        return Light(**{**asdict(NOMINAL_LIGHT), "shadows": config.shadows})
    azimuth = np.radians(_in_bands(LIGHT_AZIMUTHS_DEG[side], rng.uniform()))
    elevation = np.radians(rng.uniform(*config.light_elevation_deg))
    tint = rng.uniform(-config.light_tint, config.light_tint, 3)
    level = np.cos(elevation)
    return Light(
        direction=(float(level * np.cos(azimuth)), float(level * np.sin(azimuth)), float(np.sin(elevation))),
        colour=_vector(1.0 + tint),
        ambient=float(rng.uniform(*config.light_ambient)),
        diffuse=float(rng.uniform(*config.light_diffuse)),
        specular=float(rng.uniform(*config.light_specular)),
        shadows=config.shadows,
    )


def _draw_camera(config: VisualConfig, side: str, seed: int, view: int, nominal: CameraPose) -> CameraPose:
    eye, aim = np.array(nominal.eye), np.array(nominal.aim)
    angle = nominal.field_of_view_deg
    if config.camera_position:
        radii = _shell(side, config.camera_position_m, config.held_out_camera_position_m)
        eye += _offset_in_shell(generator(seed, "camera_position", view), *radii)
    if config.camera_aim:
        radii = _shell(side, config.camera_aim_m, config.held_out_camera_aim_m)
        aim += _offset_in_shell(generator(seed, "camera_aim", view), *radii)
    if config.camera_field_of_view:
        widest = config.camera_field_of_view_deg
        angle += float(generator(seed, "camera_field_of_view", view).uniform(-widest, widest))
    return CameraPose(_vector(eye), _vector(aim), angle)


def _shell(side: str, inner: float, outer: float) -> Range:
    return (0.0, inner) if side == "train" else (inner, outer)


def _offset_in_shell(rng: np.random.Generator, inner: float, outer: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return an offset drawn evenly from the space between two balls (metres, [3])."""
    direction = rng.standard_normal(3)
    radius = np.cbrt(rng.uniform(inner**3, outer**3))
    return np.asarray(radius * direction / np.linalg.norm(direction))


def _draw_sensor(config: VisualConfig, side: str, seed: int, view: int) -> Sensor:
    drawn: dict[str, Any] = {}
    factor = config.held_out_sensor_factor if side == "held_out" else None
    if config.noise:
        drawn["noise_levels"] = _draw_size(generator(seed, "noise", view), config.noise_levels, factor)
    if config.blur:
        drawn["blur_px"] = _draw_size(generator(seed, "blur", view), config.blur_px, factor)
    if config.colour_shift:
        rng = generator(seed, "colour_shift", view)
        drawn["gain"] = _vector(1.0 + _draw_changes(rng, config.colour_gain, factor))
        drawn["offset_levels"] = _vector(_draw_changes(rng, config.colour_offset_levels, factor))
    return Sensor(**drawn)


def _draw_size(rng: np.random.Generator, allowed: Range, factor: float | None) -> float:
    """Return a size from a range or, with a factor, from where the range ends to so many times that."""
    low, high = allowed if factor is None else (allowed[1], factor * allowed[1])
    return float(rng.uniform(low, high))


def _draw_changes(
    rng: np.random.Generator, largest: float, factor: float | None
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return a change per colour channel [3], at most `largest` or, with a factor, from there to so many times that."""
    changes = rng.uniform(-largest, largest, 3)
    return changes if factor is None else np.copysign(largest, changes) + (factor - 1.0) * changes


def _vector(values: np.ndarray[Any, np.dtype[np.float64]]) -> Vector:
    x, y, z = (float(value) for value in values)
    return (x, y, z)
