"""Our own renderer: what a picture shows, how it is lit, and that it is the same picture everywhere."""

import hashlib
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from raster_worlds import EVEN, FROM_ABOVE, LAMP, at, box_on_a_floor, floor, look, square, task_views

from sim.camera import project
from sim.meshes import cube, rectangle
from sim.raster.renderer import RasterRenderer
from sim.renderer import NOTHING
from sim.scenery import Board, Camera, CameraPose, Item, Lamp, Look, Material, Part, Pose, Scenery

ROOT = Path(__file__).parents[2]
FLOOR, BOX, BALL = 0, 1, 2


@pytest.fixture
def renderer() -> RasterRenderer:
    renderer = RasterRenderer(box_on_a_floor())
    renderer.place(at(0.5, 0.0, 0.05))
    return renderer


def test_colours_are_those_of_the_materials_where_light_is_even(renderer: RasterRenderer) -> None:
    image, shown = renderer.render(look(), square()), renderer.segment(look(), square())
    assert image.shape == (64, 64, 3)
    assert image.dtype == np.uint8
    inner = {item: np.median(image[shown == item], axis=0).tolist() for item in (FLOOR, BOX, BALL)}
    assert inner == {FLOOR: [128, 128, 128], BOX: [255, 0, 0], BALL: [0, 0, 255]}


def test_where_nothing_is_there_is_the_backdrop(renderer: RasterRenderer) -> None:
    away = square(CameraPose((0.45, 0.0, 1.0), (0.45, 5.0, 2.0), 40.0))
    assert (renderer.segment(look(), away) == NOTHING).all()
    assert np.isinf(renderer.depth(look(), away)).all()
    assert (renderer.render(replace(look(), backdrop=(0.0, 0.5, 1.0)), away) == [0, 128, 255]).all()


def test_items_that_neither_move_nor_are_placed_are_not_seen(renderer: RasterRenderer) -> None:
    assert (renderer.segment(look(), square()) == BALL).any()
    without = replace(look(), placed={"floor": Pose((0.45, 0.0, 0.0))})
    assert not (renderer.segment(without, square()) == BALL).any()
    assert (renderer.segment(look(), square()) == BALL).any(), "a look says anew what is there"


def test_views_of_one_state_do_not_disturb_each_other(renderer: RasterRenderer) -> None:
    first, second = look(LAMP), replace(look(), placed={"ball": Pose((0.6, 0.2, 0.05))})
    alone = renderer.render(first, square())
    renderer.render(second, square(replace(FROM_ABOVE, eye=(0.0, -0.5, 0.5))))
    assert np.array_equal(renderer.render(first, square()), alone)


@pytest.mark.parametrize(
    ("pose", "size"),
    [
        (FROM_ABOVE, (64, 64)),
        (FROM_ABOVE, (96, 48)),
        (FROM_ABOVE, (67, 81)),
        (replace(FROM_ABOVE, roll_deg=25.0), (64, 64)),
        (replace(FROM_ABOVE, principal_point=(0.3, 0.6)), (64, 64)),
        (replace(FROM_ABOVE, roll_deg=-70.0, principal_point=(0.6, 0.45)), (80, 60)),
    ],
)
def test_a_point_is_where_the_camera_is_said_to_see_it(
    renderer: RasterRenderer, pose: CameraPose, size: tuple[int, int]
) -> None:
    camera = Camera(pose, *size)
    rows, columns = np.nonzero(renderer.segment(look(), camera) == BALL)
    column, row = project(camera, (0.25, 0.1, 0.05))
    assert columns.mean() + 0.5 == pytest.approx(column, abs=0.4)
    assert rows.mean() + 0.5 == pytest.approx(row, abs=0.4)


def test_depth_is_measured_along_the_axis_in_metres() -> None:
    renderer = RasterRenderer(Scenery((floor(2.0),)))
    down = Look({"floor": Material((1.0, 1.0, 1.0))}, EVEN, {"floor": Pose()})
    depth = renderer.depth(down, square(CameraPose((0.0, -1e-3, 1.5), (0.0, 0.0, 0.0), 60.0)))
    assert depth == pytest.approx(np.full((64, 64), 1.5), abs=2e-3)


def test_a_surface_that_reaches_behind_the_camera_is_seen_up_to_it() -> None:
    renderer = RasterRenderer(Scenery((floor(5.0),)))
    along = Look({"floor": Material((1.0, 1.0, 1.0))}, EVEN, {"floor": Pose()})
    shown = renderer.segment(along, square(CameraPose((0.0, 0.0, 0.5), (0.0, 1.0, 0.2), 60.0)))
    assert (shown[40:] == FLOOR).all()
    assert (shown[0] == NOTHING).all()


def test_edges_mix_their_colours(renderer: RasterRenderer) -> None:
    image = renderer.render(look(), square())
    edges = [tuple(pixel) for pixel in image.reshape(-1, 3).tolist() if pixel[0] not in (0, 128, 255)]
    assert len(set(edges)) >= 4, "a quarter, a half and three quarters of either colour"


def test_backs_are_seen_of_sheets_alone() -> None:
    sheet = rectangle(np.array([-0.1, -0.1, 0.0]), np.array([0.2, 0, 0]), np.array([0, 0.2, 0]))
    below = square(CameraPose((0.0, -0.2, -0.5), (0.0, 0.0, 0.0), 40.0))
    for two_sided in (False, True):
        renderer = RasterRenderer(Scenery((Item("sheet", (Part(sheet, "sheet", two_sided),)),)))
        shown = renderer.segment(Look({"sheet": Material((1.0, 1.0, 1.0))}, EVEN, {"sheet": Pose()}), below)
        assert (shown == 0).any() == two_sided


def test_light_and_shadow_are_as_bright_as_the_light_says() -> None:
    renderer = RasterRenderer(box_on_a_floor())
    renderer.place(at(0.5, 0.0, 0.3))
    overhead = replace(LAMP, direction=(0.0, 0.0, 1.0))
    white = look(overhead, floor=Material((1.0, 1.0, 1.0)))
    image, shown = renderer.render(white, square()), renderer.segment(white, square())
    values, counts = np.unique(image[shown == FLOOR][:, 0], return_counts=True)
    common = set(values[counts >= 8].tolist())
    assert {round(255 * 0.4), 255} <= common, "ambient alone in the shadow, ambient and diffuse out of it"


def shadow_of_the_box(spread: float, height_m: float = 0.2) -> Any:
    renderer = RasterRenderer(box_on_a_floor())
    renderer.place(at(0.5, 0.0, height_m))
    light = replace(LAMP, spread=spread)
    lit = renderer.render(look(replace(light, shadows=False)), square(size=128)).astype(float)
    return lit[..., 0] - renderer.render(look(light), square(size=128))[..., 0]


def test_soft_shadows_have_wider_edges_and_are_no_larger() -> None:
    widths, areas = [], []
    for spread in (0.0, 0.07, 0.14):
        darkening = shadow_of_the_box(spread)
        assert darkening.min() >= 0
        deepest = darkening.max()
        widths.append(edge_px(darkening))
        areas.append(darkening.sum() / deepest)
    assert widths[0] < widths[1] < widths[2]
    assert areas[2] == pytest.approx(areas[0], rel=0.25)


def edge_px(darkening: Any) -> int:
    deepest = darkening.max()
    return int(((darkening > 0.1 * deepest) & (darkening < 0.9 * deepest)).sum())


def test_a_shadow_is_the_softer_the_farther_away_is_what_casts_it() -> None:
    widths = [edge_px(shadow_of_the_box(0.1, height_m)) for height_m in (0.06, 0.15, 0.3)]
    assert widths[0] < 0.7 * widths[1]
    assert widths[1] < 0.7 * widths[2]


@pytest.mark.parametrize("spread", [0.0, 0.1, 0.3])
def test_a_shadow_begins_where_the_thing_that_casts_it_stands(spread: float) -> None:
    renderer = RasterRenderer(box_on_a_floor())
    renderer.place(at(0.5, 0.0, 0.05))
    light = replace(LAMP, direction=(0.0, 0.8, 0.6), spread=spread)  # the shadow falls towards the camera
    camera = square(size=128)
    lit, shaded = (
        renderer.render(look(replace(light, shadows=shadows)), camera).astype(float) for shadows in (False, True)
    )
    shown = renderer.segment(look(light), camera)
    columns = np.flatnonzero((shown == BOX).any(axis=0))[3:-3]
    for column in columns:
        foot = np.flatnonzero(shown[:, column] == BOX).max() + 2
        assert lit[foot, column, 0] - shaded[foot, column, 0] > 0.7 * (lit - shaded)[..., 0].max()


def test_what_no_longer_stands_there_casts_no_shadow() -> None:
    renderer = RasterRenderer(box_on_a_floor())
    renderer.place(at(0.5, 0.0, 0.2))
    drawn = look(LAMP)
    before = renderer.render(drawn, square())
    renderer.place(at(9.0, 0.0, 0.2))
    gone = renderer.render(drawn, square())
    renderer.place(at(0.5, 0.0, 0.2))
    assert np.array_equal(renderer.render(drawn, square()), before)
    without_ball = replace(drawn, placed={"floor": Pose((0.45, 0.0, 0.0))})
    renderer.place(at(9.0, 0.0, 0.2))
    assert (renderer.render(without_ball, square()) >= gone).mean() > 0.98, "the ball's shadow went with it"
    even = renderer.render(without_ball, square())
    assert np.ptp(even[20:50, 20:44, 0]) <= 1


@pytest.mark.parametrize("is_round", [False, True])
@pytest.mark.parametrize("spread", [0.0, 0.2])
def test_a_board_keeps_light_from_all_below_it_and_from_nothing_above(spread: float, is_round: bool) -> None:
    board = Board((0.0, 0.0, 0.0), (0.2, 0.2) if is_round else (0.2, 0.1), is_round)
    above = rectangle(np.array([-0.1, -0.1, 0.0]), np.array([0.2, 0, 0]), np.array([0, 0.2, 0]))
    scenery = Scenery((floor(), Item("top", (Part(above, "top"),), casts_shadow=False, board=board)))
    renderer = RasterRenderer(scenery)
    light = replace(LAMP, direction=(1.0, 0.0, 1.0), spread=spread)
    white = Material((1.0, 1.0, 1.0))
    placed = {"floor": Pose((0.45, 0.0, 0.0)), "top": Pose((0.65, 0.0, 0.3))}
    pictures = [
        renderer.render(Look({"floor": white, "top": white}, replace(light, shadows=shadows), placed), square())
        for shadows in (True, False)
    ]
    shaded, lit = (picture[..., 0].astype(int) for picture in pictures)
    shown = renderer.segment(Look({"floor": white, "top": white}, light, placed), square())
    assert (shaded == lit)[shown == 1].all()
    camera = square()
    for x, y, dark in ((0.35, 0.0, True), (0.2, 0.07, True), (0.2, 0.16, False), (0.8, 0.0, False)):
        column, row = (int(part) for part in project(camera, (x, y, 0.0)))
        assert (shaded[row, column] < lit[row, column] - 40) == dark, "0.3 m below it lies 0.3 m away from the lamp"


def test_a_shape_does_not_shade_its_own_lit_side() -> None:
    renderer = RasterRenderer(box_on_a_floor())
    renderer.place(at(0.5, 0.0, 0.05))
    for direction in ((0.3, -0.8, 0.6), (0.0, 0.0, 1.0), (-0.9, -0.2, 0.4)):
        light = replace(LAMP, direction=direction)
        with_shadows, without = (
            renderer.render(look(replace(light, shadows=shadows)), square()).astype(int) for shadows in (True, False)
        )
        top = renderer.segment(look(light), square()) == BOX
        assert np.abs(with_shadows - without)[top].mean() < 3.0


def test_a_second_lamp_and_the_colours_of_the_sky_are_seen(renderer: RasterRenderer) -> None:
    dark = replace(EVEN, ambient=0.4)
    shown = renderer.segment(look(dark), square()) == FLOOR
    plain = renderer.render(look(dark), square())[shown].mean(axis=0)
    lamp = Lamp((0.0, -0.5, 1.0), (1.0, 0.5, 0.0), 0.5)
    lamplit = renderer.render(look(replace(dark, second=lamp)), square())[shown].mean(axis=0)
    assert lamplit[0] > 1.5 * plain[0]
    assert lamplit[2] == pytest.approx(plain[2])
    blue = renderer.render(look(replace(dark, sky=(0.5, 0.5, 1.0))), square())[shown].mean(axis=0)
    assert blue[0] == pytest.approx(plain[0] / 2, abs=2)
    assert blue[2] == pytest.approx(plain[2], abs=2)


def test_gloss_gives_highlights_and_chalk_has_none() -> None:
    renderer = RasterRenderer(box_on_a_floor())
    renderer.place(at(0.5, 0.0, -1.0))
    light = replace(LAMP, specular=1.0, shadows=False, direction=(0.0, -0.7, 0.8))
    glossy, chalk = (
        renderer.render(look(light, ball=Material((0.1, 0.1, 0.1), gloss=gloss)), square(size=128))
        for gloss in (1.0, 0.0)
    )
    ball = renderer.segment(look(light), square(size=128)) == BALL
    assert np.percentile(glossy[ball], 95) > 150
    assert np.percentile(chalk[ball], 95) < 60


def chessboard(edge: int, squares: int) -> Any:
    tile = np.arange(edge) * squares // edge % 2
    return np.repeat((255 * (tile[:, None] ^ tile[None])).astype(np.uint8)[..., None], 3, axis=2)


def test_textures_lie_the_right_way_round_and_repeat() -> None:
    quarters = np.zeros((64, 64, 3), np.uint8)
    quarters[:32, :32], quarters[:32, 32:], quarters[32:, :32] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    textures = {"quarters": quarters}
    for repeats in (1.0, 3.0):
        mesh = rectangle(np.array([-0.5, -0.5, 0.0]), np.array([1.0, 0, 0]), np.array([0, 1.0, 0]), repeats)
        renderer = RasterRenderer(Scenery((Item("sheet", (Part(mesh, "sheet"),)),), textures=textures))
        down = Look({"sheet": Material((1.0, 1.0, 1.0), "quarters")}, EVEN, {"sheet": Pose()})
        image = renderer.render(down, square(CameraPose((0.0, -1e-4, 2.0), (0.0, 0.0, 0.0), 28.0), 192))
        first = 192 / repeats
        corners = [
            image[int(192 - first + first * y), int(first * x)].tolist()
            for y, x in ((0.2, 0.2), (0.2, 0.8), (0.8, 0.2))
        ]
        assert [int(np.argmax(corner)) for corner in corners] == [0, 1, 2], "upper left red, upper right green"


def test_a_texture_finer_than_pixels_becomes_its_mean_and_not_noise() -> None:
    renderer = RasterRenderer(
        Scenery((floor(2.0),), textures={"fine": chessboard(256, 256), "coarse": chessboard(256, 4)})
    )
    far = square(CameraPose((0.0, -2.0, 2.5), (0.0, 0.0, 0.0), 30.0), 32)
    fine = renderer.render(Look({"floor": Material((1.0,) * 3, "fine")}, EVEN, {"floor": Pose()}), far).astype(float)
    assert fine[8:24, 8:24].std() < 2.0
    assert fine[16, 16, 0] == pytest.approx(255 * np.sqrt(0.5), abs=3), "half of the light"
    coarse = renderer.render(Look({"floor": Material((1.0,) * 3, "coarse")}, EVEN, {"floor": Pose()}), far)
    assert coarse[8:24, 8:24].std() > 60


def test_the_same_picture_comes_out_of_another_process() -> None:
    code = (
        "import sys, hashlib; sys.path.insert(0, 'tests/sim'); from raster_worlds import task_views\n"
        "from sim.raster.renderer import RasterRenderer\n"
        "scenery, views = task_views('push', 4); renderer = RasterRenderer(scenery); digest = hashlib.sha256()\n"
        "for poses, look, camera in views:\n"
        "    renderer.place(poses); digest.update(renderer.render(look, camera).tobytes())\n"
        "print(digest.hexdigest())"
    )
    elsewhere = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    scenery, views = task_views("push", 4)
    renderer, digest = RasterRenderer(scenery), hashlib.sha256()
    for poses, drawn, camera in views:
        renderer.place(poses)
        digest.update(renderer.render(drawn, camera).tobytes())
    assert elsewhere.stdout.strip() == digest.hexdigest()


def test_a_picture_leaves_no_memory_behind(renderer: RasterRenderer) -> None:
    drawn, camera = look(LAMP), square()
    renderer.render(drawn, camera)
    poses, kept = at(0.5, 0.0, 0.05), []
    tracemalloc.start()
    for _ in range(3):
        for _ in range(200):
            renderer.place(poses)
            renderer.render(drawn, camera)
        kept.append(tracemalloc.get_traced_memory()[0])
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert kept[2] - min(kept) < 40_000, "bytes; 200 pictures have 2,400,000"
    assert most < 150_000, "bytes: a picture at a time; the scratch of this scenery has 500,000"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Look({"floor": Material((1.0,) * 3)}, EVEN), ["'box'", "floor"]),
        (lambda: look(floor=Material((1.0,) * 3, "wood")), ["'floor'", "'wood'"]),
        (lambda: replace(look(), placed={"mug": Pose()}), ["'mug'", "floor, ball"]),
        (lambda: replace(look(), placed={"box": Pose()}), ["'box'", "floor, ball"]),
    ],
)
def test_a_look_that_does_not_fit_is_refused(renderer: RasterRenderer, make: Any, words: list[str]) -> None:
    with pytest.raises(ValueError, match=words[0]) as caught:
        renderer.render(make(), square())
    assert all(word in str(caught.value) for word in words)


def test_a_scenery_that_cannot_be_is_refused() -> None:
    box = Item("box", (Part(cube(0.1), "box"),))
    with pytest.raises(ValueError, match="2 items are named 'box', allowed: one"):
        Scenery((box, box))
    with pytest.raises(ValueError, match="moving names 'mug', allowed: box"):
        Scenery((box,), moving=("mug",))
    with pytest.raises(ValueError, match=r"texture 'wide' is \(64, 32, 3\), allowed"):
        Scenery((box,), textures={"wide": np.zeros((64, 32, 3), np.uint8)})
