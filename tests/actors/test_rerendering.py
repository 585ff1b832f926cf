"""Another run's episodes, played again: the same states, other images, each once, and what differs is counted."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from counting_world import read_streams

from actors import ActorsConfig
from actors.rerendering import DRIFT, RerenderingPlan, RerenderingWorker, resimulate
from actors.rollout_stats import Resimulated
from replay import Episode, Episodes, ReplayStore, StreamSpec, decode_episodes, encode_episodes, read_episodes
from replay.schema import EpisodeMeta

SPEC = StreamSpec(
    state_names=("place_m", "last_action"),
    state_low=(-10.0, -2.0),
    state_high=(10.0, 2.0),
    image_shape=(4, 4, 3),
    views=1,
    action_dim=2,
    chunk_length=7,
    action_low=(-2.0, -2.0),
    action_high=(2.0, 2.0),
)
STEPS = 6


class Walk(gym.Env[Any, Any]):
    """Where it is follows from seed and actions; what it shows, from that and `paint`."""

    def __init__(self, paint: int = 0, slip: float = 0.0, images: bool = True, breaks_at: int = -1) -> None:
        self.action_space = gym.spaces.Box(-2.0, 2.0, (2,), np.float32)
        parts: dict[str, Any] = {"state": gym.spaces.Box(np.array([-10, -2]), np.array([10, 2]), dtype=np.float32)}
        self._images = images
        if images:
            parts["image"] = gym.spaces.Box(0, 255, SPEC.image_shape, np.uint8)
        self.observation_space = gym.spaces.Dict(parts)
        self._paint, self._slip, self._breaks_at = paint, slip, breaks_at

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        assert seed is not None
        self._place, self._action, self._steps = float(np.random.default_rng(seed).uniform(-1, 1)), 0.0, 0
        domain = (options or {}).get("domain", "train")
        info = {"seed": seed, "domain": domain, "randomisation": {}, "renderer": "walk"}
        return self._observe(), info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if self._steps == self._breaks_at:
            raise RuntimeError("it is broken")
        self._place, self._action = self._place + float(action[0]) + self._slip, float(action[1])
        self._steps += 1
        return self._observe(), self._place, False, self._steps == STEPS, {"is_success": True}

    def _observe(self) -> dict[str, Any]:
        seen = {"state": np.array([self._place, self._action], np.float32)}
        if self._images:
            seen["image"] = np.full(SPEC.image_shape, int(abs(self._place) * 10) % 100 + self._paint, np.uint8)
        return seen


def episode(seed: int, steps: int = STEPS, domain: str = "train") -> Episode:
    """One as it was stored: actions in [-1, 1], of which the environment had the double."""
    action = np.random.default_rng(seed + 1000).uniform(-1, 1, (steps + 1, 2)).astype(np.float32)
    action[0] = 0
    env = Walk()
    states = [env.reset(seed=seed)[0]["state"]]
    states += [env.step(SPEC.environment_action(row))[0]["state"] for row in action[1:]]
    return Episode(seed, domain, "teacher", np.stack(states), action)


def episodes(count: int = 5) -> Episodes:
    return Episodes("source", SPEC, tuple(episode(seed) for seed in range(10, 10 + count)))


@pytest.fixture
def worker(make_store: Callable[..., ReplayStore]) -> Callable[..., RerenderingWorker]:
    def make(given: Episodes, store: ReplayStore | None = None, **env: Any) -> RerenderingWorker:
        store = store or make_store(SPEC)
        actor_id = f"actor{store.claim_incarnation('test')}"
        config = ActorsConfig(crash_allowance=100)
        make_env = lambda: Walk(**env)  # noqa: E731
        return RerenderingWorker(make_env, store, config, given, run_id=store.run_id, actor_id=actor_id, seed=3)

    return make


def read(store: ReplayStore) -> dict[int, Episode]:
    return {one.seed: one for one in read_episodes(store).all}


def assert_same(one: Episode, other: Episode) -> None:
    assert (one.seed, one.domain, one.driver) == (other.seed, other.domain, other.driver)
    np.testing.assert_array_equal(one.state, other.state)
    np.testing.assert_array_equal(one.action, other.action)


def test_all_episodes_come_back_with_their_states_and_actions_in_another_order_and_with_other_images(
    make_store, worker
) -> None:
    store, given = make_store(SPEC), episodes()
    stats = worker(given, store, paint=100).collect(5 * (STEPS + 1))
    found = read(store)
    assert sorted(found) == [10, 11, 12, 13, 14]
    for one in given.all:
        assert_same(found[one.seed], one)
    assert stats.resimulated == Resimulated(episodes=5)
    assert stats.episodes == ()  # no result of this run's
    assert (stats.rows, stats.env_steps) == (35, 30)
    (chunks,) = read_streams(store).values()
    assert [chunk.meta.episodes[0].seed for chunk in chunks] != [10, 11, 12, 13, 14]
    assert all(chunk.image.min() >= 100 for chunk in chunks)
    assert {chunk.meta.policy_version for chunk in chunks} == {0}


def test_workers_share_the_episodes_and_the_order_begins_anew_when_all_are_done(make_store, worker) -> None:
    store, given = make_store(SPEC), episodes()
    one, other = worker(given, store), worker(given, store)
    for _ in range(2):
        one.collect(STEPS + 1)
        other.collect(STEPS + 1)
    assert len(read(store)) == 4
    one.collect(STEPS + 1)
    assert len(read(store)) == 5
    other.collect(5 * (STEPS + 1))
    assert len(read_episodes(store).all) == 10
    assert len(read(store)) == 5


def test_an_episode_that_was_cut_short_is_cut_short_again(make_store, worker) -> None:
    store, given = make_store(SPEC), Episodes("source", SPEC, (episode(10, steps=3),))
    playing = worker(given, store)
    assert playing.collect(4).resimulated == Resimulated(episodes=1)
    playing.drain()
    assert_same(read(store)[10], given.all[0])
    (chunks,) = read_streams(store).values()
    assert [(chunk.rows, bool(chunk.is_last[-1]), bool(chunk.is_terminal[-1])) for chunk in chunks] == [
        (4, True, False)
    ]


@pytest.mark.parametrize(("slip", "drifted"), [(1e-3, 0), (1.0, 5)])
def test_states_that_differ_are_written_as_they_are_now_and_counted(make_store, worker, slip, drifted) -> None:
    store, given = make_store(SPEC), episodes()
    stats = worker(given, store, slip=slip).collect(35)
    assert (stats.resimulated.episodes, stats.resimulated.differing, stats.resimulated.drifted) == (5, 5, drifted)
    assert stats.resimulated.largest == pytest.approx(STEPS * slip / 20, rel=1e-3)
    assert (stats.resimulated.largest > DRIFT) is (drifted > 0)
    first = read(store)[10].state
    np.testing.assert_allclose(first[:, 0] - given.all[0].state[:, 0], slip * np.arange(STEPS + 1), atol=1e-5)


def test_an_episode_in_which_the_environment_breaks_ends_before_and_is_not_played_once_more(make_store, worker) -> None:
    store = make_store(SPEC)
    playing = worker(episodes(), store, breaks_at=2)
    stats = playing.collect(16)
    playing.drain()
    assert stats.crashes == 5
    assert stats.resimulated == Resimulated()
    assert sorted(len(one.state) for one in read_episodes(store).all) == [2, 3, 3, 3, 3, 3]  # the first had just begun
    assert len(read(store)) == 5


def test_an_episode_can_be_tried_without_images() -> None:
    assert resimulate(Walk(images=False), episode(10), SPEC) == Resimulated(episodes=1)
    assert resimulate(Walk(images=False, slip=1.0), episode(10), SPEC).drifted == 1
    longer = dataclasses.replace(episode(10), state=np.zeros((9, 2), np.float32), action=np.zeros((9, 2), np.float32))
    assert resimulate(Walk(images=False), longer, SPEC).drifted == 1  # over sooner


@pytest.mark.parametrize("domain", ["held_out", "held_out:light", "alone:wood", "lab", "lab:workshop"])
def test_episodes_that_no_training_is_given_are_refused(make_store, worker, domain: str) -> None:
    store, given = make_store(SPEC), Episodes("source", SPEC, (episode(10), episode(11, domain=domain)))
    with pytest.raises(ValueError, match=f"episodes of source in {domain} visuals, allowed: train"):
        worker(given, store)
    assert not read(store)


def test_a_plan_reads_the_file_and_builds_a_worker_on_the_tasks_environment(make_store, tmp_path: Path) -> None:
    from counting_world import SIM, counting_spec

    spec = counting_spec()
    state = np.zeros((4, 3), np.float32)
    kept = Episodes("source", spec, (Episode(7, "train", "student", state, np.zeros((4, 3), np.float32)),))
    (tmp_path / "episodes").write_bytes(encode_episodes(kept))
    assert len(decode_episodes((tmp_path / "episodes").read_bytes()).all) == 1
    store = make_store(spec)
    plan = RerenderingPlan("counting", SIM, ActorsConfig(), store.run_id, 0, tmp_path / "episodes")
    built = plan.build(store, "actor0", 0)
    built.collect(4)
    built.drain()
    (chunks,) = read_streams(store).values()
    episodes_of_chunks = [meta for chunk in chunks for meta in chunk.meta.episodes]
    assert {type(meta) for meta in episodes_of_chunks} == {EpisodeMeta}
    assert {(meta.seed, meta.driver) for meta in episodes_of_chunks} == {(7, "student")}
