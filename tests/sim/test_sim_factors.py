"""Groups of factors held out one by one: what each changes and nothing else; the two domains are as before."""

import dataclasses
from typing import Any

import numpy as np
import pytest

import sim
from sim import GROUPS, RandomisationConfig, SimConfig, TimingConfig, VisualConfig, make_env
from sim.camera import NOMINAL_CAMERA
from sim.factors import visual_factors
from sim.randomisation import EpisodeDraw, draw_dynamics, draw_timing
from sim.tasks import TASKS
from sim.visual import draw_visual

SEEDS = range(60)
PERIOD_S = 0.1


def draw(domain: str, seed: int, config: RandomisationConfig | None = None) -> EpisodeDraw:
    config = config or RandomisationConfig()
    return EpisodeDraw(
        tuple(draw_visual(config.visual, domain, seed, view, objects=OBJECTS) for view in (0, 1)),
        draw_dynamics(config.dynamics, seed),
        draw_timing(config.timing, seed, domain, longest_s=PERIOD_S),
    )


SWITCHES = {
    "textures": ("textures", "surfaces"),  # which are drawn to fit each other
    "things": ("things",),
    "light": ("lights", "shadows"),
    "camera": ("camera_position", "camera_aim"),
    "noise": ("noise", "blur", "exposure", "colour_balance", "jpeg"),
}
OBJECTS = TASKS["push"].objects


def parts(drawn: EpisodeDraw) -> dict[str, Any]:
    """What each group decides, and beside them what none does."""
    of = {name: factor.switch for name, factor in visual_factors(OBJECTS).items()}
    found: dict[str, Any] = {
        group: [{name: view.factors[name] for name in of if of[name] in switches} for view in drawn.visual]
        for group, switches in SWITCHES.items()
    }
    grouped = {switch for switches in SWITCHES.values() for switch in switches}
    others = [{name: view.factors[name] for name in of if of[name] not in grouped} for view in drawn.visual]
    return {**found, "delay": drawn.timing, "none": (drawn.dynamics, others)}


def changed(domain: str, seed: int) -> set[str]:
    train, other = parts(draw("train", seed)), parts(draw(domain, seed))
    return {name for name in train if train[name] != other[name]}


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_held_out_alone_changes_its_own_draws_and_no_other(group: str) -> None:
    assert all(changed(sim.held_out_domain(group), seed) == {group} for seed in SEEDS)


def test_held_out_is_textures_things_light_and_camera_together() -> None:
    together = sim.held_out_domain("camera", "light", "things", "textures")
    assert together == "held_out:textures,things,light,camera"
    assert all(draw(together, seed) == draw("held_out", seed) for seed in SEEDS)
    assert changed("held_out", 3) == {"textures", "things", "light", "camera"}


@pytest.mark.parametrize("group", list(GROUPS)[:4])
def test_a_group_is_held_out_alone_exactly_as_in_the_held_out_domain(group: str) -> None:
    for seed in SEEDS:
        assert parts(draw(f"held_out:{group}", seed))[group] == parts(draw("held_out", seed))[group]


@pytest.mark.parametrize("domain", ["train", "held_out"])
def test_the_shells_of_noise_and_delay_reach_neither_domain(domain: str) -> None:
    wide = RandomisationConfig(
        visual=VisualConfig(held_out_sensor_factor=3.0), timing=TimingConfig(held_out_delay_factor=3.0)
    )
    assert all(draw(domain, seed, wide) == draw(domain, seed) for seed in SEEDS)


def test_noise_held_out_lies_beyond_every_sensor_of_training() -> None:
    config = VisualConfig()
    for seed in SEEDS:
        for view in draw("held_out:noise", seed).visual:
            assert 5.0 <= view.sensor.noise_levels <= 10.0
            assert 0.6 <= view.sensor.blur_px <= 1.2
            assert 0.45 <= abs(view.sensor.exposure_stops) <= 0.9
            for gain in (view.sensor.red_gain, view.sensor.blue_gain):
                assert 1 + config.white_balance <= max(gain, 1 / gain) * 1.0000001 <= 1.4


def test_delays_held_out_lie_beyond_training_and_within_one_control_step() -> None:
    for seed in SEEDS:
        timing = draw("held_out:delay", seed).timing
        assert min(timing.action_delay_s, timing.camera_delay_s) >= 0.03
        assert max(timing.action_delay_s, timing.camera_delay_s) <= 0.06
        assert timing.held_frame_probability == 0.04
        slow = TimingConfig(action_delay_s=(0.0, 0.08), held_frame_probability=0.8)
        assert 0.08 <= draw_timing(slow, seed, "held_out:delay", longest_s=PERIOD_S).action_delay_s <= PERIOD_S
        assert draw_timing(slow, seed, "held_out:delay", longest_s=PERIOD_S).held_frame_probability == 0.9


def test_a_camera_held_out_is_moved_the_same_way_and_farther() -> None:
    for seed in SEEDS:
        near, far = (
            np.array(draw(domain, seed).visual[0].camera.eye) - NOMINAL_CAMERA.eye
            for domain in ("train", "held_out:camera")
        )
        assert np.linalg.norm(near) < 0.05 < np.linalg.norm(far) < 0.07
        assert near @ far == pytest.approx(np.linalg.norm(near) * np.linalg.norm(far))


def test_an_episode_says_its_domain_and_only_delay_moves_the_robot_otherwise() -> None:
    env = make_env("reach", SimConfig())
    ends: dict[str, Any] = {}
    for domain in ("train", *(sim.held_out_domain(group) for group in GROUPS)):
        first, info = env.reset(seed=2, options={"domain": domain})
        assert info["domain"] == domain
        for _ in range(3):
            last = env.step(np.array([0.5, -0.5, 0.2], np.float32))[0]
        ends[domain] = (first["state"], last["state"], last["image"])
    env.close()
    for domain, (first, last, image) in ends.items():
        assert np.array_equal(first, ends["train"][0])
        assert np.array_equal(last, ends["train"][1]) == (domain != "held_out:delay")
        assert np.array_equal(image, ends["train"][2]) == (domain == "train")


@pytest.mark.parametrize(
    ("domain", "words"),
    [
        ("held_out:colour", ["group is 'colour'", "textures, things, light, camera, noise, delay"]),
        ("held_out:", ["group is ''"]),
        ("held_out:light, camera", ["group is ' camera'"]),
        ("held_out:table.texture", ["group is 'table.texture'", "textures, things"]),
        ("train:light", ["domain is 'train:light'", "train, held_out"]),
        ("alone:glass", ["domain is 'alone:glass'", "alone:NAME", "wood, dark_wood"]),
        ("alone", ["domain is 'alone'", "wood"]),
        ("lab:garden", ["domain is 'lab:garden'", "lab:NAME", "kitchen_noon"]),
        ("test", ["domain is 'test'", "train, held_out, lab, held_out:GROUP,..."]),
    ],
)
def test_what_is_no_domain_is_refused_in_one_line(domain: str, words: list[str]) -> None:
    with pytest.raises(ValueError, match="allowed") as caught:
        sim.held_out_groups(domain)
    assert all(word in str(caught.value) for word in words)
    assert "\n" not in str(caught.value)


def test_no_group_held_out_is_the_training_domain() -> None:
    assert sim.held_out_domain() == "train"
    assert sim.held_out_groups("train") == frozenset()


@pytest.mark.parametrize("name", GROUPS)
def test_a_group_whose_switches_are_off_is_not_drawn_and_cannot_be_held_out(name: str) -> None:
    everything = RandomisationConfig()
    assert sim.drawn_groups(everything) == tuple(GROUPS)
    assert sim.drawn_groups(RandomisationConfig.off()) == ()
    switches = {
        "textures": ("textures",),
        "things": ("things",),
        "light": ("lights",),
        "camera": ("camera_position", "camera_aim"),
        "noise": ("noise", "blur", "exposure", "colour_balance"),
        "delay": ("action_delay", "camera_delay", "held_frames"),
    }[name]
    group = "timing" if name == "delay" else "visual"
    off = dataclasses.replace(getattr(everything, group), **dict.fromkeys(switches, False))
    config = dataclasses.replace(everything, **{group: off})
    assert sim.drawn_groups(config) == tuple(other for other in GROUPS if other != name)
    assert draw(sim.held_out_domain(name), 1, config) == draw("train", 1, config)
