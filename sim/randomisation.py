"""What is drawn per episode beside what its camera sees: dynamics, timing, errors of the state; and all of it together.

Every draw comes from generators seeded by the episode's seed and the name of what is drawn, so that switching one
factor off, or holding it out, changes no other. What a domain holds out is said in `sim.domains`.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from sim.config import DynamicsConfig, SensingConfig, TimingConfig
from sim.domains import held_out_groups
from sim.seeds import generator
from sim.visual_world import VisualDraw

BODIES = ("gripper", "cube", "goal")
# Where the gripper was told to go is misjudged as the gripper is: how far it has still to go is known.
_MISJUDGED_AS = {"target": "gripper"}


@dataclass(frozen=True)
class DynamicsDraw:
    """What arm and bodies are like: see `sim.actuator.ActuatorLimits`, and factors of nominal masses and frictions."""

    lag_s: float = 0.06
    speed_share: float = 1.0
    acceleration_share: float = 1.0
    cube_mass_factor: float = 1.0
    cube_friction_factor: float = 1.0
    table_friction_factor: float = 1.0
    finger_friction_factor: float = 1.0


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
            for thing, sign in ((_MISJUDGED_AS.get(body, body), 1.0), (origin, -1.0))
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
        drawn = {name: asdict(getattr(self, name)) for name in ("dynamics", "timing", "sensing")}
        return _plain({"visual": [dict(view.factors) for view in self.visual], **drawn})  # type: ignore[no-any-return]


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(entry) for entry in value]
    return round(value, 6) if isinstance(value, float) else value


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
    for entry in fields(DynamicsDraw):
        switch = entry.name.rpartition("_")[0]
        if config.enabled and getattr(config, switch):
            low, high = getattr(config, entry.name)
            # Evenly in the logarithm: half as heavy is as likely as twice as heavy.
            drawn[entry.name] = float(low * (high / low) ** generator(seed, switch).uniform())
    return DynamicsDraw(**drawn)


def draw_timing(config: TimingConfig, seed: int, domain: str = "train", *, longest_s: float = math.inf) -> TimingDraw:
    """Draw the delays of an episode; held out by name they go beyond training's, up to `longest_s` (seconds)."""
    drawn = {}
    held_out = "delay" in held_out_groups(domain)
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
