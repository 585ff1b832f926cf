"""From a `Scenery` to the arrays that never change."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.meshes import Mesh
from sim.raster.arrays import FRAME, LAST_TRIANGLE, LAST_VERTEX, TWO_SIDED, Casters, Floats, Geometry
from sim.raster.blank import blank_casters, blank_geometry
from sim.scenery import Item, Picture, Scenery

# Floats round, and a ball must not be smaller than what is in it.
_SPHERE_MARGIN_M = 1e-4
# Corners whose normals differ less than this (cosine) are lit once for the whole triangle.
_SAME_NORMAL = 0.9999


@dataclass(frozen=True)
class Packed:
    """A scenery as arrays, and where its names went.

    Attributes:
        geometry: The arrays; parts of moving items come first.
        casters: The same of what casts shadows.
        moving_parts: How many parts of the geometry move.
        moving_casters: How many parts of the casters do.
        slots: Row of each material slot in `Paint.colours`.
        frames: Row of each item in `World.poses`, which is its index in the scenery.
        textures: Where each texture begins in the texels, and its width.
    """

    geometry: Geometry
    casters: Casters
    moving_parts: int
    moving_casters: int
    slots: dict[str, int]
    frames: dict[str, int]
    textures: dict[str, tuple[int, int]]


def pack(scenery: Scenery) -> Packed:
    """Lay out a scenery."""
    frames = {item.name: index for index, item in enumerate(scenery.items)}
    slots = {slot: index for index, slot in enumerate(scenery.slots)}
    ordered = sorted(scenery.items, key=lambda item: item.name not in scenery.moving)
    parts = [(item, part) for item in ordered for part in item.parts]
    shapes = [(item, mesh, two_sided) for item in ordered for mesh, two_sided in _casting(item)]
    pyramids = {name: pyramid_of(picture) for name, picture in scenery.textures.items()}
    starts = np.cumsum([0, *(len(pyramid) for pyramid in pyramids.values())]).tolist()
    geometry = blank_geometry(*_sizes([part.mesh for _, part in parts]), len(parts), texels=starts[-1])
    casters = blank_casters(*_sizes([mesh for _, mesh, _ in shapes]), len(shapes))
    for row, (item, part) in enumerate(parts):
        _copy(geometry, row, part.mesh, frames[item.name], part.two_sided)
        _copy_surface(geometry, row, part.mesh, slots[part.slot])
    for row, (item, mesh, two_sided) in enumerate(shapes):
        _copy(casters, row, mesh, frames[item.name], two_sided)
    for name, start in zip(pyramids, starts[:-1], strict=True):
        geometry.texels[start : start + len(pyramids[name])] = pyramids[name]
    return Packed(
        geometry,
        casters,
        moving_parts=sum(item.name in scenery.moving for item, _ in parts),
        moving_casters=sum(item.name in scenery.moving for item, _, _ in shapes),
        slots=slots,
        frames=frames,
        textures={
            name: (start, len(scenery.textures[name])) for name, start in zip(pyramids, starts[:-1], strict=True)
        },
    )


def _casting(item: Item) -> list[tuple[Mesh, bool]]:
    """Return the meshes that cast an item's shadow, and whether each has two sides."""
    if not item.casts_shadow:
        return []
    return [(item.caster, False)] if item.caster else [(part.mesh, part.two_sided) for part in item.parts]


def _sizes(meshes: list[Mesh]) -> tuple[int, int]:
    return sum(len(mesh.vertices) for mesh in meshes), sum(len(mesh.triangles) for mesh in meshes)


def _copy(arrays: Geometry | Casters, row: int, mesh: Mesh, frame: int, two_sided: bool) -> None:
    """Copy a mesh to behind the ones of the rows before."""
    entry, before = arrays.parts[row], arrays.parts[row - 1]
    vertex, triangle = (int(before[LAST_VERTEX]), int(before[LAST_TRIANGLE])) if row else (0, 0)
    last_vertex, last_triangle = vertex + len(mesh.vertices), triangle + len(mesh.triangles)
    entry[:4] = triangle, last_triangle, vertex, last_vertex
    entry[FRAME], entry[TWO_SIDED] = frame, two_sided
    arrays.vertices[vertex:last_vertex] = mesh.vertices
    arrays.triangles[triangle:last_triangle] = mesh.triangles + vertex
    middle = (mesh.vertices.min(axis=0) + mesh.vertices.max(axis=0)) / 2
    arrays.spheres[row, :3] = middle
    arrays.spheres[row, 3] = np.linalg.norm(mesh.vertices - middle, axis=1).max() + _SPHERE_MARGIN_M


def _copy_surface(geometry: Geometry, row: int, mesh: Mesh, slot: int) -> None:
    triangle, last_triangle, vertex, last_vertex = geometry.parts[row, :4].tolist()
    geometry.normals[vertex:last_vertex] = mesh.normals
    geometry.uv[vertex:last_vertex] = mesh.texture_coordinates
    geometry.material_of[triangle:last_triangle] = slot
    geometry.part_of[triangle:last_triangle] = row
    first, second, third = (mesh.normals[mesh.triangles[:, corner]] for corner in range(3))
    alike = np.minimum((first * second).sum(axis=1), (first * third).sum(axis=1))
    geometry.even[triangle:last_triangle] = alike > _SAME_NORMAL


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
