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
    BOARD_DEPTH,
    BOARD_ROWS,
    BOARD_SIZE,
    BOARD_X,
    BOARD_Y,
    DEPTHS_PER_M,
    GROUND,
    HALF_WAY,
    KEY,
    OUTWARDS,
    PENUMBRA_ENTRIES,
    REACH_M,
    REACH_TEXELS,
    SECOND,
    SECOND_TOWARDS,
    SHADOW_PX,
    SHADOWS,
    SKY,
    TOWARDS,
    TOWARDS_LIGHT,
    Floats,
    Paint,
)
from sim.raster.blank import blank_paint
from sim.raster.packing import Packed, linear
from sim.scenery import Board, Camera, CameraPose, Light, Look, Material, Pose, Scenery

# How far outwards from its surface, and towards the light, a point is when it asks for its shadow: what casts shadows
# is drawn from coarser meshes.
_OUTWARDS_M, _TOWARDS_M = 0.003, 0.002


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


def shadow_rows(direction: Vector, middle: Vector, radius_m: float) -> Floats:
    """Return what leads from the world to column, row and depth in the shadow map, [3, 4]."""
    towards = unit(direction)
    right = unit(np.cross((0.1, 1.0, 0.02), towards))
    axes = np.array([right, np.cross(towards, right), towards])
    scale = SHADOW_PX / 2 / radius_m
    axes *= np.array([[scale], [scale], [DEPTHS_PER_M]])
    shift = np.array([SHADOW_PX / 2, SHADOW_PX / 2, 0.0]) - axes @ np.array(middle)
    return np.ascontiguousarray(np.column_stack([axes, shift]), np.float32)


def board_rows(board: Board | None, pose: Pose, rows: Floats) -> Floats:
    """Return how shading asks what a board keeps from the light, see `arrays`.

    Args:
        board: None: nothing.
        pose: Of its item; boards are not turned.
        rows: From `shadow_rows`.
    """
    found = np.zeros((BOARD_ROWS, 3), np.float32)
    if board is None:
        return found
    back = np.linalg.inv(rows[:, :3].astype(np.float64))  # from the map to the world
    middle = np.add(pose.position, board.middle)
    # Of the points of the world that lie at one place (u, v) of the map, the one at the board's height.
    towards = back[:, 2] / back[2, 2]
    flat = back[:, :2] - np.outer(towards, back[2, :2])
    begin = -back @ rows[:, 3]
    found[BOARD_X, :2], found[BOARD_Y, :2] = flat[0], flat[1]
    start = begin + towards * (middle[2] - begin[2])
    found[BOARD_X, 2], found[BOARD_Y, 2] = start[0] - middle[0], start[1] - middle[1]
    found[BOARD_DEPTH, :2] = -back[2, :2] / back[2, 2]
    found[BOARD_DEPTH, 2] = (middle[2] - begin[2]) / back[2, 2]
    found[BOARD_SIZE] = *board.half_extents, board.is_round
    return found


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
    """Return how shading asks the shadow map, see `arrays`."""
    entries = np.zeros(PENUMBRA_ENTRIES, np.float32)
    if light.shadows and light.diffuse > 0:
        entries[SHADOWS] = 1.0
        entries[REACH_M] = light.spread / DEPTHS_PER_M
        entries[REACH_TEXELS] = entries[REACH_M] * SHADOW_PX / 2 / radius_m
        entries[OUTWARDS] = _OUTWARDS_M
        entries[TOWARDS_LIGHT] = _TOWARDS_M * DEPTHS_PER_M
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
    paint.shadow[:] = shadow_rows(look.light.direction, scenery.middle, scenery.radius_m)
    paint.penumbra[:] = penumbra(look.light, scenery.radius_m)
    for item in scenery.items:
        if item.board is not None and item.name in look.placed:
            paint.board[:] = board_rows(item.board, look.placed[item.name], paint.shadow)
    paint.backdrop[:] = linear(look.backdrop)
    return paint
