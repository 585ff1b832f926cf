"""Our renderer against PyBullet's: what each pixel shows, over poses, cameras and sizes of images.

`python tests/sim/test_renderers_agree.py 300` prints the figures of more views.
"""

import sys
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from raster_worlds import at, box_on_a_floor, look, square, task_views

from sim.bullet_renderer import BulletRenderer
from sim.raster.renderer import RasterRenderer
from sim.scenery import Camera

Masks = NDArray[np.int32]


@dataclass
class Agreement:
    """Over many views: shares of pixels that agree, and how far the depths lie apart where both see the same.

    Attributes:
        inner: Of the pixels whose eight neighbours show the same item as they do.
        worst_inner: The same of the view that agrees least.
        all: Of all pixels.
        depth_m: Median distance of the depths, metres.
    """

    inner: float
    worst_inner: float
    all: float
    depth_m: float


def away_from_edges(shown: Masks) -> NDArray[np.bool_]:
    """Pixels whose eight neighbours show the same item; the image's rim is none."""
    inner = np.zeros(shown.shape, np.bool_)
    middle = shown[1:-1, 1:-1]
    inner[1:-1, 1:-1] = True
    for down in range(3):
        for across in range(3):
            rows, columns = slice(down, down + middle.shape[0]), slice(across, across + middle.shape[1])
            inner[1:-1, 1:-1] &= shown[rows, columns] == middle
    return inner


def through_lower_left_corners(camera: Camera) -> Camera:
    """The camera whose pixels' middles are where PyBullet looks through the pixels of `camera`."""
    across, down = camera.pose.principal_point
    point = (across + 0.5 / camera.width_px, down - 0.5 / camera.height_px)
    return replace(camera, pose=replace(camera.pose, principal_point=point))


def agreement(task: str, count: int) -> Agreement:
    scenery, views = task_views(task, count)
    ours, theirs = RasterRenderer(scenery), BulletRenderer(scenery)
    inner, every, depths = [], [], []
    for poses, drawn, camera in views:
        for renderer in (ours, theirs):
            renderer.place(poses)
        corners = through_lower_left_corners(camera)
        seen, reference = ours.segment(drawn, corners), theirs.segment(drawn, camera)
        far_from_edges = away_from_edges(reference)
        inner.append((seen == reference)[far_from_edges].mean())
        every.append((seen == reference).mean())
        both = far_from_edges & (seen == reference) & (seen >= 0)
        depths.append(np.median(np.abs(ours.depth(drawn, corners)[both] - theirs.depth(drawn, camera)[both])))
    theirs.close()
    return Agreement(float(np.mean(inner)), float(np.min(inner)), float(np.mean(every)), float(np.median(depths)))


@pytest.mark.parametrize("task", ["reach", "push", "lift"])
def test_both_renderers_see_the_same_items_but_for_edges(task: str) -> None:
    found = agreement(task, 36)
    assert found.inner > 0.9999
    assert found.worst_inner > 0.999
    assert found.all > 0.999
    assert found.depth_m < 1e-4


def test_both_renderers_show_the_same_colours_where_light_is_even() -> None:
    scenery = box_on_a_floor()
    pictures, shown = [], None
    for renderer in (RasterRenderer(scenery), BulletRenderer(scenery)):
        renderer.place(at(0.5, 0.0, 0.05))
        pictures.append(renderer.render(look(), square()).astype(float))
        shown = renderer.segment(look(), square())
    assert shown is not None
    for item in range(3):
        ours, theirs = (np.median(picture[away_from_edges(shown) & (shown == item)], axis=0) for picture in pictures)
        assert ours == pytest.approx(theirs, abs=6)


def main(count: int) -> None:
    for task in ("reach", "push", "lift"):
        print(task, count, "views:", agreement(task, count))


if __name__ == "__main__":
    count: Any = sys.argv[1:] or ["120"]
    main(int(count[0]))
