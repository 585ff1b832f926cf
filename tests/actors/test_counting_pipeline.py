"""The counting environment through worker, Redis and both samplers: each step once, in order, with its image."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from counting_world import (
    CHUNK_LENGTH,
    SIM,
    assert_contiguous,
    assert_counted,
    counting_spec,
    joined,
    read_streams,
)

from actors import ActorsConfig
from learner.frames import FramePool
from replay import StudentSampler, TeacherSampler
from sim import SimConfig, make_env
from sim.counting import CountingEnv, decode_count
from sim.seeds import TRAINING

ROWS = ("state", "reward", "is_first", "is_last")


def test_every_stream_holds_each_step_once_in_order_with_resets_where_they_belong(make_store, make_worker) -> None:
    store = make_store()
    worker = make_worker(store)
    collected = [worker.collect(rows) for rows in (1, 50, 7, 200)] + [worker.drain()]

    streams = read_streams(store)
    assert set(streams) == {"actor0.0.0", "actor0.0.1", "actor0.0.2"}
    for chunks in streams.values():
        assert_contiguous(chunks)
        assert_counted(*(joined(chunks, name) for name in ("state", "image", "reward", "is_first", "is_last")))
        assert bool(chunks[-1].is_last[-1])
        assert not joined(chunks, "is_terminal").any()
    stats = store.stats()
    assert stats["rows"] == sum(stats.rows for stats in collected)
    assert stats["env_steps"] == sum(stats.env_steps for stats in collected)


def test_both_samplers_give_each_step_exactly_once(make_store, make_worker) -> None:
    store = make_store()
    worker = make_worker(store, config=ActorsConfig(envs_per_actor=1))
    worker.collect(100)
    worker.drain()

    # A batch as large as the replay repeats nothing, so it must hold everything.
    chunks = len(store.state_ids())
    assert chunks == len(store.image_ids()) > 1
    for sampler in (
        TeacherSampler(store, chunks, seed=0, prefetch=0),
        StudentSampler(store, chunks, seed=0, prefetch=0),
    ):
        batch = sampler.sample(timeout_s=5.0)
        order = np.argsort(batch["state"][:, 0, 2])
        valid = batch["valid"][order]
        rows = {name: batch[name][order][valid] for name in ROWS}
        image = batch["image"][order][valid] if "image" in batch else None
        assert_counted(image=image, **rows)
        assert len(rows["state"]) == store.stats()["rows"]
        sampler.close()


@pytest.mark.parametrize("views", [1, 3])
def test_every_view_shows_the_step_that_its_state_is_of(make_store, make_worker, views: int) -> None:
    sim = SimConfig(image_size=16, views=views)
    store = make_store(counting_spec(sim))
    worker = make_worker(store, make_env=lambda: make_env("counting", sim))
    worker.collect(60)
    worker.drain()

    for chunks in read_streams(store).values():
        image = joined(chunks, "image")
        assert image.shape[1:] == (views, 16, 16, 3)
        assert [decode_count(picture) for picture in image] == joined(chunks, "state")[:, 2].tolist()


@pytest.mark.parametrize("views", [1, 2])
def test_a_late_image_carries_the_state_that_it_shows_to_the_readout(make_store, make_worker, views: int) -> None:
    """The camera is two steps late, or as many as the episode has had."""
    sim = SimConfig(image_size=16, views=views)
    store = make_store(counting_spec(sim))
    worker = make_worker(store, make_env=lambda: CountingEnv(sim, late_steps=2))
    worker.collect(100)
    worker.drain()

    for chunks in read_streams(store).values():
        state, shown = joined(chunks, "state"), joined(chunks, "state_at_exposure")
        late = np.minimum(state[:, 1], 2)
        np.testing.assert_array_equal(shown, state - late[:, None] * [0, 1, 1])
        assert [decode_count(picture) for picture in joined(chunks, "image")] == shown[:, 2].tolist()

    batch = StudentSampler(store, batch_size=8, seed=0, prefetch=0).sample(timeout_s=5.0)
    pool = FramePool(1000, store.spec.image_shape, store.spec.state_dim, store.spec.state_dim, torch.device("cpu"))
    pool.add(*(torch.as_tensor(batch[name]) for name in ("image", "state_at_exposure", "state", "valid")))
    frames = pool.draw(200, torch.Generator().manual_seed(0))
    counts = [decode_count(picture.numpy()) for picture in frames.image]
    labels = frames.state[:, 2].int().tolist()
    # The count stands in the first view alone.
    assert all(count in (label, 0) for count, label in zip(counts, labels, strict=True))
    assert sum(count == label for count, label in zip(counts, labels, strict=True)) > 150 / views


def test_an_environment_that_does_not_say_what_its_image_shows_shows_the_state(make_store, make_worker) -> None:
    class Silent(gym.Wrapper):
        """A counting environment as a user may have it, whose camera is not late."""

        def reset(self, **arguments):
            observation, info = super().reset(**arguments)
            return observation, {name: value for name, value in info.items() if name != "state_at_exposure"}

        def step(self, action):
            *answer, _ = super().step(action)
            return *answer, {"is_success": False}

    store = make_store()
    worker = make_worker(store, make_env=lambda: Silent(make_env("counting", SIM)))
    worker.collect(60)
    worker.drain()

    for chunks in read_streams(store).values():
        np.testing.assert_array_equal(joined(chunks, "state_at_exposure"), joined(chunks, "state"))


def test_environments_that_render_nothing_reach_the_teacher_alone(make_store, make_worker) -> None:
    store = make_store()
    worker = make_worker(
        store,
        config=ActorsConfig(envs_per_actor=3, state_only_envs=2),
        make_state_only_env=lambda: make_env("counting", SIM, views=0),
    )
    worker.collect(20 * CHUNK_LENGTH)
    worker.drain()

    assert set(read_streams(store)) == {"actor0.0.0"}
    streams = {chunk.meta.stream_id for chunk in store.read_states(store.state_ids())}
    assert streams == {"actor0.0.0", "actor0.0.1", "actor0.0.2"}


def test_chunks_tell_where_they_come_from(make_store, make_worker) -> None:
    store = make_store()
    worker = make_worker(store)
    worker.collect(100)
    worker.set_weights(np.zeros(1, np.float32), 7)
    worker.collect(400)
    worker.drain()

    for chunks in read_streams(store).values():
        assert {chunk.meta.renderer for chunk in chunks} == {"counting"}
        assert {chunk.meta.actor_id for chunk in chunks} == {"actor0"}
        # Episodes that began at random stay so; from the next on it is the policy's version.
        versions = [chunk.meta.policy_version for chunk in chunks]
        assert versions == sorted(versions) and set(versions) == {0, 7}
        for chunk in chunks:
            for episode in chunk.meta.episodes:
                assert episode.seed in TRAINING
                # The seed alone starts the same episode again: here, one of the same length.
                env = make_env("counting", SIM)
                _, info = env.reset(seed=episode.seed)
                assert info["randomisation"] == episode.randomisation
        drivers = [episode.driver for chunk in chunks for episode in chunk.meta.episodes]
        assert drivers[0] == "random" and drivers[-1] == "teacher"
        assert drivers == sorted(drivers)
