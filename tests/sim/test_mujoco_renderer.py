"""MuJoCo's renderer behind ours: the same things in the same places, in another light."""

import ctypes.util
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from raster_worlds import EVEN, LAMP, at, box_on_a_floor, look, square, task_views

from sim import SimConfig, make_env
from sim.panda_parts import PALETTE
from sim.raster.renderer import RasterRenderer
from sim.scenery import Light, Look, Material, Part, Scenery
from sim.stock_panda import in_full_detail

pytest.importorskip("mujoco", reason="MuJoCo is not installed")
from sim.mujoco_renderer import MujocoRenderer  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def opengl() -> None:
    try:
        MujocoRenderer(box_on_a_floor()).close()
    except OSError as error:
        pytest.skip(str(error))


def both(scenery: Scenery) -> Iterator[Any]:
    return (renderer(scenery) for renderer in (MujocoRenderer, RasterRenderer))


def inner(shown: Any) -> Any:
    """Pixels whose eight neighbours show the same item; the image's rim is none."""
    same = np.zeros(shown.shape, np.bool_)
    middle = shown[1:-1, 1:-1]
    same[1:-1, 1:-1] = True
    for down in range(3):
        for across in range(3):
            same[1:-1, 1:-1] &= shown[down : down + middle.shape[0], across : across + middle.shape[1]] == middle
    return same


@pytest.mark.parametrize("task", ["push", "lift"])
def test_both_renderers_see_the_same_items_at_the_same_depth_through_any_camera(task: str) -> None:
    scenery, views = task_views(task, 8)
    theirs, ours = both(scenery)
    for poses, drawn, camera in views:
        theirs.place(poses)
        ours.place(poses)
        seen, expected = theirs.segment(drawn, camera), ours.segment(drawn, camera)
        away = inner(expected)
        assert (seen == expected)[away].mean() > 0.999
        assert (seen == expected).mean() > 0.99
        agreed = away & (seen == expected) & (expected >= 0)
        difference = np.abs(theirs.depth(drawn, camera)[agreed] - ours.depth(drawn, camera)[agreed])
        assert np.median(difference) < 1e-4
    theirs.close()


def test_both_show_the_same_colours_where_light_is_even() -> None:
    pictures, shown = [], None
    for renderer in both(box_on_a_floor()):
        renderer.place(at(0.5, 0.0, 0.05))
        pictures.append(renderer.render(look(), square()).astype(float))
        shown = renderer.segment(look(), square())
    for item in range(3):
        theirs, ours = (np.median(picture[inner(shown) & (shown == item)], axis=0) for picture in pictures)
        assert theirs == pytest.approx(ours, abs=4)


def test_a_surface_that_faces_a_coloured_lamp_shows_what_the_light_says() -> None:
    light = Light((0.0, 0.0, 1.0), (1.0, 0.8, 0.5), ambient=0.4, diffuse=0.5, specular=0.0, shadows=False)
    shades = []
    for renderer in both(box_on_a_floor()):
        renderer.place(at(0.5, 0.0, 0.05))
        shades.append(np.median(renderer.render(look(light), square())[50:, 20:44], axis=(0, 1)))
    assert shades[0] == pytest.approx(shades[1], abs=4)
    assert shades[0][0] > shades[0][1] + 10 > shades[0][2] + 20


@pytest.mark.parametrize(("scale", "turn_deg"), [(1.0, 0.0), (0.5, 0.0), (0.6, 30.0)])
def test_textures_lie_as_materials_say(scale: float, turn_deg: float) -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:32, :32], picture[:32, 32:], picture[32:, :32] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    scenery = box_on_a_floor(textures={"flag": picture})
    floor = Material((1.0, 1.0, 1.0), "flag", scale=scale, turn_deg=turn_deg)
    pictures = []
    for renderer in both(scenery):
        renderer.place(at(5.0, 0.0, 0.05))
        pictures.append(renderer.render(look(floor=floor), square(size=96)).astype(float))
        renderer.render(look(), square())  # another look in between changes nothing
        assert np.array_equal(renderer.render(look(floor=floor), square(size=96)), pictures[-1])
    assert np.abs(pictures[0] - pictures[1]).mean() < 6
    assert np.median(np.abs(pictures[0] - pictures[1])) < 2


def test_what_the_lamp_does_not_reach_is_in_shadow_and_not_black() -> None:
    renderer = MujocoRenderer(box_on_a_floor())
    renderer.place(at(0.5, 0.0, 0.15))
    lit, dark = (
        renderer.render(look(replace(LAMP, shadows=shadows)), square(size=128)).astype(float)
        for shadows in (False, True)
    )
    fallen = (lit - dark).mean(axis=2) > 20
    assert 200 < fallen.sum() < 4000
    assert dark[fallen].mean() > 30
    assert np.abs(lit - dark)[~fallen].mean() < 1


def test_what_need_not_cast_a_shadow_casts_none() -> None:
    scenery = box_on_a_floor()
    box = replace(scenery.items[1], casts_shadow=False)
    renderer = MujocoRenderer(replace(scenery, items=(scenery.items[0], box, scenery.items[2])))
    renderer.place(at(0.5, 0.0, 0.15))
    ball_away = look(LAMP)
    ball_away = Look(ball_away.materials, LAMP, {"floor": ball_away.placed["floor"]})
    unlit = Look(ball_away.materials, replace(LAMP, shadows=False), ball_away.placed)
    difference = renderer.render(ball_away, square()).astype(int) - renderer.render(unlit, square())
    assert np.abs(difference).max() <= 2


def test_where_nothing_is_the_backdrop_shows() -> None:
    renderer = MujocoRenderer(box_on_a_floor())
    renderer.place(at(0.5, 0.0, 0.05))
    for colour in ((1.0, 1.0, 1.0), (0.2, 0.4, 0.6)):
        drawn = Look(look().materials, EVEN, {}, backdrop=colour)
        seen, picture = renderer.segment(drawn, square()), renderer.render(drawn, square())
        assert picture[seen < 0].mean(axis=0) == pytest.approx(255 * np.array(colour), abs=2)
        assert np.isinf(renderer.depth(drawn, square())[seen < 0]).all()


def test_a_sheet_is_seen_from_behind_where_it_has_two_sides() -> None:
    scenery = box_on_a_floor()
    below = replace(square(), pose=replace(square().pose, eye=(0.45, -0.7, -0.8)))
    for two_sided in (False, True):
        sheet = replace(scenery.items[0], parts=(replace(scenery.items[0].parts[0], two_sided=two_sided),))
        renderer = MujocoRenderer(replace(scenery, items=(sheet, *scenery.items[1:])))
        renderer.place(at(0.5, 0.0, 0.05))
        assert ((renderer.segment(look(), below) == 0).mean() > 0.2) == two_sided


def test_renderers_of_one_scenery_do_not_disturb_each_other() -> None:
    one, other = MujocoRenderer(box_on_a_floor()), MujocoRenderer(box_on_a_floor())
    one.place(at(0.5, 0.0, 0.05))
    alone = one.render(look(LAMP), square())
    other.place(at(0.4, 0.1, 0.2))
    other.render(look(box=Material((0.0, 1.0, 0.0))), square(size=200))
    assert np.array_equal(one.render(look(LAMP), square()), alone)
    other.close()
    assert np.array_equal(one.render(look(LAMP), square()), alone)


def test_a_pose_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="the pose of box is not finite"):
        MujocoRenderer(box_on_a_floor()).place(at(float("nan"), 0.0, 0.0))


def test_the_robot_has_its_stock_meshes_and_keeps_names_and_slots() -> None:
    env: Any = make_env("reach", SimConfig(), views=0)
    full = in_full_detail(env.scenery)
    assert [item.name for item in full.items] == [item.name for item in env.scenery.items]
    assert set(full.slots) == set(env.scenery.slots)
    triangles = {item.name: sum(len(part.mesh.triangles) for part in item.parts) for item in full.items}
    assert sum(count for name, count in triangles.items() if name.startswith("panda")) > 80_000
    assert {part.slot.partition(".")[2] for item in full.items for part in item.parts} >= set(PALETTE)
    assert isinstance(full.items[0].parts[0], Part)
    env.close()


def test_an_environment_is_drawn_by_it_and_says_so() -> None:
    env: Any = make_env("lift", SimConfig(image_size=48).in_world("mujoco"), views=2)
    observation, info = env.reset(seed=3)
    assert info["renderer"] == "mujoco-opengl"
    assert observation["image"].shape == (2, 48, 48, 3)
    assert observation["image"].std() > 10
    again, _ = env.reset(seed=3)
    assert np.array_equal(observation["image"], again["image"])
    env.close()


def test_without_opengl_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)
    with pytest.raises(OSError, match="cannot draw: .*apt-get install libosmesa6") as caught:
        MujocoRenderer(box_on_a_floor(radius_m=0.7))
    assert "\n" not in str(caught.value)
    monkeypatch.setitem(os.environ, "MUJOCO_GL", "vulkan")
    with pytest.raises(ValueError, match="'vulkan', allowed: osmesa, egl, glfw"):
        MujocoRenderer(box_on_a_floor(radius_m=0.7))
