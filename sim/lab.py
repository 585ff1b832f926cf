"""The lab: a few ordinary rooms, always the same, that nothing is chosen by and no training is given.

Each was written down in words before it was drawn (docs/lab.md). Its woods, cloths and things are in no other domain.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Room:
    """A room.

    Attributes:
        says: What it is, in a sentence.
        factors: Values of factors (`sim.factors`); the others are nominal.
    """

    says: str
    factors: dict[str, Any] = field(default_factory=dict)


def _surface(name: str, texture: str, hsv: tuple[float, float, float] = (0.0, 0.0, 1.0), scale: float = 1.0) -> Any:
    colour = dict(zip(("hue_deg", "saturation", "value"), hsv, strict=True))
    return {f"{name}.{part}": value for part, value in {"texture": texture, "scale": scale, **colour}.items()}


def _room(
    shape: str, depth_m: float, back_m: float, side_m: float, *, back: str = "none", side: str = "none", layout: int = 0
) -> Any:
    return {
        "table.shape": shape, "room.floor_depth_m": depth_m, "room.wall_back_m": back_m, "room.wall_side_m": side_m,
        "room.back": back, "room.side": side, "room.layout": float(layout),
        "robot.saturation": 0.0, "robot.value": 0.97, "robot.gloss": 0.5,
    }  # fmt: skip


def _lamp(
    azimuth_deg: float, elevation_deg: float, temperature_k: float, *, ambient: float, diffuse: float, spread: float
) -> Any:
    return {
        "light.azimuth_deg": azimuth_deg, "light.elevation_deg": elevation_deg, "light.temperature_k": temperature_k,
        "light.ambient": ambient, "light.diffuse": diffuse, "light.spread": spread, "light.shadows": 1.0,
        "light.specular": 0.25,
    }  # fmt: skip


def _second(azimuth_deg: float, elevation_deg: float, temperature_k: float, strength: float) -> Any:
    return {
        "second.azimuth_deg": azimuth_deg, "second.elevation_deg": elevation_deg,
        "second.temperature_k": temperature_k, "second.strength": strength,
    }  # fmt: skip


def _things(count: int, layout: int) -> Any:
    return {"things.of": "lab", "things.count": float(count), "things.layout": float(layout)}


def _camera(
    position_m: tuple[float, float, float], aim_m: tuple[float, float, float], roll_deg: float, wider_deg: float = 0.0
) -> Any:
    return {
        "camera.position_m": position_m, "camera.aim_m": aim_m, "camera.roll_deg": roll_deg,
        "camera.field_of_view_deg": wider_deg,
    }  # fmt: skip


def _sensor(noise_levels: float, jpeg_quality: float = 85.0, **more: float) -> Any:
    told = {"noise_levels": noise_levels, "jpeg_quality": jpeg_quality, "blur_px": 0.3, "vignette": 0.12, **more}
    return {f"sensor.{name}": value for name, value in told.items()}


ROOMS: dict[str, Room] = {
    "kitchen_noon": Room(
        "a kitchen table of light maple at noon: a high white sun with crisp shadows, cream walls, terracotta tiles",
        {
            **_room("desk", 0.74, 1.4, 1.6, back="door", side="window", layout=11),
            **_surface("table", "wood_maple", (0.0, 0.0, 1.0)), **_surface("floor", "print_terracotta"),
            **_surface("wall", "plain", (45.0, 0.14, 0.92)),
            **_lamp(125.0, 66.0, 5600.0, ambient=0.42, diffuse=0.58, spread=0.01),
            **_things(2, 1449), **_camera((0.03, -0.02, 0.02), (0.006, 0.0, -0.004), 0.7), **_sensor(1.5),
        },
    ),
    "desk_lamp": Room(
        "a grey desk in the evening under one warm lamp low on the left: long soft shadows, hardly any other light",
        {
            **_room("desk", 0.72, 1.1, 1.2, back="shelf", side="none", layout=5),
            **_surface("table", "plain", (220.0, 0.05, 0.5)), **_surface("floor", "rib_1", (230.0, 0.2, 0.25)),
            **_surface("wall", "plain", (40.0, 0.1, 0.75)),
            **_lamp(80.0, 30.0, 2700.0, ambient=0.24, diffuse=0.72, spread=0.08),
            **_things(2, 693), **_camera((-0.03, 0.02, -0.02), (0.0, 0.006, 0.0), -0.8),
            **_sensor(4.0, least_brightness=0.32),
        },
    ),
    "workshop": Room(
        "a workbench of larch darkened by oil, cold light from a roof window, a grey floor, tools about",
        {
            **_room("bench", 0.86, 1.9, 2.2, back="cupboard", side="none", layout=8),
            **_surface("table", "wood_larch", (0.0, 0.0, 0.8)), **_surface("floor", "stone_screed"),
            **_surface("wall", "plain", (110.0, 0.08, 0.66)),
            **_lamp(310.0, 58.0, 7500.0, ambient=0.5, diffuse=0.42, spread=0.15),
            **_things(4, 99), **_camera((0.0, 0.04, 0.02), (-0.006, 0.004, 0.0), 1.2), **_sensor(2.5),
        },
    ),
    "white_bench": Room(
        "a white laboratory bench under two rows of fluorescent tubes: bright, a little greenish, faint soft shadows",
        {
            **_room("bench", 0.88, 1.3, 1.5, back="cupboard", side="sideboard", layout=30),
            **_surface("table", "plain", (0.0, 0.0, 0.93)), **_surface("floor", "plain", (210.0, 0.04, 0.55)),
            **_surface("wall", "plain", (205.0, 0.16, 0.86)),
            **_lamp(10.0, 72.0, 4500.0, ambient=0.62, diffuse=0.3, spread=0.3), **_second(190.0, 68.0, 4500.0, 0.25),
            **_things(3, 1330), **_camera((-0.02, -0.03, 0.03), (0.0, -0.006, 0.004), 0.0),
            **_sensor(1.5, red_gain=0.95, blue_gain=0.95),
        },
    ),
    "office_overcast": Room(
        "a desk of ash beside a large window on a grey day: wide bluish light from one side and no hard shadow",
        {
            **_room("desk", 0.73, 1.5, 1.3, back="shelf", side="radiator", layout=17),
            **_surface("table", "wood_ash"), **_surface("floor", "rib_1", (215.0, 0.25, 0.45)),
            **_surface("wall", "plain", (60.0, 0.03, 0.9)),
            **_lamp(195.0, 32.0, 7500.0, ambient=0.6, diffuse=0.34, spread=0.45),
            **_things(2, 547), **_camera((0.02, 0.03, -0.03), (0.004, 0.0, 0.006), -1.0), **_sensor(2.0),
        },
    ),
    "living_room": Room(
        "a dark round table of wenge at night: a warm ceiling lamp right above, red-brown walls, a small second lamp",
        {
            **_room("round", 0.74, 2.2, 1.8, back="door", side="sideboard", layout=2),
            **_surface("table", "wood_wenge"), **_surface("floor", "wood_bamboo"),
            **_surface("wall", "plain", (14.0, 0.45, 0.5)),
            **_lamp(45.0, 84.0, 2700.0, ambient=0.34, diffuse=0.6, spread=0.08), **_second(250.0, 30.0, 2300.0, 0.12),
            **_things(1, 38), **_camera((0.0, -0.04, 0.0), (0.004, 0.004, 0.0), 0.4),
            **_sensor(5.0, least_brightness=0.3),
        },
    ),
    "breakfast": Room(
        "a table with a blue-and-white checked cloth in the morning: a low sun with shadows across the table",
        {
            **_room("round", 0.74, 1.6, 1.4, back="cupboard", side="window", layout=23),
            **_surface("table", "print_gingham", scale=0.5), **_surface("floor", "wood_bamboo", (0.0, 0.0, 0.85)),
            **_surface("wall", "plain", (150.0, 0.08, 0.9)),
            **_lamp(170.0, 26.0, 4300.0, ambient=0.45, diffuse=0.55, spread=0.02),
            **_things(2, 1790), **_camera((-0.03, 0.0, 0.03), (-0.004, 0.0, -0.004), 1.5), **_sensor(2.0, 60.0),
        },
    ),
    "packing": Room(
        "a packing table covered with brown cardboard in a hall: hard white light from one high lamp, a dark picture",
        {
            **_room("desk", 0.92, 3.2, 3.0, back="none", side="none", layout=0),
            **_surface("table", "plain", (30.0, 0.42, 0.7)), **_surface("floor", "stone_screed", (0.0, 0.0, 0.8)),
            **_surface("wall", "plain", (200.0, 0.05, 0.6)),
            **_lamp(115.0, 76.0, 5500.0, ambient=0.36, diffuse=0.64, spread=0.02),
            **_things(5, 255), **_camera((0.03, 0.03, 0.0), (0.0, -0.004, 0.004), -1.6),
            **_sensor(6.0, 70.0, exposure_stops=-0.5),
        },
    ),
}  # fmt: skip
