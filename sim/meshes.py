"""Triangle meshes: reading, decimating and writing OBJ files, and the plain shapes of the scene.

PyBullet's software renderer takes time per triangle, and the Panda's stock visual meshes have 100,000 of them where
an image of 64 x 64 pixels shows 4,096 pixels. So they are decimated once (see `sim.assets`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import fast_simplification
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Mesh:
    """Triangles with one normal and one texture coordinate per vertex.

    Attributes:
        vertices: Metres, [V, 3].
        normals: Unit length, [V, 3].
        texture_coordinates: [V, 2].
        triangles: Indices of vertices, counter-clockwise seen from outside, [F, 3].
    """

    vertices: Floats
    normals: Floats
    texture_coordinates: Floats
    triangles: Indices

    def write(self, path: Path) -> None:
        """Write the mesh as an OBJ file."""
        lines = [f"v {x:.5f} {y:.5f} {z:.5f}" for x, y, z in self.vertices]
        lines += [f"vt {u:.4f} {v:.4f}" for u, v in self.texture_coordinates]
        lines += [f"vn {x:.4f} {y:.4f} {z:.4f}" for x, y, z in self.normals]
        lines += ["f " + " ".join(f"{i}/{i}/{i}" for i in triangle) for triangle in self.triangles + 1]
        path.write_text("\n".join(lines) + "\n")


def read_obj(path: Path) -> tuple[Floats, Indices]:
    """Read vertices [V, 3] and triangles [F, 3] of an OBJ file; materials and normals are left out."""
    vertices: list[list[float]] = []
    triangles: list[list[int]] = []
    for line in path.read_text(errors="replace").splitlines():
        words = line.split()
        if not words:
            continue
        if words[0] == "v":
            vertices.append([float(word) for word in words[1:4]])
        elif words[0] == "f":
            corners = [int(word.split("/")[0]) - 1 for word in words[1:]]
            triangles += [[corners[0], corners[k], corners[k + 1]] for k in range(1, len(corners) - 1)]
    return np.array(vertices), np.array(triangles)


def decimate(vertices: Floats, triangles: Indices, most_triangles: int) -> Mesh:
    """Reduce a mesh to about `most_triangles` triangles with smooth normals.

    Texture coordinates go around the mesh's z axis, for it is a robot's link: seams do not matter at this size.
    """
    merged, index = np.unique(vertices.round(5), axis=0, return_inverse=True)
    faces = index.reshape(-1)[triangles]
    distinct = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 0] != faces[:, 2])
    faces = faces[distinct]
    if len(faces) > most_triangles:
        points, corners = fast_simplification.simplify(
            merged.astype(np.float32), faces.astype(np.int32), target_reduction=1 - most_triangles / len(faces)
        )
        merged, faces = points.astype(np.float64), corners.astype(np.int64)
    around = np.arctan2(merged[:, 1], merged[:, 0]) / (2 * np.pi)
    coordinates = np.stack([around, 4.0 * merged[:, 2]], axis=1)
    return Mesh(merged, smooth_normals(merged, faces), coordinates % 1.0, faces)


def smooth_normals(vertices: Floats, triangles: Indices) -> Floats:
    """Return vertex normals [V, 3]: the mean of the neighbouring triangles' normals, weighted by their areas."""
    first, second, third = (vertices[triangles[:, k]] for k in range(3))
    face_normals = np.cross(second - first, third - first)
    normals = np.zeros_like(vertices)
    for k in range(3):
        np.add.at(normals, triangles[:, k], face_normals)
    return np.asarray(normals / (np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12))


def grid(corner: Floats, side_u: Floats, side_v: Floats, cells: int, repeats: float) -> Mesh:
    """Return a flat rectangle that faces `side_u x side_v`.

    It has `cells` x `cells` squares: the renderer looks at every pixel of each triangle's bounding box, so that two
    large triangles cost more than many small ones.

    Args:
        corner: Metres, [3].
        side_u: From that corner along one edge, metres, [3].
        side_v: Along the other edge, metres, [3].
        cells: Squares per edge.
        repeats: How often a texture repeats along an edge.
    """
    steps = np.linspace(0.0, 1.0, cells + 1)
    v, u = (values.reshape(-1, 1) for values in np.meshgrid(steps, steps, indexing="ij"))
    normal = np.cross(side_u, side_v)
    vertices = corner + u * side_u + v * side_v
    normals = np.broadcast_to(normal / np.linalg.norm(normal), vertices.shape)
    return Mesh(vertices, np.array(normals), np.hstack([u, v]) * repeats, _lattice_triangles(cells, cells))


def _lattice_triangles(columns: int, rows: int) -> Indices:
    row, column = (values.ravel() for values in np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"))
    a = row * (columns + 1) + column
    b, c, d = a + 1, a + columns + 2, a + columns + 1
    return np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])


def wall(
    radius: float, bottom: float, top: float, start_deg: float, end_deg: float, cells: int, repeats: float
) -> Mesh:
    """Return a part of a cylinder around the z axis, seen from inside (metres; degrees from the x axis)."""
    steps = np.linspace(0.0, 1.0, cells + 1)
    height, along = (values.ravel() for values in np.meshgrid(steps, steps, indexing="ij"))
    angle = np.radians(start_deg + (end_deg - start_deg) * along)
    outward = np.stack([np.cos(angle), np.sin(angle), np.zeros_like(angle)], axis=1)
    vertices = radius * outward
    vertices[:, 2] = bottom + (top - bottom) * height
    triangles = _lattice_triangles(cells, cells)[:, ::-1]
    return Mesh(vertices, -outward, np.stack([along, height], axis=1) * repeats, triangles)


def ball(radius: float, segments: int = 12) -> Mesh:
    """Return a sphere around the origin, metres."""
    rows, columns = segments // 2, segments
    latitude, longitude = (
        values.ravel()
        for values in np.meshgrid(np.linspace(-0.5, 0.5, rows + 1), np.linspace(0, 2, columns + 1), indexing="ij")
    )
    ring = np.cos(np.pi * latitude)
    normals = np.stack(
        [ring * np.cos(np.pi * longitude), ring * np.sin(np.pi * longitude), np.sin(np.pi * latitude)], axis=1
    )
    coordinates = np.stack([longitude / 2, latitude + 0.5], axis=1)
    return Mesh(radius * normals, normals, coordinates, _lattice_triangles(columns, rows))


def disc(radius: float, segments: int = 24) -> Mesh:
    """Return a flat disc around the origin that faces up, metres."""
    angle = np.linspace(0.0, 2 * np.pi, segments, endpoint=False)
    rim = np.stack([np.cos(angle), np.sin(angle), np.zeros(segments)], axis=1)
    vertices = np.vstack([np.zeros((1, 3)), radius * rim])
    following = np.roll(np.arange(segments), -1)
    triangles = np.stack([np.zeros(segments, np.int64), np.arange(segments) + 1, following + 1], axis=1)
    up = np.tile([0.0, 0.0, 1.0], (segments + 1, 1))
    return Mesh(vertices, up, 0.5 + vertices[:, :2] / (2 * radius), triangles)


def join(parts: Sequence[Mesh]) -> Mesh:
    """Return one mesh with the triangles of all parts."""
    counts = [len(part.vertices) for part in parts]
    offsets = np.cumsum([0, *counts[:-1]])
    return Mesh(
        np.vstack([part.vertices for part in parts]),
        np.vstack([part.normals for part in parts]),
        np.vstack([part.texture_coordinates for part in parts]),
        np.vstack([part.triangles + offset for part, offset in zip(parts, offsets, strict=True)]),
    )


def cube(half_edge: float) -> Mesh:
    """Return a cube around the origin, metres."""
    sides = []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            normal, u = np.zeros(3), np.zeros(3)
            normal[axis], u[(axis + 1) % 3] = sign, 1.0
            v = np.cross(normal, u)
            sides.append(grid((normal - u - v) * half_edge, 2 * half_edge * u, 2 * half_edge * v, 1, 1.0))
    return join(sides)
