"""What is drawn: ranges, switches, seeds, and what the two visual domains do not share."""

import dataclasses
import functools
from typing import Any

import numpy as np
import pytest

from sim import (
    DRAWN_DOMAINS,
    DynamicsConfig,
    RandomisationConfig,
    SensingConfig,
    SimConfig,
    TimingConfig,
    VisualConfig,
    make_env,
)
from sim.camera import NOMINAL_CAMERA
from sim.colours import difference
from sim.factors import NONE, PLAIN, TaskObject, visual_factors
from sim.randomisation import DynamicsDraw, TimingDraw, draw_dynamics, draw_timing
from sim.tasks import TASKS
from sim.things import THINGS
from sim.visual import draw_visual
from sim.visual_world import VisualDraw, nominal_values, seen_colour

SEEDS = range(300)
OBJECTS = TASKS["push"].objects
SWITCHES = (
    *("surfaces", "textures", "room", "objects", "robot", "things", "lights", "shadows"),
    *("camera_position", "camera_aim", "camera_roll", "camera_lens"),
    *("noise", "blur", "exposure", "colour_balance", "jpeg"),
)


@functools.lru_cache(maxsize=8)
def draws(domain: str, config: VisualConfig = VisualConfig()) -> list[VisualDraw]:  # noqa: B008
    return [draw_visual(config, domain, seed, 0, objects=OBJECTS) for seed in SEEDS]


def only(switch: str, domain: str, seed: int = 3) -> VisualDraw:
    """A draw in which every factor but those of one switch is off."""
    switches = {name: name == switch for name in SWITCHES}
    config = VisualConfig(jpeg_share=1.0, **switches)  # type: ignore[arg-type]
    return draw_visual(config, domain, seed, 0, objects=OBJECTS)


def of(switch: str, draw: VisualDraw) -> dict[str, Any]:
    """What a switch's factors are."""
    return {name: draw.factors[name] for name, factor in FACTORS.items() if factor.switch == switch}


FACTORS = visual_factors(OBJECTS)


@pytest.mark.parametrize("switch", SWITCHES)
@pytest.mark.parametrize("domain", DRAWN_DOMAINS)
def test_each_visual_factor_can_be_switched_and_touches_nothing_else(switch: str, domain: str) -> None:
    drawn, nominal = only(switch, domain), nominal_values(OBJECTS)
    changed = {FACTORS[name].switch for name, value in drawn.factors.items() if value != nominal[name]}
    # Colours that are not drawn leave those that a texture has as they are.
    assert changed - ({"surfaces"} if switch == "textures" else set()) == {switch}
    if switch not in ("surfaces", "textures"):  # a table is drawn anew until goal and cube stand out from it
        everything = draw_visual(VisualConfig(jpeg_share=1.0), domain, 3, 0, objects=OBJECTS)
        assert of(switch, drawn) == of(switch, everything)


def test_every_switch_is_known_to_this_test_and_has_factors() -> None:
    switches = {entry.name for entry in dataclasses.fields(VisualConfig) if entry.type == "bool"}
    assert switches == {*SWITCHES, "enabled"}
    assert {factor.switch for factor in FACTORS.values()} == set(SWITCHES)


def test_groups_that_are_off_give_the_nominal_world() -> None:
    off = RandomisationConfig.off()
    assert draw_visual(off.visual, "held_out", 1, view=0) == VisualDraw()
    assert draw_dynamics(off.dynamics, 1) == DynamicsDraw()
    assert draw_timing(off.timing, 1) == TimingDraw()


def test_without_randomisation_two_episodes_differ_only_in_where_things_are() -> None:
    env = make_env("reach", SimConfig(randomisation=RandomisationConfig.off()))
    first, second = (env.reset(seed=seed) for seed in (1, 2))
    assert first[1]["randomisation"] == second[1]["randomisation"]
    assert not np.array_equal(first[0]["state"], second[0]["state"])
    share_of_equal_pixels = (first[0]["image"] == second[0]["image"]).all(axis=-1).mean()
    assert share_of_equal_pixels > 0.6
    env.close()


DYNAMICS = [entry.name for entry in dataclasses.fields(DynamicsDraw)]


@pytest.mark.parametrize("name", DYNAMICS)
def test_each_dynamics_factor_can_be_switched_and_stays_in_its_range(name: str) -> None:
    switch = name.rpartition("_")[0]
    others = dataclasses.replace(DynamicsConfig(), **{switch: False})  # type: ignore[arg-type]
    low, high = getattr(DynamicsConfig(), name)
    values = []
    for seed in SEEDS:
        drawn, without = draw_dynamics(DynamicsConfig(), seed), draw_dynamics(others, seed)
        values.append(getattr(drawn, name))
        assert dataclasses.replace(drawn, **{name: getattr(DynamicsDraw(), name)}) == without
    assert low <= min(values) < max(values) <= high
    assert max(values) - min(values) > 0.8 * (high - low)


def test_dynamics_factors_are_drawn_one_without_the_other() -> None:
    drawn = np.array([dataclasses.astuple(draw_dynamics(DynamicsConfig(), seed)) for seed in SEEDS])
    correlation = np.corrcoef(drawn.T) - np.eye(len(DYNAMICS))
    assert abs(correlation).max() < 0.25


@pytest.mark.parametrize("factor", ["action_delay", "camera_delay"])
def test_each_delay_can_be_switched_and_stays_in_its_range(factor: str) -> None:
    low, high = getattr(TimingConfig(), f"{factor}_s")
    values = [getattr(draw_timing(TimingConfig(), seed), f"{factor}_s") for seed in SEEDS]
    assert low <= min(values) < max(values) <= high
    off = TimingConfig(**{factor: False})  # type: ignore[arg-type]
    assert getattr(draw_timing(off, 0), f"{factor}_s") == 0.0


def test_held_frames_can_be_switched() -> None:
    assert draw_timing(TimingConfig(held_frames=False), 0).held_frame_probability == 0.0
    assert draw_timing(TimingConfig(), 0).held_frame_probability > 0.0


def test_domains_share_no_texture() -> None:
    found = {
        domain: {value for draw in draws(domain) for name, value in draw.factors.items() if name.endswith(".texture")}
        for domain in DRAWN_DOMAINS
    }
    assert found["train"] & found["held_out"] == {PLAIN}
    for textures in found.values():
        kinds = {str(name).partition("_")[0] for name in textures}
        assert {"wood", "stone", "photograph", "plain"} <= kinds


def test_domains_share_no_thing() -> None:
    for domain in DRAWN_DOMAINS:
        assert {draw.factors["things.of"] for draw in draws(domain)} == {domain}
        assert {draw.factors["things.before"] for draw in draws(domain)} == {NONE, *THINGS[domain]}


@pytest.mark.parametrize("domain", DRAWN_DOMAINS)
@pytest.mark.parametrize("name", ["table", "floor", "wall", "robot"])
def test_whatever_is_no_object_of_the_task_has_any_hue(name: str, domain: str) -> None:
    turns = {int(draw.number(f"{name}.hue_deg") // 45) for draw in draws(domain)}
    assert turns == set(range(8))


def test_domains_share_no_direction_of_light() -> None:
    quadrants = {
        domain: {
            int(draw.number(f"{lamp}.azimuth_deg") // 90) for draw in draws(domain) for lamp in ("light", "second")
        }
        for domain in DRAWN_DOMAINS
    }
    assert quadrants == {"train": {0, 2}, "held_out": {1, 3}}


def test_domains_share_no_camera_position_and_no_aim() -> None:
    for part in ("eye", "aim"):
        nominal = np.array(getattr(NOMINAL_CAMERA, part))
        offsets = {
            domain: [np.linalg.norm(np.array(getattr(draw.camera, part)) - nominal) for draw in draws(domain)]
            for domain in DRAWN_DOMAINS
        }
        assert max(offsets["train"]) < min(offsets["held_out"])
        assert max(offsets["held_out"]) < 0.09


@pytest.mark.parametrize("domain", DRAWN_DOMAINS)
def test_tasks_keep_the_hues_by_which_their_objects_are_recognised(domain: str) -> None:
    for draw in draws(domain):
        for thing in OBJECTS:
            hue = draw.number(f"{thing.name}.hue_deg")
            assert abs((hue - thing.hue_deg + 180) % 360 - 180) <= 8
            assert draw.number(f"{thing.name}.saturation") >= 0.8


def test_an_object_that_keeps_no_colour_has_any() -> None:
    hues = [
        draw_visual(VisualConfig(), "train", seed, 0, objects=[TaskObject("cube", None)]).number("cube.hue_deg")
        for seed in SEEDS
    ]
    assert {int(hue // 45) for hue in hues} == set(range(8))


@pytest.mark.parametrize("domain", DRAWN_DOMAINS)
def test_objects_stand_out_from_the_table_also_from_wood_of_their_own_hue(domain: str) -> None:
    least, warm = [], 0
    for draw in draws(domain):
        table = seen_colour(draw, "table", "")
        least.append(min(difference(seen_colour(draw, thing.name, ""), table) for thing in OBJECTS))
        warm += draw.word("table.texture").startswith("wood")
    assert min(least) >= VisualConfig().least_contrast
    assert warm > 0.15 * len(least)


def test_views_of_one_episode_are_draws_of_their_own() -> None:
    first, second = (draw_visual(VisualConfig(), "train", 5, view, objects=OBJECTS) for view in (0, 1))
    assert all(of(switch, first) != of(switch, second) for switch in SWITCHES)


def test_wider_ranges_are_drawn_from() -> None:
    config = VisualConfig(noise_levels=(10.0, 20.0), blur_px=(1.0, 1.5), light_elevation_deg=(80.0, 85.0))
    for draw in draws("train", config):
        assert 10 <= draw.sensor.noise_levels <= 20
        assert 1.0 <= draw.sensor.blur_px <= 1.5
        assert 80 <= draw.number("light.elevation_deg") <= 85


@pytest.mark.parametrize("domain", [*DRAWN_DOMAINS, "held_out:noise"])
def test_whatever_is_drawn_lies_in_the_space_of_its_factor(domain: str) -> None:
    for draw in draws(domain):
        assert list(draw.factors) == list(FACTORS)
        assert all(FACTORS[name].checked(value) == value for name, value in draw.factors.items())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: VisualConfig(blur_px=(0.0, 9.0)), ["VisualConfig", "blur_px", "9.0", "less than or equal to 2"]),
        (lambda: VisualConfig(blur_px=(1.0, 0.5)), ["VisualConfig", "blur_px", "(1.0, 0.5)", "low <= high"]),
        (lambda: VisualConfig(camera_position_m=0.5), ["camera_position_m", "0.5", "0.05"]),
        (lambda: VisualConfig(held_out_camera_aim_m=0.001), ["held_out_camera_aim_m", "0.001", "camera_aim_m"]),
        (lambda: DynamicsConfig(cube_mass_factor=(-1.0, 2.0)), ["cube_mass_factor", "-1.0", "0.2"]),
        (lambda: DynamicsConfig(lag_s=(0.0, 0.1)), ["lag_s", "0.0", "0.02"]),
        (lambda: DynamicsConfig(speed_share=(0.5, 1.5)), ["speed_share", "1.5", "less than or equal to 1"]),
        (lambda: SimConfig(physics_hz=125), ["physics_hz", "125", "control_hz"]),
        (lambda: SimConfig(image_size=0), ["image_size", "0", "16"]),
        (lambda: SimConfig(views=-1), ["views", "-1", "greater than or equal to 0"]),
        (lambda: SimConfig(max_step_m=float("nan")), ["max_step_m", "nan"]),
        (
            lambda: SimConfig(randomisation=RandomisationConfig(timing=TimingConfig(action_delay_s=(0.0, 0.5)))),
            ["action_delay_s", "0.5", "0.1"],
        ),
    ],
)
def test_impossible_settings_are_refused_with_name_value_and_what_is_allowed(make: Any, words: list[str]) -> None:
    with pytest.raises(ValueError) as caught:
        make()
    assert all(word in str(caught.value) for word in words)


def test_a_state_with_errors_is_wrong_by_the_same_all_episode_and_reward_is_the_truths() -> None:
    config = SimConfig(image_size=16)
    true, wrong = (make_env("push", config, views=0, state_errors=errors) for errors in (False, True))
    names = true.unwrapped.state_names  # type: ignore[attr-defined]
    before, info = true.reset(seed=3)
    after, wrong_info = wrong.reset(seed=3)
    drawn = wrong_info["randomisation"]["sensing"]["position_error_m"]
    assert info["randomisation"]["sensing"]["position_error_m"] == {}
    assert 0.0 < max(abs(error) for pair in drawn.values() for error in pair) <= 0.02
    for _ in range(3):
        difference = dict(zip(names, (after["state"] - before["state"]).tolist(), strict=True))
        for axis, index in (("x", 0), ("y", 1)):
            for body in ("gripper", "cube", "goal"):
                assert difference[f"{body}_{axis}_m"] == pytest.approx(drawn[body][index], abs=1e-6)
            relative = drawn["cube"][index] - drawn["gripper"][index]
            assert difference[f"cube_from_gripper_{axis}_m"] == pytest.approx(relative, abs=1e-6)
            assert difference[f"goal_from_cube_{axis}_m"] == pytest.approx(
                drawn["goal"][index] - drawn["cube"][index], abs=1e-6
            )
            assert difference[f"target_from_gripper_{axis}_m"] == 0.0, "who is told to go somewhere knows how far"
        others = [name for name in names if "_z_m" in name or name.endswith("_per_s")]
        assert {difference[name] for name in others} == {0.0}
        action = np.array([1.0, -0.5], np.float32)
        before, reward, *_ = true.step(action)
        after, wrong_reward, *_ = wrong.step(action)
        assert reward == wrong_reward


def test_errors_of_the_state_can_be_switched_off() -> None:
    config = SimConfig(randomisation=RandomisationConfig(sensing=SensingConfig(enabled=False)))
    _, info = make_env("push", config, views=0, state_errors=True).reset(seed=3)
    assert info["randomisation"]["sensing"]["position_error_m"] == {}
