"""Triangle meshes: reading and writing OBJ files, and the plain shapes of the scene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

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


def write_parts(path: Path, parts: Mapping[str, Mesh]) -> None:
    """Write meshes as an OBJ file, each with the material of its name."""
    lines: list[str] = []
    first = 1
    for name, mesh in parts.items():
        lines += [f"v {x:.5f} {y:.5f} {z:.5f}" for x, y, z in mesh.vertices]
        lines += [f"vt {u:.4f} {v:.4f}" for u, v in mesh.texture_coordinates]
        lines += [f"vn {x:.4f} {y:.4f} {z:.4f}" for x, y, z in mesh.normals]
        lines.append(f"usemtl {name}")
        lines += ["f " + " ".join(f"{i}/{i}/{i}" for i in triangle) for triangle in mesh.triangles + first]
        first += len(mesh.vertices)
    path.write_text("\n".join(lines) + "\n")


def read_parts(path: Path) -> dict[str, Mesh]:
    """Read what `write_parts` wrote."""
    rows: dict[str, list[list[float]]] = {"v": [], "vt": [], "vn": []}
    faces: dict[str, list[list[int]]] = {}
    starts: list[int] = [0]
    name = ""
    for line in path.read_text().splitlines():
        word, *rest = line.split()
        if word == "usemtl":
            name = rest[0]
            starts.append(len(rows["v"]))
        elif word == "f":
            faces.setdefault(name, []).append([int(corner.split("/")[0]) - 1 for corner in rest])
        else:
            rows[word].append([float(number) for number in rest])
    vertices, coordinates, normals = (np.array(rows[word]) for word in ("v", "vt", "vn"))
    return {
        name: Mesh(vertices[first:last], normals[first:last], coordinates[first:last], np.array(faces[name]) - first)
        for name, first, last in zip(faces, starts[:-1], starts[1:], strict=True)
    }


def rectangle(corner: Floats, side_u: Floats, side_v: Floats, repeats: float = 1.0) -> Mesh:
    """Return a flat rectangle that faces `side_u x side_v`, two triangles.

    Args:
        corner: Metres, [3].
        side_u: From that corner along one edge, metres, [3].
        side_v: Along the other edge, metres, [3].
        repeats: How often a texture repeats along an edge.
    """
    v, u = (values.reshape(-1, 1) for values in np.meshgrid((0.0, 1.0), (0.0, 1.0), indexing="ij"))
    normal = np.cross(side_u, side_v)
    vertices = corner + u * side_u + v * side_v
    normals = np.broadcast_to(normal / np.linalg.norm(normal), vertices.shape)
    return Mesh(vertices, np.array(normals), np.hstack([u, v]) * repeats, _lattice_triangles(1, 1))


def _lattice_triangles(columns: int, rows: int) -> Indices:
    row, column = (values.ravel() for values in np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"))
    a = row * (columns + 1) + column
    b, c, d = a + 1, a + columns + 2, a + columns + 1
    return np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])


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
            sides.append(rectangle((normal - u - v) * half_edge, 2 * half_edge * u, 2 * half_edge * v))
    return join(sides)
