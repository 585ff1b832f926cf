"""From a `Camera` and a `Look` to the small arrays that a picture is drawn with."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.engine import Vector
from sim.raster.arrays import (
    GROUND,
    HALF_WAY,
    KEY,
    OUTWARDS,
    SECOND,
    SECOND_TOWARDS,
    SKY,
    TEXELS,
    TOWARDS,
    TOWARDS_LIGHT,
    WIDTH,
    Floats,
    Paint,
)
from sim.raster.blank import blank_paint
from sim.raster.packing import Packed, linear
from sim.scenery import Camera, CameraPose, Light, Look, Material, Scenery

# Edges of shadow maps, texels: the softer a shadow, the coarser its map, so that few texels make its edge.
SHADOW_PX = (160, 128, 96, 64, 48)
# Texels that lie across the edge of a shadow, at most: with one more, four are looked up per axis (see `shading`).
_ACROSS = 3.0
# How far outwards from its surface a point is when it asks for its shadow: light meshes would shade themselves else.
_OUTWARDS_M = 0.004


def unit(vector: Sequence[float] | NDArray[Any]) -> NDArray[np.float64]:
    """Return a vector [3] scaled to length 1."""
    values = np.asarray(vector, np.float64)
    return np.asarray(values / np.linalg.norm(values))


@functools.lru_cache(maxsize=256)
def camera_rows(camera: Camera, samples: int) -> Floats:
    """Return what leads from the world to column and row, both times the distance, and to the distance, [3, 4].

    Args:
        camera: It may look in any direction but straight up or down.
        samples: Columns and rows per pixel.
    """
    pose, width, height = camera.pose, camera.width_px * samples, camera.height_px * samples
    forward = unit(np.subtract(pose.aim, pose.eye))
    right = unit(np.cross(forward, (0.0, 0.0, 1.0)))
    down = np.cross(forward, right)
    roll = math.radians(pose.roll_deg)
    right, down = math.cos(roll) * right + math.sin(roll) * down, math.cos(roll) * down - math.sin(roll) * right
    scale = height / 2 / math.tan(math.radians(pose.field_of_view_deg) / 2)
    across, along = pose.principal_point[0] * width, pose.principal_point[1] * height
    axes = np.array([scale * right + across * forward, scale * down + along * forward, forward])
    return np.ascontiguousarray(np.column_stack([axes, -axes @ np.array(pose.eye)]), np.float32)


def shadow_px(light: Light, radius_m: float) -> int:
    """Return the edge of the finest shadow map in which a light's edges are at most `_ACROSS` texels wide."""
    fitting = (edge for edge in SHADOW_PX if light.softness_m * edge <= _ACROSS * radius_m)
    return next(fitting, SHADOW_PX[-1])


def shadow_rows(direction: Vector, middle: Vector, radius_m: float, edge: int) -> Floats:
    """Return what leads from the world to column and row of the shadow map and to metres towards the light, [3, 4]."""
    towards = unit(direction)
    right = unit(np.cross((0.1, 1.0, 0.02), towards))
    axes = np.array([right, np.cross(towards, right), towards])
    axes[:2] *= edge / 2 / radius_m
    shift = np.array([edge / 2, edge / 2, 0.0]) - axes @ np.array(middle)
    return np.ascontiguousarray(np.column_stack([axes, shift]), np.float32)


def light_rows(light: Light, pose: CameraPose) -> Floats:
    """Return the lights of `shading.light_up`, [7, 3]; in sum they are what `Light` says a screen shows."""
    towards, towards_camera = unit(light.direction), unit(np.subtract(pose.eye, pose.aim))
    rows = np.zeros((7, 3))
    rows[TOWARDS], rows[HALF_WAY] = towards, unit(towards + towards_camera)
    even = light.ambient**2
    rows[KEY] = ((light.ambient + light.diffuse) ** 2 - even) * linear(light.colour)
    rows[SKY], rows[GROUND] = even * linear(light.sky), even * linear(light.ground)
    if light.second is not None:
        rows[SECOND_TOWARDS] = unit(light.second.direction)
        rows[SECOND] = ((light.ambient + light.second.strength) ** 2 - even) * linear(light.second.colour)
    return rows.astype(np.float32)


def penumbra(light: Light, radius_m: float) -> Floats:
    """Return how shading asks the shadow map, see `arrays`; an edge is never sharper than one texel of the map."""
    texel_m = 2 * radius_m / shadow_px(light, radius_m)
    reach = light.softness_m / texel_m
    entries = np.zeros(4, np.float32)
    if light.shadows and light.diffuse > 0:
        entries[WIDTH] = max(1.0, 2 * reach)
        entries[TEXELS] = math.ceil(entries[WIDTH]) + 1
        entries[OUTWARDS] = _OUTWARDS_M
        entries[TOWARDS_LIGHT] = texel_m * (1 + reach)
    return entries


def _mapping(material: Material) -> tuple[float, ...]:
    turn = math.radians(material.turn_deg)
    across, along = math.cos(turn) / material.scale, math.sin(turn) / material.scale
    return across, along, -along, across


def paint_of(look: Look, camera: Camera, scenery: Scenery, packed: Packed) -> Paint:
    """Return a look as arrays.

    Raises:
        ValueError: The look leaves a slot without material, or names a texture or an item that the scenery lacks.
    """
    scenery.check(look)
    paint = blank_paint(len(packed.slots))
    for slot, row in packed.slots.items():
        material = look.materials[slot]
        paint.colours[row, :3] = linear(material.colour)
        paint.colours[row, 3] = material.gloss * look.light.specular**2
        if material.texture is not None:
            paint.textures[row] = packed.textures[material.texture]
            paint.mapping[row] = _mapping(material)
    paint.lights[:] = light_rows(look.light, camera.pose)
    edge = shadow_px(look.light, scenery.radius_m)
    paint.shadow[:] = shadow_rows(look.light.direction, scenery.middle, scenery.radius_m, edge)
    paint.penumbra[:] = penumbra(look.light, scenery.radius_m)
    paint.backdrop[:] = linear(look.backdrop)
    return paint
