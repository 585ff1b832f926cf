"""The lab's fixed rooms, and changes made alone: what they are, and that no training is given the lab."""

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sim
from deploy.settings.config import RunConfig
from deploy.settings.overrides import settings
from sim import CHANGES, DRAWN_DOMAINS, ROOMS, RandomisationConfig, SimConfig, VisualConfig, looks, make_env
from sim.domains import GROUPS, lab_room
from sim.factors import checked, visual_factors
from sim.tasks import TASKS
from sim.textures import KINDS, texture_names
from sim.visual import draw_visual

ROOT = Path(__file__).parents[2]
OBJECTS = TASKS["push"].objects
KNOWN = visual_factors(OBJECTS)


def draw(domain: str, seed: int = 0, config: VisualConfig = VisualConfig(), **more: Any) -> dict[str, Any]:  # noqa: B008
    return dict(draw_visual(config, domain, seed, 0, objects=OBJECTS, **more).factors)


@pytest.mark.parametrize("name", ROOMS)
def test_a_room_is_the_same_whatever_the_episode_and_the_settings_are(name: str) -> None:
    assert 6 <= len(ROOMS) <= 8
    assert checked(KNOWN, ROOMS[name].factors) == ROOMS[name].factors
    room = draw(f"lab:{name}")
    assert draw(f"lab:{name}", seed=9, config=VisualConfig(enabled=False)) == room
    assert all(room[factor] == value for factor, value in ROOMS[name].factors.items())


def test_the_seed_of_an_episode_chooses_its_room() -> None:
    rooms = [lab_room("lab", seed) for seed in range(100)]
    assert set(rooms) == set(ROOMS)
    assert rooms == [lab_room("lab", seed) for seed in range(100)]
    assert all(draw("lab", seed) == draw(f"lab:{room}", seed) for seed, room in enumerate(rooms[:20]))
    assert lab_room("train", 0) is None


def test_what_the_lab_is_made_of_is_in_no_other_domain() -> None:
    own = {name for kind in KINDS for name in texture_names(kind, "lab")}
    used = {value for room in ROOMS.values() for name, value in room.factors.items() if name.endswith(".texture")}
    assert used <= own | {"plain"}
    families = {name.rpartition("_")[0] for name in used if name[-1].isdigit()}
    unused = {name for name in own - used if name.rpartition("_")[0] not in families}
    assert not unused, "nothing is there that no room has, but for other variants of a pattern"
    assert {room.factors["things.of"] for room in ROOMS.values()} == {"lab"}
    for domain in DRAWN_DOMAINS:
        assert not own & {name for kind in KINDS for name in texture_names(kind, domain)}
        for seed in range(60):
            drawn = draw(domain, seed)
            assert drawn["things.of"] == domain
            assert not own & {value for value in drawn.values() if isinstance(value, str)}


def test_the_rooms_are_described_in_words() -> None:
    page = (ROOT / "docs" / "lab.md").read_text()
    assert [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")] == list(ROOMS)
    assert all(len(room.says) > 40 for room in ROOMS.values())


def test_the_things_of_the_rooms_are_those_that_the_page_says() -> None:
    """What was written down before says otherwise in places; the rooms stay as they were drawn all the same."""
    page = (ROOT / "docs" / "lab.md").read_text()
    said = {line.split("`")[1]: line.split("|")[3].strip() for line in page.splitlines() if line.startswith("| `")}
    for name in ROOMS:
        placed = looks._things(draw_visual(VisualConfig(), f"lab:{name}", 0, 0, objects=OBJECTS))
        assert said[name].partition(" (")[0] == ", ".join(placed)
        assert {pose.position[2] for pose in placed.values()} == {0.0}, "all on the table"


def test_no_setting_names_the_lab_and_worlds_are_of_training_unless_they_are_told_otherwise() -> None:
    """What workers play in is tested with them (tests/actors), and that `twist curve` refuses the lab with it."""
    assert inspect.signature(make_env).parameters["domain"].default == "train"
    assert not [key for key in settings(RunConfig) if "domain" in key or "lab" in key.split(".")]


def test_rooms_are_told_apart_by_their_pictures_and_dynamics_are_drawn_as_in_training() -> None:
    env: Any = make_env("reach", SimConfig())
    pictures = {}
    for name in ROOMS:
        observation, info = env.reset(seed=4, options={"domain": f"lab:{name}"})
        assert info["domain"] == f"lab:{name}"
        pictures[name] = observation["image"]
        train = env.reset(seed=4)[1]["randomisation"]
        assert info["randomisation"]["dynamics"] == train["dynamics"]
        assert info["randomisation"]["timing"] == train["timing"]
    env.close()
    names = list(ROOMS)
    for first in names:
        for second in names[: names.index(first)]:
            assert np.abs(pictures[first].astype(int) - pictures[second]).mean() > 10


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_alone_changes_what_it_names_and_nothing_else(name: str) -> None:
    change = CHANGES[name]
    assert change.says
    assert change.group in GROUPS
    given = checked(KNOWN, change.factors)
    for seed in range(5):
        plain, changed = draw("train", seed), draw(f"alone:{name}", seed)
        assert changed == {**plain, **given}
        assert draw(f"alone:{name}", seed, given={"table.value": 0.5})["table.value"] == 0.5, "by hand all the same"


def test_the_list_of_changes_has_what_a_student_fell_over() -> None:
    asked = {"wood", "brick", "hard_shadow", "warm_balance", "cold_balance", "high_gamma", "low_gamma", "mug_before"}
    assert asked | {"real_robot", "roll"} <= set(CHANGES)


def test_a_change_shows_where_nothing_is_drawn() -> None:
    env: Any = make_env("reach", SimConfig(randomisation=RandomisationConfig.off()))
    plain = env.reset(seed=1)[0]["image"].astype(int)
    for name in CHANGES:
        image = env.reset(seed=1, options={"domain": f"alone:{name}"})[0]["image"]
        assert np.abs(image - plain).max() > 8 or name == "soft_shadow", name
    env.close()


def test_domains_are_checked_by_name() -> None:
    for domain in ("train", "held_out", "lab", "held_out:light", "alone:wood", "lab:workshop"):
        assert sim.checked_domain(domain) == domain
