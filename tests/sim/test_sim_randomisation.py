"""What is drawn: ranges, switches, seeds, and what the two visual domains do not share."""

import colorsys
import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest

from sim import (
    DOMAINS,
    DynamicsConfig,
    RandomisationConfig,
    SensingConfig,
    SimConfig,
    TimingConfig,
    VisualConfig,
    make_env,
)
from sim.camera import NOMINAL_CAMERA, Sensor
from sim.randomisation import (
    DynamicsDraw,
    TimingDraw,
    VisualDraw,
    draw_dynamics,
    draw_timing,
    draw_visual,
)

SEEDS = range(300)
SCENERY = ("table", "floor", "background", "arm", "hand", "fingers")
VISUAL_FACTORS = (
    "table",
    "floor",
    "background",
    "robot",
    "objects",
    "textures",
    "lights",
    "camera_position",
    "camera_aim",
    "camera_field_of_view",
    "noise",
    "blur",
    "colour_shift",
)


def draws(domain: str, config: VisualConfig | None = None) -> list[VisualDraw]:
    return [draw_visual(config or VisualConfig(), domain, seed, view=0) for seed in SEEDS]


def hue_deg(colour: tuple[float, float, float]) -> float:
    return 360 * colorsys.rgb_to_hsv(*colour)[0]


def only(factor: str, domain: str = "train") -> VisualDraw:
    """A draw in which every factor but one is off."""
    switches = {name: name == factor for name in VISUAL_FACTORS}
    return draw_visual(VisualConfig(**switches), domain, 3, view=0)  # type: ignore[arg-type]


def parts(draw: VisualDraw) -> dict[str, Any]:
    """What each factor decides."""
    colours = {name: surface.colour for name, surface in draw.surfaces.items()}
    return {
        "table": colours["table"],
        "floor": colours["floor"],
        "background": colours["background"],
        "robot": (colours["arm"], colours["hand"], colours["fingers"]),
        "objects": (colours["goal"], colours["cube"]),
        "textures": tuple(surface.texture for surface in draw.surfaces.values()),
        "lights": draw.light,
        "camera_position": draw.camera.eye,
        "camera_aim": draw.camera.aim,
        "camera_field_of_view": draw.camera.field_of_view_deg,
        "noise": draw.sensor.noise_levels,
        "blur": draw.sensor.blur_px,
        "colour_shift": (draw.sensor.gain, draw.sensor.offset_levels),
    }


@pytest.mark.parametrize("factor", VISUAL_FACTORS)
@pytest.mark.parametrize("domain", DOMAINS)
def test_each_visual_factor_can_be_switched_and_touches_nothing_else(factor: str, domain: str) -> None:
    nominal, drawn = parts(VisualDraw()), parts(only(factor, domain))
    everything = parts(draw_visual(VisualConfig(), domain, 3, view=0))
    assert {name for name in VISUAL_FACTORS if drawn[name] != nominal[name]} == {factor}
    if factor != "robot":  # whose brightness keeps away from the table's
        assert drawn[factor] == everything[factor], "a factor draws the same, whichever others are on"


def test_every_switch_is_known_to_this_test() -> None:
    switches = {entry.name for entry in dataclasses.fields(VisualConfig) if entry.type == "bool"}
    assert switches == {*VISUAL_FACTORS, "enabled", "shadows"}


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


@pytest.mark.parametrize("factor", ["mass", "friction", "damping", "controller_gain", "controller_force"])
def test_each_dynamics_factor_can_be_switched_and_stays_in_its_range(factor: str) -> None:
    others = dataclasses.replace(DynamicsConfig(), **{factor: False})  # type: ignore[arg-type]
    low, high = getattr(DynamicsConfig(), f"{factor}_factor")
    values = []
    for seed in SEEDS:
        drawn, without = draw_dynamics(DynamicsConfig(), seed), draw_dynamics(others, seed)
        values.append(getattr(drawn, f"{factor}_factor"))
        assert dataclasses.replace(drawn, **{f"{factor}_factor": 1.0}) == without
    assert low <= min(values) < max(values) <= high
    assert max(values) - min(values) > 0.8 * (high - low)


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


def test_domains_share_no_texture_family() -> None:
    families = {
        domain: {
            surface.texture.rsplit("_", 1)[0]
            for draw in draws(domain)
            for surface in draw.surfaces.values()
            if surface.texture
        }
        for domain in DOMAINS
    }
    assert all(len(family) == 4 for family in families.values())
    assert not families["train"] & families["held_out"]


def test_domains_share_no_hue() -> None:
    hues = {
        domain: {round(hue_deg(draw.surfaces[name].colour), 3) for draw in draws(domain) for name in SCENERY}
        for domain in DOMAINS
    }
    bands = sorted((hue, domain) for domain in DOMAINS for hue in hues[domain])
    changes = sum(first[1] != second[1] for first, second in itertools.pairwise(bands))
    assert changes == 3, "two bands of each domain, side by side"


def test_domains_share_no_direction_of_light() -> None:
    quadrants = {
        domain: {int(np.degrees(np.arctan2(*draw.light.direction[1::-1])) % 360 // 90) for draw in draws(domain)}
        for domain in DOMAINS
    }
    assert quadrants == {"train": {0, 2}, "held_out": {1, 3}}


def test_domains_share_no_camera_position_and_no_aim() -> None:
    for part in ("eye", "aim"):
        nominal = np.array(getattr(NOMINAL_CAMERA, part))
        offsets = {
            domain: [np.linalg.norm(np.array(getattr(draw.camera, part)) - nominal) for draw in draws(domain)]
            for domain in DOMAINS
        }
        assert max(offsets["train"]) < min(offsets["held_out"])
        assert max(offsets["held_out"]) < 0.09


@pytest.mark.parametrize("domain", DOMAINS)
def test_red_and_yellow_belong_to_goal_and_cube(domain: str) -> None:
    for draw in draws(domain):
        assert min(hue_deg(draw.surfaces["goal"].colour), 360 - hue_deg(draw.surfaces["goal"].colour)) < 10
        assert 40 < hue_deg(draw.surfaces["cube"].colour) < 65
        for name in SCENERY:
            assert 80 < hue_deg(draw.surfaces[name].colour) < 300


@pytest.mark.parametrize("domain", DOMAINS)
@pytest.mark.parametrize("task", ["reach", "push"])
def test_the_goal_is_the_reddest_thing_in_every_image(task: str, domain: str) -> None:
    env: Any = make_env(task, SimConfig())
    margins = []
    for seed in range(60):
        image = env.reset(seed=seed, options={"domain": domain})[0]["image"].astype(int)
        names = np.array([item.name for item in env.scenery.items])
        shown = names[env.segment()]
        goal, cube = shown == "goal", shown == "cube"
        if goal.sum() < 12:
            continue  # hidden behind the hand
        redness = image[..., 0] - image[..., 1:].max(axis=-1)
        margins.append(np.median(redness[goal]) - redness[~goal & ~cube].max())
    assert len(margins) > 45
    assert np.mean(np.array(margins) > 0) > 0.95
    env.close()


@pytest.mark.parametrize("domain", DOMAINS)
def test_the_gripper_stands_out_against_the_table(domain: str) -> None:
    for draw in draws(domain):
        table, hand = (max(draw.surfaces[name].colour) for name in ("table", "hand"))
        assert abs(table - hand) > 0.15


def test_views_of_one_episode_are_draws_of_their_own() -> None:
    first, second = (draw_visual(VisualConfig(), "train", 5, view) for view in (0, 1))
    assert all(parts(first)[name] != parts(second)[name] for name in VISUAL_FACTORS if name != "textures")


def test_wider_ranges_are_drawn_from() -> None:
    config = VisualConfig(noise_levels=(10.0, 20.0), blur_px=(1.0, 1.5), light_elevation_deg=(80.0, 85.0))
    for draw in draws("train", config):
        assert 10 <= draw.sensor.noise_levels <= 20
        assert 1.0 <= draw.sensor.blur_px <= 1.5
        assert draw.light.direction[2] > np.sin(np.radians(79.9))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: VisualConfig(blur_px=(0.0, 9.0)), ["VisualConfig", "blur_px", "9.0", "less than or equal to 2"]),
        (lambda: VisualConfig(blur_px=(1.0, 0.5)), ["VisualConfig", "blur_px", "(1.0, 0.5)", "low <= high"]),
        (lambda: VisualConfig(camera_position_m=0.5), ["camera_position_m", "0.5", "0.05"]),
        (lambda: VisualConfig(held_out_camera_aim_m=0.001), ["held_out_camera_aim_m", "0.001", "camera_aim_m"]),
        (lambda: DynamicsConfig(mass_factor=(-1.0, 2.0)), ["mass_factor", "-1.0", "0.2"]),
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


def test_the_sensor_blurs_shifts_and_adds_noise() -> None:
    rng = np.random.default_rng(0)
    picture = np.zeros((32, 32, 3), np.uint8)
    picture[:, 16:] = 200
    assert np.array_equal(Sensor().expose(picture, rng), picture)
    blurred = Sensor(blur_px=1.0).expose(picture, rng)
    assert 0 < blurred[0, 15, 0] < blurred[0, 16, 0] < 200
    assert np.array_equal(blurred[:, :8], picture[:, :8])
    shifted = Sensor(gain=(0.5, 1.0, 2.0), offset_levels=(10.0, 0.0, 0.0)).expose(picture, rng)
    assert shifted[0, 31].tolist() == [110, 200, 255]
    noisy = Sensor(noise_levels=5.0).expose(np.full((64, 64, 3), 128, np.uint8), rng).astype(float)
    assert abs(noisy.std() - 5.0) < 0.3
    again = Sensor(noise_levels=5.0).expose(np.full((64, 64, 3), 128, np.uint8), rng)
    assert not np.array_equal(noisy, again)


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
