"""The robot's light meshes against its stock ones: silhouettes, parts, edges.

`python tests/sim/test_light_meshes.py` prints how well each silhouette overlaps.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from raster_worlds import EVEN

from sim.assets import STOCK_PANDA, assets_directory
from sim.light_meshes import creased, read_groups
from sim.meshes import Mesh, join, read_parts
from sim.panda_parts import PALETTE, panda_items, visual_meshes
from sim.raster.renderer import RasterRenderer
from sim.scenery import Camera, CameraPose, Item, Look, Material, Part, Pose, Scenery

SIDES, SIZE = 26, 96


def directions(count: int) -> NDArray[np.float64]:
    """Directions spread evenly over the sphere (Fibonacci's lattice), [count, 3]."""
    height = 1 - 2 * (np.arange(count) + 0.5) / count
    turn = np.pi * (1 + 5**0.5) * np.arange(count)
    ring = np.sqrt(1 - height**2)
    return np.stack([ring * np.cos(turn), ring * np.sin(turn), height], axis=1)


def silhouettes(mesh: Mesh, middle: Any, radius: float) -> NDArray[np.bool_]:
    """The mesh from all sides, filling the picture, [SIDES, SIZE, SIZE]."""
    renderer = RasterRenderer(Scenery((Item("it", (Part(mesh, "it", two_sided=True),)),)))
    look = Look({"it": Material((1.0, 1.0, 1.0))}, EVEN, {"it": Pose()})
    views = []
    for direction in directions(SIDES):
        eye = middle + 6 * radius * direction
        pose = CameraPose(tuple(eye), tuple(middle), 2 * np.degrees(np.arcsin(1 / 6)))
        views.append(renderer.segment(look, Camera(pose, SIZE, SIZE)) >= 0)
    return np.array(views)


def stock_mesh(path: Path) -> Mesh:
    groups = read_groups(path, PALETTE)
    flat = (np.zeros((len(group.vertices), width)) for group in groups for width in (3, 2))
    return join([Mesh(group.vertices, next(flat), next(flat), group.triangles) for group in groups])


def stock_meshes() -> dict[str, Path]:
    names = visual_meshes((STOCK_PANDA / "panda.urdf").read_text())
    return {Path(name).stem: STOCK_PANDA / name for name in sorted(names)}


def overlaps(name: str, ending: str = "") -> NDArray[np.float64]:
    """Intersection over union of a link's silhouettes, stock and light, [SIDES]."""
    stock = stock_mesh(stock_meshes()[name])
    light = join(list(read_parts(assets_directory() / f"{name}{ending}.obj").values()))
    low, high = stock.vertices.min(axis=0), stock.vertices.max(axis=0)
    middle = (low + high) / 2
    radius = float(np.linalg.norm(stock.vertices - middle, axis=1).max())
    real, ours = (silhouettes(mesh, middle, radius) for mesh in (stock, light))
    return np.asarray((real & ours).sum((1, 2)) / (real | ours).sum((1, 2)))


@pytest.mark.parametrize("name", sorted(stock_meshes()))
def test_silhouettes_overlap_the_real_ones_from_every_side(name: str) -> None:
    found = overlaps(name)
    assert found.min() > 0.935
    assert found.mean() > 0.97


@pytest.mark.parametrize("name", sorted(stock_meshes()))
def test_silhouettes_of_what_casts_shadows_overlap_the_real_ones(name: str) -> None:
    found = overlaps(name, "_shadow")
    assert found.min() > 0.8
    assert found.mean() > 0.9


def test_the_robot_is_light_enough_to_draw_fast() -> None:
    items = panda_items(assets_directory())
    casters = [item.caster for item in items]
    assert all(casters)
    assert sum(len(caster.triangles) for caster in casters if caster) < 1100
    triangles = sum(len(part.mesh.triangles) for item in items for part in item.parts)
    assert 2500 < triangles < 4500, "the stock robot has 100,000"


def test_parts_keep_their_materials() -> None:
    slots = {item.name: {part.slot for part in item.parts} for item in panda_items(assets_directory())}
    assert slots["panda_link1"] == {"arm.white"}
    assert slots["panda_link6"] == {"arm.white", "arm.grey", "arm.black", "arm.blue"}
    assert slots["panda_hand"] == {"hand.white", "hand.grey", "hand.black"}
    assert slots["panda_leftfinger"] == slots["panda_rightfinger"] == {"fingers.grey", "fingers.black"}


def test_the_right_finger_is_the_left_one_turned_round() -> None:
    left, right = (
        next(item for item in panda_items(assets_directory()) if item.name == f"panda_{side}finger")
        for side in ("left", "right")
    )
    for one, other in zip(left.parts, right.parts, strict=True):
        assert other.mesh.vertices == pytest.approx(one.mesh.vertices * [-1, -1, 1], abs=1e-9)
        assert other.mesh.normals == pytest.approx(one.mesh.normals * [-1, -1, 1], abs=1e-9)


def test_edges_stay_edges_and_curves_are_smooth() -> None:
    corners = np.array([[x, y, z] for x in (0.0, 1.0) for y in (0.0, 1.0) for z in (0.0, 1.0)])
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    box = creased(corners, np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))]))
    assert len(box.vertices) == 24, "three normals at each corner"
    assert np.abs(box.normals).max(axis=1) == pytest.approx(np.ones(24))
    angle = np.radians(np.arange(0, 360, 20))
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points = np.concatenate([np.column_stack([ring, np.full(18, z)]) for z in (0.0, 1.0)])
    a, b = np.arange(18), np.roll(np.arange(18), -1)
    tube = creased(points, np.concatenate([np.stack([a, b, b + 18], 1), np.stack([a, b + 18, a + 18], 1)]))
    assert len(tube.vertices) == 36, "one normal at each point"
    assert tube.normals[:, :2] == pytest.approx(tube.vertices[:, :2], abs=0.07)


if __name__ == "__main__":
    for name in stock_meshes():
        found = overlaps(name)
        triangles = sum(len(mesh.triangles) for mesh in read_parts(assets_directory() / f"{name}.obj").values())
        shadows = overlaps(name, "_shadow")
        print(f"{name:8} shadow at least {shadows.min():.3f}, mean {shadows.mean():.3f}")
        print(f"{name:8} {triangles:5} triangles, overlap at least {found.min():.3f}, mean {found.mean():.3f}")
