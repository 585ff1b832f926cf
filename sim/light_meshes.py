"""Meshes light enough to draw in a fraction of a millisecond that keep a thing's silhouette, its parts and its edges.

The Panda's stock visual meshes have 100,000 triangles, where an image of 64 x 64 pixels shows 4,096 pixels. How far
each may be decimated was chosen by silhouette: `tests/sim/test_light_meshes.py` holds light ones against stock ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import fast_simplification
import numpy as np
from scipy.spatial import ConvexHull

from sim.engine import Vector
from sim.meshes import Floats, Indices, Mesh, join

# Edges sharper than this stay edges; over others the shading is smooth.
_CREASE_DEG = 40.0
# Vertices nearer than this are one (metres, decimal places).
_WELD_DECIMALS = 5
# How coarse fast_simplification becomes. At 7, its default, it leaves a half of some silhouettes; lower ones stop
# earlier, and then there are more triangles than were asked for.
_AGGRESSION = 3
# A second time over what is left, which then comes down to any number.
_AGGRESSION_ON_LIGHT = 4
# A group so small stays whole, and none becomes smaller than this.
_SMALL_GROUP = 60
_FEWEST_TRIANGLES = 24


@dataclass(frozen=True)
class Group:
    """Triangles of one material.

    Attributes:
        colour: Name of its colour.
        vertices: Metres, [V, 3].
        triangles: [F, 3].
    """

    colour: str
    vertices: Floats
    triangles: Indices


def read_groups(path: Path, palette: Mapping[str, Vector]) -> list[Group]:
    """Read an OBJ file and its materials.

    Args:
        path: The OBJ file; its materials are in the MTL file of the same name. Without one, all is the first colour.
        palette: Names of colours; a material is named for the nearest.
    """
    materials = path.with_suffix(".mtl")
    diffuse = diffuse_colours(materials) if materials.exists() else {}
    vertices: list[list[float]] = []
    faces: dict[str, list[list[int]]] = {}
    current = ""
    for line in path.read_text(errors="replace").splitlines():
        word, *rest = line.split() or [""]
        if word == "v":
            vertices.append([float(number) for number in rest[:3]])
        elif word == "usemtl":
            current = rest[0]
        elif word == "f":
            corners = [int(corner.split("/")[0]) - 1 for corner in rest]
            fan = [[corners[0], corners[k], corners[k + 1]] for k in range(1, len(corners) - 1)]
            faces.setdefault(current, []).extend(fan)
    first = next(iter(palette))
    return [
        Group(
            nearest(diffuse[name], palette) if name in diffuse else first,
            *_welded(np.array(vertices), np.array(group)),
        )
        for name, group in faces.items()
    ]


def diffuse_colours(path: Path) -> dict[str, Vector]:
    """Return the colours of the materials in an MTL file by name."""
    colours, name = {}, ""
    for line in path.read_text(errors="replace").splitlines():
        word, *rest = line.split() or [""]
        if word == "newmtl":
            name = rest[0]
        elif word == "Kd":
            red, green, blue = (float(number) for number in rest[:3])
            colours[name] = (red, green, blue)
    return colours


def nearest(colour: Vector, palette: Mapping[str, Vector]) -> str:
    """Return the name of the colour in a palette that is nearest."""
    return min(palette, key=lambda name: float(np.linalg.norm(np.subtract(palette[name], colour))))


def lighten(groups: Sequence[Group], most_triangles: int) -> dict[str, Mesh]:
    """Reduce the groups of one thing to about `most_triangles` in all, each to its share, with edges where it had some.

    Small groups are left as they are: they are the plates and rims that a silhouette shows. Those of one colour become
    one mesh.
    """
    total = sum(len(group.triangles) for group in groups)
    light: dict[str, list[Mesh]] = {}
    for group in groups:
        count = len(group.triangles)
        most = count if count <= _SMALL_GROUP else max(_FEWEST_TRIANGLES, round(most_triangles * count / total))
        light.setdefault(group.colour, []).append(creased(*_reduced(group.vertices, group.triangles, most)))
    return {colour: join(meshes) for colour, meshes in light.items()}


def caster(groups: Sequence[Group], most_triangles: int, *, convex: bool = False) -> Mesh:
    """Return one mesh of about `most_triangles` that casts the shadow of all groups.

    Args:
        groups: What casts it.
        most_triangles: How many there may be.
        convex: Take the convex hull: what is of many shells would lose some of them.
    """
    offsets = np.cumsum([0, *(len(group.vertices) for group in groups)])
    vertices = np.concatenate([group.vertices for group in groups])
    faces = np.concatenate([group.triangles + offset for group, offset in zip(groups, offsets, strict=False)])
    light = _reduced(*(_hull(vertices) if convex else _welded(vertices, faces)), most_triangles)
    return creased(*_reduced(*_welded(*light), most_triangles, _AGGRESSION_ON_LIGHT))


def _hull(vertices: Floats) -> tuple[Floats, Indices]:
    hull = ConvexHull(vertices)
    faces = hull.simplices.astype(np.int64)
    first, second, third = (vertices[faces[:, k]] for k in range(3))
    inwards = (np.cross(second - first, third - first) * hull.equations[:, :3]).sum(axis=1) < 0
    faces[inwards] = faces[inwards][:, ::-1]
    return _welded(vertices, faces)


def _welded(vertices: Floats, faces: Indices) -> tuple[Floats, Indices]:
    used, index = np.unique(faces, return_inverse=True)
    points, merged = np.unique(vertices[used].round(_WELD_DECIMALS), axis=0, return_inverse=True)
    corners = merged.reshape(-1)[index.reshape(faces.shape)]
    distinct = (corners != np.roll(corners, 1, axis=1)).all(axis=1)
    return points, corners[distinct]


def _reduced(vertices: Floats, faces: Indices, most: int, aggression: int = _AGGRESSION) -> tuple[Floats, Indices]:
    if len(faces) <= most:
        return vertices, faces
    points, corners = fast_simplification.simplify(
        vertices.astype(np.float32), faces.astype(np.int32), target_count=most, agg=aggression
    )
    return points.astype(np.float64), corners.astype(np.int64)


def creased(vertices: Floats, triangles: Indices) -> Mesh:
    """Return a mesh whose normals are smooth but over sharp edges, where vertices are doubled.

    Texture coordinates go around the z axis, for it is a robot's link or a turned thing: seams do not matter here.
    """
    first, second, third = (vertices[triangles[:, k]] for k in range(3))
    areas = np.cross(second - first, third - first)
    sizes = np.linalg.norm(areas, axis=1)
    triangles, areas, sizes = triangles[sizes > 1e-12], areas[sizes > 1e-12], sizes[sizes > 1e-12]
    directions = areas / sizes[:, None]
    # Every pair of corners that share a vertex: does the one's triangle bend the other's normal?
    corners = triangles.ravel()
    order = np.argsort(corners, kind="stable")
    bounds = np.searchsorted(corners[order], np.arange(len(vertices) + 1))
    normals = np.zeros((len(corners), 3))
    least = np.cos(np.radians(_CREASE_DEG))
    for start, end in zip(bounds[:-1], bounds[1:], strict=True):
        around = order[start:end]
        faces = around // 3
        near = directions[faces] @ directions[faces].T > least
        normals[around] = near @ areas[faces]
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12
    keys = np.column_stack([corners, normals.round(2)])
    _, chosen, index = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    points = vertices[corners[chosen]]
    around_z = np.arctan2(points[:, 1], points[:, 0]) / (2 * np.pi)
    coordinates = np.stack([around_z, 4.0 * points[:, 2]], axis=1)
    return Mesh(points, normals[chosen], coordinates, index.reshape(-1, 3).astype(np.int64))
