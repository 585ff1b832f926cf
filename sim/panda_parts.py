"""The Panda as it is seen: the real one's white and black parts, light enough to draw, made once per machine."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from sim import light_meshes
from sim.engine import Vector
from sim.meshes import Mesh, join, read_parts, write_parts
from sim.scenery import Item, Part

PALETTE: dict[str, Vector] = {
    "white": (1.0, 1.0, 1.0),
    "grey": (0.90, 0.92, 0.93),
    "black": (0.25, 0.25, 0.25),
    "blue": (0.04, 0.54, 0.78),
}
"""The colours of the real robot's parts."""

# How many triangles a mesh is asked to have: so many that its silhouette overlaps the stock one's by 93.5 % from every
# side and by 97 % on average (tests/sim/test_light_meshes.py).
_TRIANGLES = {"link0": 100, "link1": 200, "link2": 150, "link5": 300, "link7": 100, "hand": 300, "finger": 350}
_TRIANGLES_OF_OTHERS = 60
# A shadow shows a centimetre at best.
_SHADOW_TRIANGLES = {"link0": 60, "link7": 60, "finger": 130, "link6": 150}
_SHADOW_TRIANGLES_OF_OTHERS = 90
_SHADOWS_OF_HULLS = {"hand", "link6"}
_SHADOW = "_shadow"

_SURFACES = {"panda_hand": "hand", "panda_leftfinger": "fingers", "panda_rightfinger": "fingers"}


def make_parts(source: Path, target: Path, names: set[str]) -> None:
    """Write light meshes of the named files (such as "meshes/visual/link1.obj") from one directory into another.

    Beside each lies, with `_shadow` in its name, what casts its shadow.
    """
    for name in sorted(names):
        path = source / name
        groups = light_meshes.read_groups(path, PALETTE)
        light = light_meshes.lighten(groups, _TRIANGLES.get(path.stem, _TRIANGLES_OF_OTHERS))
        write_parts(target / path.name, light)
        most = _SHADOW_TRIANGLES.get(path.stem, _SHADOW_TRIANGLES_OF_OTHERS)
        write_parts(
            target / f"{path.stem}{_SHADOW}{path.suffix}",
            {_SHADOW: light_meshes.caster(groups, most, convex=path.stem in _SHADOWS_OF_HULLS)},
        )


def panda_items(assets: Path) -> list[Item]:
    """Return the robot's links, each an item with the link's name.

    The slots are "arm", "hand" or "fingers", a dot, and a colour of the `PALETTE`.

    Args:
        assets: The directory from `sim.assets.assets_directory`.
    """

    def caster(name: str) -> Mesh:
        path = assets / name
        return read_parts(path.with_stem(path.stem + _SHADOW))[_SHADOW]

    return items_of(assets / "panda.urdf", lambda name: read_parts(assets / name), caster)


def items_of(
    description: Path, read: Callable[[str], Mapping[str, Mesh]], caster: Callable[[str], Mesh] | None = None
) -> list[Item]:
    """Return the links of a URDF file as `panda_items` does.

    Args:
        description: The file.
        read: From the name of a mesh in that file to its parts by the colours of the `PALETTE`.
        caster: From the same name to what casts its shadow; None: the parts do.
    """
    items = []
    for link in ElementTree.parse(description).getroot().iter("link"):
        name = link.attrib["name"]
        surface = _SURFACES.get(name, "arm")
        parts, casters = [], []
        for visual in link.iter("visual"):
            shape = visual.find("geometry/mesh")
            assert shape is not None, f"{name} shows no mesh"
            path, origin = shape.attrib["filename"], visual.find("origin")
            for colour, mesh in read(path).items():
                parts.append(Part(_placed(mesh, origin), f"{surface}.{colour}"))
            if caster is not None:
                casters.append(_placed(caster(path), origin))
        if parts:
            items.append(Item(name, tuple(parts), caster=join(casters) if casters else None))
    return items


def _placed(mesh: Mesh, origin: ElementTree.Element | None) -> Mesh:
    """Return a mesh where a URDF origin puts it: turned about x, then y, then z, then moved."""
    if origin is None:
        return mesh
    x, y, z = (float(angle) for angle in origin.get("rpy", "0 0 0").split())
    turn = np.eye(3)
    for axis, angle in ((0, x), (1, y), (2, z)):
        i, j = (axis + 1) % 3, (axis + 2) % 3
        step = np.eye(3)
        step[i, i] = step[j, j] = np.cos(angle)
        step[i, j], step[j, i] = -np.sin(angle), np.sin(angle)
        turn = step @ turn
    moved = np.array([float(metres) for metres in origin.get("xyz", "0 0 0").split()])
    return Mesh(mesh.vertices @ turn.T + moved, mesh.normals @ turn.T, mesh.texture_coordinates, mesh.triangles)


def visual_meshes(description: str) -> set[str]:
    """Return the mesh files that a URDF text names."""
    return set(re.findall(r"package://([^\"]+)", description))
