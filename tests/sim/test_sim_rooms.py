"""Rooms: what stands where, factors that are set by hand, and a user's own pictures."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from PIL import Image

from sim import DOMAINS, DRAWN_DOMAINS, TASKS, RandomisationConfig, SimConfig, VisualConfig, make_env
from sim.camera import TABLE_CAMERA
from sim.factors import Factor, visual_factors
from sim.looks import look_of
from sim.rooms import room_items
from sim.scenery import Item
from sim.things import ALL_THINGS, thing_items
from sim.visual import draw_visual

OFF = SimConfig(randomisation=RandomisationConfig.off())


@pytest.fixture(scope="module")
def env() -> Any:
    env: Any = make_env("push", OFF)
    yield env
    env.close()


def image(env: Any, **factors: Any) -> Any:
    named = {name.replace("__", "."): value for name, value in factors.items()}
    return env.reset(seed=4, options={"factors": named})[0]["image"].astype(int)


@pytest.mark.parametrize("item", [*room_items(), *thing_items()], ids=lambda item: item.name)
def test_shapes_face_outwards(item: Item) -> None:
    for part in item.parts:
        mesh = part.mesh
        first, second, third = (mesh.vertices[mesh.triangles[:, k]] for k in range(3))
        faces = np.cross(second - first, third - first)
        assert np.linalg.norm(faces, axis=1).min() > 0
        assert (np.einsum("ij,ij->i", faces, mesh.normals[mesh.triangles[:, 0]]) > 0).all()
        if item.name in ALL_THINGS:  # closed, all around: the volume is positive
            assert np.einsum("ij,ij->i", first, faces).sum() > 0
            assert mesh.vertices[:, 2].min() >= 0, "it stands on its origin"


def test_things_keep_out_of_the_workspace_and_one_may_stand_before_it(env: Any) -> None:
    shown, before = 0, 0
    for seed in range(200):
        draw = draw_visual(VisualConfig(), DRAWN_DOMAINS[seed % 2], seed, 0, TABLE_CAMERA, env.task.objects)
        placed = {name: pose for name, pose in look_of(draw, env.scenery).placed.items() if name in ALL_THINGS}
        shown += len(placed)
        for name, pose in placed.items():
            x, y, z = pose.position
            if name == draw.word("things.before"):
                before += 1
                assert y > 0.15, "between camera and workspace"
            else:
                assert not (0.24 < x < 0.76 and -0.27 < y < 0.27)
                assert z in (0.0, -draw.number("room.floor_depth_m"))
    assert shown > 300
    assert 5 < before < 60


@pytest.mark.parametrize("task", TASKS)
def test_the_spaces_of_the_factors_are_gymnasiums_and_what_they_hold_can_be_set(task: str) -> None:
    env: Any = make_env(task, OFF)
    assert isinstance(env.factor_space, spaces.Dict)
    env.factor_space.seed(0)
    for seed in range(5):
        sample = env.factor_space.sample()
        _, info = env.reset(seed=seed, options={"factors": sample})
        (told,) = info["randomisation"]["visual"]
        for name, factor in env.factors.items():
            expected = factor.checked(sample[name])
            assert told[name] == (pytest.approx(expected, abs=1e-5) if not isinstance(expected, str) else expected)
    env.close()


def test_a_factor_that_is_set_changes_what_is_seen_and_no_other_factor(env: Any) -> None:
    plain, wood = image(env), image(env, table__texture="wood_oak", table__saturation=0.0, table__value=1.0)
    shown = env.segment() == [item.name for item in env.scenery.items].index("table.bench")
    assert (np.abs(wood - plain).sum(axis=-1)[shown] > 20).mean() > 0.9
    assert (wood[shown][:, 0] - wood[shown][:, 2] > 30).mean() > 0.9, "brown"
    assert np.percentile(np.abs(wood - plain)[~shown], 95) < 40, "but for edges, and the light that the table sends up"
    full: Any = make_env("push", SimConfig())
    drawn = full.reset(seed=9)[1]["randomisation"]
    given = full.reset(seed=9, options={"factors": {"light.temperature_k": 2000.0}})[1]["randomisation"]
    assert given["visual"][0].pop("light.temperature_k") == 2000.0
    assert drawn["visual"][0].pop("light.temperature_k") != 2000.0
    assert given == drawn
    full.close()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("table__value", 0.1),
        ("wall__hue_deg", 0.0),
        ("floor__texture", "photograph_brick"),
        ("table__shape", "round"),
        ("room__wall_back_m", 0.5),
        ("goal__value", 0.5),
        ("cube__texture", "checker_1"),
        ("robot__hue_deg", 120.0),
        ("room__back", "door"),
        ("skirting__value", 0.1),
        ("things__before", "mug"),
        ("things__count", 5),
        ("light__azimuth_deg", 300.0),
        ("light__temperature_k", 2000.0),
        ("second__strength", 0.5),
        ("camera__position_m", (0.05, 0.0, 0.0)),
        ("camera__roll_deg", 10.0),
        ("camera__field_of_view_deg", 10.0),
        ("camera__principal_point", (0.1, 0.0)),
        ("sensor__noise_levels", 10.0),
        ("sensor__blur_px", 1.0),
        ("sensor__motion_px", 3.0),
        ("sensor__exposure_stops", 1.0),
        ("sensor__gamma", 1.5),
        ("sensor__least_brightness", 0.6),
        ("sensor__vignette", 0.5),
        ("sensor__red_gain", 1.25),
        ("sensor__saturation", 0.3),
        ("sensor__jpeg_quality", 20.0),
    ],
)
def test_every_kind_of_factor_can_be_seen(env: Any, name: str, value: Any) -> None:
    base: dict[str, Any] = {
        "robot__saturation": 0.4, "table__shape": "desk", "things__layout": 5, "wall__saturation": 0.7,
        "room__floor_depth_m": 0.3, "camera__field_of_view_deg": 30.0,
    }  # fmt: skip
    changed = image(env, **{**base, name: value}) != image(env, **base)
    assert changed.any(axis=-1).mean() > 0.002


def test_no_picture_is_nearly_black() -> None:
    env: Any = make_env("lift", SimConfig())
    means = [
        env.reset(seed=seed, options={"domain": DOMAINS[seed % len(DOMAINS)]})[0]["image"].mean() for seed in range(60)
    ]
    env.close()
    assert min(means) > 35


def test_a_table_stands_on_legs_and_throws_its_shadow_on_the_floor(env: Any) -> None:
    wide = {"camera__field_of_view_deg": 45.0, "camera__principal_point": (0.0, -0.2), "table__shape": "bench"}
    lamp = {"light__azimuth_deg": 230.0, "light__elevation_deg": 60.0, "light__diffuse": 0.6, "light__spread": 0.0}
    pictures = [image(env, **wide, **lamp, light__shadows=shadows) for shadows in (1, 0)]
    floor = env.segment() == [item.name for item in env.scenery.items].index("floor")
    darker = (pictures[1] - pictures[0]).sum(axis=-1)
    assert 0.1 < (darker[floor] > 20).mean() < 0.9
    plain, black = (image(env, **wide, legs__value=value) for value in (0.9, 0.0))
    assert (np.abs(plain - black).max(axis=-1) > 40).sum() > 20


def test_shadows_are_seen(env: Any) -> None:
    with_shadows = image(env, light__shadows=1, light__elevation_deg=50.0)
    without = image(env, light__elevation_deg=50.0)
    darker = without - with_shadows
    assert (darker > 15).any(axis=-1).mean() > 0.03
    assert darker.min() >= 0


@pytest.mark.parametrize(
    ("factors", "words"),
    [
        ({"table.color": 1}, ["factor is 'table.color'", "table.texture"]),
        ({"table.texture": "gold"}, ["factor table.texture is 'gold'", "wood_oak"]),
        ({"table.texture": 10_000}, ["factor table.texture is 10000"]),
        ({"light.ambient": 1.5}, ["factor light.ambient is 1.5", "0 to 1"]),
        ({"light.ambient": float("nan")}, ["factor light.ambient is nan"]),
        ({"light.ambient": "bright"}, ["factor light.ambient is 'bright'"]),
        ({"camera.aim_m": 0.01}, ["factor camera.aim_m is 0.01", "3 numbers, -0.1 to 0.1"]),
        ({"things.count": 1.5}, ["factor things.count is 1.5", "whole number"]),
    ],
)
def test_what_is_no_factor_or_no_value_is_refused_in_one_line(env: Any, factors: Any, words: list[str]) -> None:
    with pytest.raises(ValueError, match="allowed") as caught:
        env.reset(seed=0, options={"factors": factors})
    assert all(word in str(caught.value) for word in words)
    assert "\n" not in str(caught.value)


def test_factors_say_what_they_are() -> None:
    factors = visual_factors()
    assert all(isinstance(factor, Factor) and factor.says and factor.allowed for factor in factors.values())
    assert len({factor.says for factor in factors.values()}) == len(factors)


def test_a_users_pictures_lie_on_tables_of_training_and_never_of_the_held_out_domain(tmp_path: Path) -> None:
    for index, colour in enumerate(((255, 0, 255), (0, 255, 255))):
        Image.new("RGB", (90, 60 + index), colour).save(tmp_path / f"{index}.png")
    (tmp_path / "notes.txt").write_text("no picture")
    visual = VisualConfig(pictures=str(tmp_path), texture_plain=0.0, texture_wood=0.0)
    env: Any = make_env("reach", SimConfig(randomisation=RandomisationConfig(visual=visual)))
    seen = {domain: set() for domain in DRAWN_DOMAINS}
    for seed in range(120):
        drawn = env.reset(seed=seed, options={"domain": DRAWN_DOMAINS[seed % 2]})[1]["randomisation"]["visual"][0]
        seen[DRAWN_DOMAINS[seed % 2]].add(drawn["table.texture"])
    assert {"own_0.png", "own_1.png"} <= seen["train"]
    assert not any(name.startswith("own_") for name in seen["held_out"])
    picture = env.reset(seed=0, options={"factors": {"table.texture": "own_1.png", "table.value": 1.0}})[0]["image"]
    assert picture.shape == (64, 64, 3)
    env.close()


def test_a_folder_is_read_where_a_view_may_show_its_pictures_and_nowhere_else(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), (255, 0, 255)).save(tmp_path / "0.png")
    there, gone, none = (
        SimConfig(image_size=16, randomisation=RandomisationConfig(visual=VisualConfig(pictures=str(folder or ""))))
        for folder in (tmp_path, tmp_path / "gone", None)
    )
    for domain in ("held_out", "held_out:light,textures", "lab", "lab:workshop"):
        seen = []
        for config in (there, gone, none):
            env: Any = make_env("reach", config, domain=domain)
            seen.append(env.reset(seed=3)[0]["image"])
            assert not [name for name in env.scenery.textures if name.startswith("own_")]
            env.close()
        assert np.array_equal(seen[0], seen[1])
        assert np.array_equal(seen[0], seen[2])
    for domain in ("train", "held_out:light", "alone:wood"):
        with pytest.raises(ValueError, match="visual.pictures"):
            make_env("reach", gone, domain=domain)
    env = make_env("reach", gone, domain="lab")
    with pytest.raises(ValueError, match="visual.pictures"):
        env.reset(seed=0, options={"domain": "train"})
    env.close()


def test_an_environment_of_another_domain_that_plays_in_training_worlds_shows_them(tmp_path: Path) -> None:
    for index in range(8):
        Image.new("RGB", (64, 64), (255, 30 * index, 255)).save(tmp_path / f"{index}.png")
    visual = VisualConfig(pictures=str(tmp_path), texture_plain=0.0, texture_wood=0.0, texture_photograph=1.0)
    config = SimConfig(image_size=16, randomisation=RandomisationConfig(visual=visual))
    usual, other = make_env("reach", config), make_env("reach", config, domain="lab")
    other.reset(seed=0)
    own = 0
    for seed in range(12):
        one = usual.reset(seed=seed)
        again = other.reset(seed=seed, options={"domain": "train"})
        assert one[1]["randomisation"] == again[1]["randomisation"]
        assert np.array_equal(one[0]["image"], again[0]["image"])
        own += any(str(value).startswith("own_") for value in one[1]["randomisation"]["visual"][0].values())
    assert own > 3
    usual.close()
    other.close()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path / "missing", ["is no", "missing"]),
        (lambda path: path, ["0 pictures", "1 to 256"]),
    ],
)
def test_a_folder_without_pictures_is_refused_in_one_line(tmp_path: Path, make: Any, words: list[str]) -> None:
    visual = VisualConfig(pictures=str(make(tmp_path)))
    with pytest.raises(ValueError, match="visual.pictures") as caught:
        make_env("reach", SimConfig(randomisation=RandomisationConfig(visual=visual)))
    assert words[-1] in str(caught.value)


def test_a_file_that_is_no_picture_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_text("no picture")
    visual = VisualConfig(pictures=str(tmp_path))
    with pytest.raises(ValueError, match=r"broken\.png is no picture"):
        make_env("reach", SimConfig(randomisation=RandomisationConfig(visual=visual)))
