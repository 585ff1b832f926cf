"""The Panda in full detail: the stock meshes, a hundred thousand triangles, for renderers that can take their time.

They are Franka's own, which PyBullet's data carry under the Apache License 2.0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from sim.assets import STOCK_PANDA
from sim.light_meshes import diffuse_colours, nearest
from sim.meshes import Floats, Mesh
from sim.panda_parts import PALETTE, items_of
from sim.scenery import Item, Scenery


def in_full_detail(scenery: Scenery) -> Scenery:
    """Return a scenery whose robot has its stock meshes; its links and their slots stay what they are."""
    stock = _stock_items()
    return replace(scenery, items=tuple(stock.get(item.name, item) for item in scenery.items))


@cache
def _stock_items() -> Mapping[str, Item]:
    description = STOCK_PANDA / "panda.urdf"
    items = items_of(description, lambda name: _read(STOCK_PANDA / name.removeprefix("package://")))
    return {item.name: item for item in items}


def _read(path: Path) -> dict[str, Mesh]:
    """Read an OBJ file of triangles with normals as it is, by the colours of the `PALETTE`."""
    rows: dict[str, list[str]] = {"v": [], "vn": []}
    faces: dict[str, list[str]] = {}
    materials, first = path.with_suffix(".mtl"), next(iter(PALETTE))
    diffuse = diffuse_colours(materials) if materials.exists() else {}
    corners = faces.setdefault(first, [])
    for line in path.read_text(errors="replace").splitlines():
        word, _, rest = line.partition(" ")
        if word == "f":
            corners.append(rest)
        elif word in rows:
            rows[word].append(rest)
        elif word == "usemtl":
            name = rest.strip()
            corners = faces.setdefault(nearest(diffuse[name], PALETTE) if name in diffuse else first, [])
    vertices, normals = (np.array(" ".join(rows[word]).split(), np.float64).reshape(-1, 3) for word in ("v", "vn"))
    return {colour: _mesh(vertices, normals, lines) for colour, lines in faces.items() if lines}


def _mesh(vertices: Floats, normals: Floats, lines: list[str]) -> Mesh:
    """Return the mesh of faces such as "1/4/2 2/5/2 3/6/2" or "1//2 2//2 3//2"; the robot bears no texture."""
    numbers = np.array(" ".join(lines).replace("//", "/0/").replace("/", " ").split(), np.int64).reshape(-1, 3)
    used, index = np.unique(numbers[:, [0, 2]] - 1, axis=0, return_inverse=True)
    directions = normals[used[:, 1]]
    directions = directions / (np.linalg.norm(directions, axis=1, keepdims=True) + 1e-12)
    return Mesh(vertices[used[:, 0]], directions, np.zeros((len(used), 2)), index.reshape(-1, 3).astype(np.int64))
