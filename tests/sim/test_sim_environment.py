"""The Gymnasium environments: spaces, seeds, views, domains, ends of episodes, bad input."""

import copy
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from engines import ENGINES
from gymnasium.utils.env_checker import check_env

import sim
from sim import SimConfig, make_env

ACTIONS = {"reach": 3, "push": 2, "lift": 4}


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Any:
    return request.param


def roll_out(env: gym.Env[Any, Any], seed: int, steps: int = 6, **reset: Any) -> list[dict[str, Any]]:
    """Observations of the first steps of an episode under fixed actions."""
    observations = [env.reset(seed=seed, **reset)[0]]
    rng = np.random.default_rng(0)
    assert env.action_space.shape is not None
    for _ in range(steps):
        action = rng.uniform(-1, 1, env.action_space.shape).astype(np.float32)
        observations.append(env.step(action)[0])
    return observations


def same(first: list[dict[str, Any]], second: list[dict[str, Any]], key: str) -> bool:
    return all(np.array_equal(a[key], b[key]) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("name", ["PandaReach", "PandaPush", "PandaLift", "Counting"])
def test_gymnasiums_own_checker_accepts_every_registered_environment(name: str) -> None:
    env = gym.make(f"twist/{name}-v0", render_mode="rgb_array")
    check_env(env.unwrapped)
    env.close()


@pytest.mark.parametrize("task", sim.TASKS)
def test_observations_lie_in_their_space_and_have_names_with_units(task: str, engine: Any) -> None:
    env = make_env(task, SimConfig(engine=engine))
    assert env.action_space.shape == (ACTIONS[task],)
    for observation in roll_out(env, 3):
        assert env.observation_space.contains(observation)
    names = env.unwrapped.state_names  # type: ignore[attr-defined]
    assert len(names) == len(set(names)) == observation["state"].shape[0]
    assert all(name.endswith(("_m", "_m_per_s")) for name in names)
    env.close()


@pytest.mark.parametrize("task", sim.TASKS)
def test_the_same_seed_gives_the_same_episode_whatever_happened_before(task: str, engine: Any) -> None:
    env, other = make_env(task, SimConfig(engine=engine)), make_env(task, SimConfig(engine=engine))
    first = roll_out(env, 7)
    different = roll_out(env, 8)
    again = roll_out(env, 7)
    elsewhere = roll_out(other, 7)
    for key in ("state", "image"):
        assert same(first, again, key)
        assert same(first, elsewhere, key)
        assert not same(first, different, key)
    env.close()
    other.close()


def test_the_seed_in_info_repeats_an_episode_that_was_drawn_freely() -> None:
    env = make_env("reach", SimConfig())
    env.reset(seed=1)
    observation, info = env.reset()
    following, following_info = env.reset()
    assert info["seed"] != following_info["seed"]
    assert not np.array_equal(observation["image"], following["image"])
    repeated, repeated_info = env.reset(seed=info["seed"])
    assert np.array_equal(observation["image"], repeated["image"])
    assert np.array_equal(observation["state"], repeated["state"])
    shown, repeated_shown = info.pop("state_at_exposure"), repeated_info.pop("state_at_exposure")
    assert np.array_equal(shown, repeated_shown)
    assert repeated_info == info
    env.close()


def test_info_at_reset_tells_everything_that_was_drawn() -> None:
    env = make_env("push", SimConfig(), views=2)
    observation, info = env.reset(seed=5)
    assert np.array_equal(info.pop("state_at_exposure"), observation["state"])
    assert {"seed", "domain", "randomisation", "renderer"} <= info.keys()
    assert json.loads(json.dumps(info)) == info
    drawn = info["randomisation"]
    assert drawn.keys() == {"visual", "dynamics", "timing", "sensing"}
    assert len(drawn["visual"]) == 2
    env.close()


def test_images_exist_as_often_as_views_are_asked_for_and_change_nothing_else(engine: Any) -> None:
    episodes = {}
    for views in (0, 1, 3):
        env = make_env("push", SimConfig(engine=engine), views=views)
        episodes[views] = roll_out(env, 2)
        env.close()
    assert "image" not in episodes[0][0]
    assert episodes[1][0]["image"].shape == (64, 64, 3)
    assert episodes[3][0]["image"].shape == (3, 64, 64, 3)
    assert same(episodes[0], episodes[1], "state")
    assert same(episodes[0], episodes[3], "state")
    images = episodes[3][0]["image"]
    assert np.array_equal(images[0], episodes[1][0]["image"]), "the first view is the one of views=1"
    assert not np.array_equal(images[0], images[1])
    assert not np.array_equal(images[1], images[2])


def test_a_domain_is_chosen_per_environment_and_per_episode_and_changes_only_what_is_seen() -> None:
    env = make_env("reach", SimConfig(), domain="held_out")
    held_out = roll_out(env, 4)
    train = roll_out(env, 4, options={"domain": "train"})
    assert env.reset(seed=4)[1]["domain"] == "held_out"
    assert env.reset(seed=4, options={"domain": "train"})[1]["domain"] == "train"
    assert same(held_out, train, "state")
    assert not same(held_out, train, "image")
    env.close()


@pytest.mark.parametrize(("task", "steps"), [("reach", 16), ("push", 60), ("lift", 50)])
def test_episodes_are_cut_and_never_terminate(task: str, steps: int, engine: Any) -> None:
    env = make_env(task, SimConfig(engine=engine), views=0)
    env.reset(seed=0)
    action = np.zeros(ACTIONS[task], np.float32)
    ends = []
    for _ in range(steps):
        _, reward, terminated, truncated, info = env.step(action)
        assert not terminated
        assert np.isfinite(float(reward))
        assert isinstance(info["is_success"], bool)
        ends.append(truncated)
    assert ends == [False] * (steps - 1) + [True]
    assert env.unwrapped.episode_steps == steps  # type: ignore[attr-defined]
    env.close()


def test_the_length_of_episodes_can_be_set() -> None:
    env = make_env("reach", SimConfig(episode_steps=2), views=0)
    env.reset(seed=0)
    assert [env.step(np.zeros(3, np.float32))[3] for _ in range(2)] == [False, True]
    env.close()


def test_the_image_size_is_the_configured_one_and_pictures_for_people_are_larger() -> None:
    env = make_env("reach", SimConfig(image_size=32), render_mode="rgb_array")
    observation, _ = env.reset(seed=0)
    assert observation["image"].shape == (32, 32, 3)
    picture: Any = env.render()
    assert picture.shape == (256, 256, 3)
    env.close()


def test_rendering_a_picture_does_not_change_the_episode() -> None:
    env = make_env("reach", SimConfig(), views=2, render_mode="rgb_array")
    undisturbed = roll_out(env, 1, steps=2)
    env.reset(seed=1)
    rng = np.random.default_rng(0)
    for expected in undisturbed[1:]:
        env.render()
        observation = env.step(rng.uniform(-1, 1, 3).astype(np.float32))[0]
        assert np.array_equal(observation["image"], expected["image"])
    env.close()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"task": "stack"}, ["'stack'", "reach, push, lift"]),
        ({"domain": "test"}, ["'test'", "train, held_out"]),
        ({"views": -1}, ["-1", "at least 0"]),
        ({"render_mode": "human"}, ["'human'", "rgb_array"]),
    ],
)
def test_bad_arguments_are_refused_with_what_is_allowed(arguments: dict[str, Any], words: list[str]) -> None:
    complete = {"task": "reach", **arguments}
    with pytest.raises(ValueError, match="allowed") as caught:
        make_env(complete.pop("task"), SimConfig(), **complete)
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize("action", [np.full(3, np.nan), np.zeros(2), np.array([0.0, np.inf, 0.0])])
def test_bad_actions_are_refused(action: Any) -> None:
    env = make_env("reach", SimConfig(), views=0)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="finite numbers"):
        env.step(action)
    env.close()


def test_three_hundred_resets_take_no_more_memory_than_thirty(engine: Any) -> None:
    env = make_env("lift", SimConfig(engine=engine, image_size=32))

    def reset(seeds: range) -> int:
        for seed in seeds:
            env.reset(seed=seed, options={"domain": sim.DOMAINS[seed % 2]})
            env.step(np.zeros(4, np.float32))
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    early = reset(range(30))
    late = reset(range(30, 330))
    assert late - early < 8e6, "bytes; a texture loaded per reset would take 5 MB, a leaked world far more"
    env.close()


def test_films_run_as_fast_as_the_robot_is_controlled() -> None:
    for control_hz in (10, 20):
        env = make_env("reach", SimConfig(control_hz=control_hz), views=0)
        assert env.metadata["render_fps"] == control_hz
        env.close()


def test_environments_that_are_dropped_free_their_worlds(engine: Any) -> None:
    def drop(count: int) -> int:
        for _ in range(count):
            make_env("reach", SimConfig(engine=engine), views=0).reset(seed=0)
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    early = drop(3)
    assert drop(10) - early < 60e6, "bytes; ten worlds that stay would be 300 MB"


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_world_is_not_shared_by_copying_it(duplicate: Callable[[Any], Any], engine: Any) -> None:
    env: Any = make_env("reach", SimConfig(engine=engine), views=0)
    for thing in (env, env.engine):
        with pytest.raises(TypeError, match="cannot be copied or pickled: make another") as caught:
            duplicate(thing)
        assert "\n" not in str(caught.value)
    if duplicate is not copy.copy:  # a wrapper's copy wraps the very same environment, as it says
        with pytest.raises(TypeError, match="cannot be copied or pickled: make another"):
            duplicate(gym.wrappers.TimeLimit(env, 5))
    env.close()


def test_many_environments_live_side_by_side_and_close(engine: Any) -> None:
    envs = [make_env("reach", SimConfig(engine=engine), views=0) for _ in range(8)]
    states = [roll_out(env, 3, steps=2)[-1]["state"] for env in envs]
    assert all(np.array_equal(state, states[0]) for state in states)
    for env in envs:
        env.close()
        env.close()
