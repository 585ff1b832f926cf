"""The learner on a real replay: chunks of the point on a line go through Redis and both samplers into both loops."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import point_world
import pytest
import redis
from point_world import fill
from tiny_learner import TwistLearner, tiny_config

from learner.loops import Loop
from replay import (
    EmbeddedServer,
    ReplayConfig,
    ReplayStore,
    SamplesPerInsert,
    StudentSampler,
    TeacherSampler,
    connect,
)
from replay.limiter import LimiterPlan

ROWS = point_world.SPEC.chunk_length
BATCH = 2
Loops = tuple[Loop, Loop]


@pytest.fixture
def client(tmp_path: Path) -> Iterator[redis.Redis]:
    with EmbeddedServer(tmp_path / "redis", max_bytes=2**30) as server:
        connected = connect(server.url)
        yield connected
        connected.close()


def make_loops(store: ReplayStore, seed: int, samples_per_insert: float = 0.0) -> tuple[TwistLearner, Loops]:
    """Both loops without threads, as in debug mode."""
    learner = TwistLearner(point_world.SPEC, tiny_config(), seed)
    limiters = [
        SamplesPerInsert(store, LimiterPlan(name, samples_per_insert, min_rows=ROWS), None)
        for name in (f"teacher{seed}", f"student{seed}")
    ]
    samplers = TeacherSampler(store, BATCH, seed, prefetch=0), StudentSampler(store, BATCH, seed, prefetch=0)

    def version() -> int:
        return learner.updates["teacher"] + learner.updates["student"]

    return learner, (
        Loop("teacher", learner.teacher_update, partial(learner.report, "teacher"), samplers[0], limiters[0], version),
        Loop("student", learner.student_update, partial(learner.report, "student"), samplers[1], limiters[1], version),
    )


def open_store(client: redis.Redis, run_id: str = "run") -> ReplayStore:
    return ReplayStore(client, run_id, point_world.SPEC, ReplayConfig(capacity_steps=1000, capacity_bytes=2**22))


def test_both_loops_learn_from_one_replay_a_short_last_chunk_included(client: redis.Redis) -> None:
    store = open_store(client)
    _, loops = make_loops(store, seed=0)
    assert not any(loop.step(0.0) for loop in loops)  # nothing there yet
    fill(store, chunks=3, last_rows=3)
    for loop in loops:
        for _ in range(3):
            assert loop.step(0.0)
        report = loop.report()
        assert report.updates == 3
        assert np.isfinite(list(report.metrics.values())).all()


def test_the_same_replay_and_seed_give_the_same_losses(client: redis.Redis) -> None:
    losses: list[list[dict[str, float]]] = []
    for run_id, seed in (("one", 3), ("two", 3), ("three", 4)):
        store = open_store(client, run_id)
        fill(store, chunks=4)
        _, loops = make_loops(store, seed)
        losses.append([])
        for _ in range(2):
            for loop in loops:
                assert loop.step(0.0)
                losses[-1].append(loop.report().metrics)
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


def test_the_limiter_holds_a_loop_that_has_replayed_enough(client: redis.Redis) -> None:
    """Three chunks, each row after the first of them to be replayed twice: that are two batches, and one in advance."""
    store = open_store(client)
    learner, (teacher, student) = make_loops(store, seed=0, samples_per_insert=2.0)
    fill(store, chunks=3)
    assert [teacher.step(0.0) for _ in range(4)] == [True, True, True, False]
    assert learner.updates["teacher"] == 3
    assert student.step(0.0)  # has a limiter of its own
