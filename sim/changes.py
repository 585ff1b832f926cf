"""What may be different in a room, one thing at a time: each is a domain, "alone:NAME", see `sim.domains`.

The list is of what students failed at, and of what else a room, a lamp, a camera or a robot may be. Some lie within
what training draws, some beyond. Four show textures of the held-out domain ("wood", "dark_wood", "brick",
"photograph"): whoever widens training by them has chosen by that domain, and then the lab alone is left as a test.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Change:
    """One change.

    Attributes:
        says: What is different, in words.
        group: Which of `sim.domains.GROUPS` it belongs to.
        factors: Values of factors (`sim.factors`).
    """

    says: str
    group: str
    factors: dict[str, Any] = field(default_factory=dict)


def _table(says: str, texture: str, hue_deg: float = 0.0, saturation: float = 0.0, value: float = 1.0) -> Change:
    surface = {"texture": texture, "scale": 1.0, "turn_deg": 0.0}
    colour = {"hue_deg": hue_deg, "saturation": saturation, "value": value}
    return Change(says, "textures", {f"table.{name}": part for name, part in {**surface, **colour}.items()})


_LAMP = {"light.azimuth_deg": 20.0, "light.elevation_deg": 45.0, "light.shadows": 1.0}

CHANGES: dict[str, Change] = {
    "wood": _table("a table of light brown wood", "wood_birch"),
    "dark_wood": _table("a table of dark red wood", "wood_cherry", value=0.8),
    "brick": _table("a table of bricks", "photograph_brick"),
    "photograph": _table("a table with a photograph on it", "photograph_coffee"),
    "white_table": _table("a white table", "plain", value=0.95),
    "black_table": _table("a black table", "plain", value=0.08),
    "magenta_table": _table("a magenta table", "plain", 300.0, 0.7, 0.8),
    "hard_shadow": Change(
        "one strong lamp with hard shadows",
        "light",
        {**_LAMP, "light.spread": 0.0, "light.diffuse": 0.65, "light.ambient": 0.35, "second.strength": 0.0},
    ),
    "soft_shadow": Change("a wide lamp with soft shadows", "light", {**_LAMP, "light.spread": 0.3}),
    "warm_lamp": Change("a lamp as warm as a candle", "light", {"light.temperature_k": 2200.0}),
    "warm_balance": Change(
        "white balance: red x 1.25, blue x 0.75", "noise", {"sensor.red_gain": 1.25, "sensor.blue_gain": 0.75}
    ),
    "cold_balance": Change(
        "white balance: red x 0.75, blue x 1.25", "noise", {"sensor.red_gain": 0.75, "sensor.blue_gain": 1.25}
    ),
    "high_gamma": Change("gamma 1.5", "noise", {"sensor.gamma": 1.5}),
    "low_gamma": Change("gamma 0.67", "noise", {"sensor.gamma": 0.67}),
    "noisy": Change("noise of 12 levels", "noise", {"sensor.noise_levels": 12.0}),
    "blurred": Change("out of focus by 1.2 pixels", "noise", {"sensor.blur_px": 1.2}),
    "jpeg": Change("compressed as JPEG of quality 20", "noise", {"sensor.jpeg_quality": 20.0}),
    "mug_before": Change("a mug before the workspace", "things", {"things.before": "mug"}),
    "many_things": Change("six things about", "things", {"things.count": 6.0}),
    "real_robot": Change(
        "the real robot's materials",
        "textures",
        {"robot.saturation": 0.0, "robot.value": 1.0, "robot.gloss": 0.6, "light.specular": 0.3},
    ),
    "roll": Change("a camera turned by 4 degrees", "camera", {"camera.roll_deg": 4.0}),
}
