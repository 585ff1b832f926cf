"""Plain solids that rooms and things are built of: boards, blocks, walls, and what a lathe makes."""

from __future__ import annotations

import numpy as np

from sim.light_meshes import creased
from sim.meshes import Floats, Mesh, join, rectangle

# Texture coordinates per metre: a texture is half a metre wide where nothing scales it.
_REPEATS_PER_M = 2.0
_TURNED_SEGMENTS = 14


def flat(left: float, right: float, front: float, back: float) -> Mesh:
    """Return a rectangle that faces up at height 0, textured in metres."""
    mesh = rectangle(np.array([left, front, 0.0]), np.array([right - left, 0, 0]), np.array([0, back - front, 0]))
    return textured(mesh, mesh.vertices[:, :2])


def upright(corner: Floats, along: Floats, height: float) -> Mesh:
    """Return an upright rectangle from a corner (metres, [3]) along a level edge [3]; up x that edge is behind it."""
    mesh = rectangle(corner, along, np.array([0.0, 0.0, height]))
    return textured(mesh, mesh.texture_coordinates * np.array([float(np.linalg.norm(along)), height]))


def textured(mesh: Mesh, metres: Floats) -> Mesh:
    """Return a mesh with texture coordinates by places in metres, [V, 2]."""
    return Mesh(mesh.vertices, mesh.normals, _REPEATS_PER_M * metres, mesh.triangles)


def board(left: float, right: float, front: float, back: float, thickness: float) -> Mesh:
    """Return a board whose upper side lies at height 0, without what nobody sees: its lower side."""
    parts = [flat(left, right, front, back)]
    corners = [(left, front), (right, front), (right, back), (left, back)]
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        along = np.array([x1 - x0, y1 - y0, 0.0])
        side = rectangle(np.array([x0, y0, -thickness]), along, np.array([0.0, 0.0, thickness]))
        parts.append(textured(side, side.texture_coordinates * np.array([float(np.linalg.norm(along)), thickness])))
    return join(parts)


def round_board(radius: float, thickness: float, middle: float, segments: int = 32) -> Mesh:
    """Return the same as a disc about (middle, 0)."""
    mesh = turned([(0.0, -thickness), (radius, -thickness), (radius, 0.0), (0.0, 0.0)], segments)
    vertices = mesh.vertices + np.array([middle, 0.0, 0.0])
    return textured(Mesh(vertices, mesh.normals, mesh.texture_coordinates, mesh.triangles), vertices[:, :2])


def turned(profile: list[tuple[float, float]], segments: int = _TURNED_SEGMENTS) -> Mesh:
    """Return what a lathe makes of (radius, height) pairs, from below to above on the outside, metres."""
    angle = np.linspace(0.0, 2 * np.pi, segments, endpoint=False)
    rings = [np.stack([r * np.cos(angle), r * np.sin(angle), np.full(segments, z)], axis=1) for r, z in profile]
    here, following = np.arange(segments), np.roll(np.arange(segments), -1)
    triangles = []
    for k in range(len(profile) - 1):
        low, high = k * segments, (k + 1) * segments
        if profile[k][0] > 0:
            triangles.append(np.stack([low + here, low + following, high + following], axis=1))
        if profile[k + 1][0] > 0:
            triangles.append(np.stack([low + here, high + following, high + here], axis=1))
    # Points on the axis are one.
    points, merged = np.unique(np.concatenate(rings).round(6), axis=0, return_inverse=True)
    return creased(points, merged.reshape(-1)[np.concatenate(triangles)])


def block(x: float, y: float, low: float, high: float) -> Mesh:
    """Return a box about the z axis from one height to another, metres; a texture covers each side once."""
    sides = []
    middle, half = np.array([0.0, 0.0, (low + high) / 2]), np.array([x / 2, y / 2, (high - low) / 2])
    for axis in range(3):
        for sign in (-1.0, 1.0):
            normal, u = np.zeros(3), np.zeros(3)
            normal[axis], u[(axis + 1) % 3] = sign, 1.0
            v = np.cross(normal, u)
            sides.append(rectangle(middle + (normal - u - v) * half, 2 * half * u, 2 * half * v))
    return join(sides)


def moved(mesh: Mesh, x: float, y: float, z: float) -> Mesh:
    """Return a mesh elsewhere, metres."""
    return Mesh(mesh.vertices + np.array([x, y, z]), mesh.normals, mesh.texture_coordinates, mesh.triangles)


def ball_profile(radius: float) -> list[tuple[float, float]]:
    """Return what `turned` makes a ball of that stands on the origin, metres."""
    angles = np.linspace(-np.pi / 2, np.pi / 2, 7)
    ring = [(float(radius * np.cos(a)), float(radius * (1 + np.sin(a)))) for a in angles]
    return [(0.0, 0.0), *ring[1:-1], (0.0, 2 * radius)]
