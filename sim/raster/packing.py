"""From a `Scenery` to the arrays that never change."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.raster.arrays import CASTS, FRAME, LAST_TRIANGLE, LAST_VERTEX, TWO_SIDED, Floats, Geometry
from sim.raster.blank import blank_geometry
from sim.scenery import Part, Picture, Scenery

# Floats round, and a ball must not be smaller than what is in it.
_SPHERE_MARGIN_M = 1e-4


@dataclass(frozen=True)
class Packed:
    """A scenery as arrays, and where its names went.

    Attributes:
        geometry: The arrays; parts of moving items come first.
        moving_parts: How many those are.
        slots: Row of each material slot in `Paint.colours`.
        frames: Row of each item in `World.poses`, which is its index in the scenery.
        textures: Where each texture begins in the texels, and its width.
    """

    geometry: Geometry
    moving_parts: int
    slots: dict[str, int]
    frames: dict[str, int]
    textures: dict[str, tuple[int, int]]


def pack(scenery: Scenery) -> Packed:
    """Lay out a scenery."""
    frames = {item.name: index for index, item in enumerate(scenery.items)}
    slots = {slot: index for index, slot in enumerate(scenery.slots)}
    ordered = sorted(scenery.items, key=lambda item: item.name not in scenery.moving)
    parts = [(item, part) for item in ordered for part in item.parts]
    pyramids = {name: pyramid_of(picture) for name, picture in scenery.textures.items()}
    starts = np.cumsum([0, *(len(pyramid) for pyramid in pyramids.values())]).tolist()
    geometry = blank_geometry(
        vertices=sum(len(part.mesh.vertices) for _, part in parts),
        triangles=sum(len(part.mesh.triangles) for _, part in parts),
        parts=len(parts),
        texels=starts[-1],
    )
    vertex = triangle = 0
    for row, (item, part) in enumerate(parts):
        entry = geometry.parts[row]
        entry[FRAME], entry[CASTS], entry[TWO_SIDED] = frames[item.name], item.casts_shadow, part.two_sided
        _copy(geometry, row, part, slots[part.slot], vertex, triangle)
        vertex, triangle = int(entry[LAST_VERTEX]), int(entry[LAST_TRIANGLE])
    for name, start in zip(pyramids, starts[:-1], strict=True):
        geometry.texels[start : start + len(pyramids[name])] = pyramids[name]
    return Packed(
        geometry,
        moving_parts=sum(item.name in scenery.moving for item, _ in parts),
        slots=slots,
        frames=frames,
        textures={
            name: (start, len(scenery.textures[name])) for name, start in zip(pyramids, starts[:-1], strict=True)
        },
    )


def _copy(geometry: Geometry, row: int, part: Part, slot: int, vertex: int, triangle: int) -> None:
    mesh, entry = part.mesh, geometry.parts[row]
    last_vertex, last_triangle = vertex + len(mesh.vertices), triangle + len(mesh.triangles)
    entry[:4] = triangle, last_triangle, vertex, last_vertex
    geometry.vertices[vertex:last_vertex] = mesh.vertices
    geometry.normals[vertex:last_vertex] = mesh.normals
    geometry.uv[vertex:last_vertex] = mesh.texture_coordinates
    geometry.triangles[triangle:last_triangle] = mesh.triangles + vertex
    geometry.material_of[triangle:last_triangle] = slot
    geometry.part_of[triangle:last_triangle] = row
    middle = (mesh.vertices.min(axis=0) + mesh.vertices.max(axis=0)) / 2
    geometry.spheres[row, :3] = middle
    geometry.spheres[row, 3] = np.linalg.norm(mesh.vertices - middle, axis=1).max() + _SPHERE_MARGIN_M


def pyramid_of(picture: Picture) -> Floats:
    """Return a picture [S, S, 3] and its halvings down to one texel as linear light, one after another, [N, 3].

    Each has half the width and the mean light of the one before. The first row of texels is the picture's last: texture
    coordinates run upwards.
    """
    level = linear(picture[::-1].astype(np.float32) / 255)
    levels = [level.reshape(-1, 3)]
    while len(level) > 1:
        level = level.reshape(len(level) // 2, 2, -1, 2, 3).mean((1, 3))
        levels.append(level.reshape(-1, 3))
    return np.concatenate(levels)


def linear(colour: NDArray[np.floating] | tuple[float, ...]) -> Floats:
    """Turn colours as a screen shows them (0 to 1) into linear light; the inverse is in `shading`."""
    return np.square(np.asarray(colour, np.float32))
