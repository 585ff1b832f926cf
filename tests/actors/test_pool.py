"""The pool on real Ray: weights out, rows in, actors killed, grown, broken and drained."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import ray
from counting_world import CHUNK_LENGTH, SIM, assert_contiguous, assert_counted, counting_spec, joined, read_streams
from credit import credit_for_all
from ray.exceptions import ActorUnavailableError

from actors import ActorsConfig, RolloutStats
from actors.actor import ActorPlan
from actors.plan import WorkerPlan
from actors.pool import ActorPool
from actors.slot import OUTAGE_PAUSE_SECONDS, ActorFailedError
from learner.acting import acting_policy
from learner.config import LearnerConfig
from learner.weights import flatten
from replay import EmbeddedServer, ReplayConfig, ReplayStore, SamplesPerInsert, connect
from replay.credits import RowCredits
from replay.limiter import LimiterPlan, read_balances
from sim import SimConfig

LEARNER = LearnerConfig()
SECONDS = 60.0  # no test waits so long; it only keeps a broken pool from hanging


pytestmark = pytest.mark.usefixtures("ray_here")


@pytest.fixture
def make_pool(tmp_path: Path) -> Callable[..., ActorPool]:
    return lambda plan, credits=None: ActorPool(plan, credits or credit_for_all(), tmp_path)


def credit_by(store: ReplayStore, limiter: LimiterPlan) -> RowCredits:
    """By what replay counts, for actors of three environments."""
    rows = store.spec.chunk_length
    return RowCredits(
        lambda: read_balances(store, [limiter]), [limiter], tolerance_rows=64, chunk_rows=rows, actor_rows=3 * rows
    )


@pytest.fixture
def make_plan(server: EmbeddedServer) -> Callable[..., ActorPlan]:
    def make(store: ReplayStore, sim: SimConfig = SIM, **actors) -> ActorPlan:
        worker = WorkerPlan(
            task="counting",
            sim=sim,
            learner=LEARNER,
            actors=ActorsConfig(**{"envs_per_actor": 3, "rows_per_call": 60, "backoff_seconds": 0.1, **actors}),
            run_id=store.run_id,
            seed=0,
        )
        return ActorPlan(worker, store.spec.to_json(), server.url, store.config)

    return make


def poll_until(pool: ActorPool, enough: Callable[[list[RolloutStats]], bool]) -> list[RolloutStats]:
    deadline = time.monotonic() + SECONDS
    results: list[RolloutStats] = []
    while not enough(results):
        assert time.monotonic() < deadline, results
        results += pool.poll(timeout_s=0.2)
    return results


def poll_until_true(pool: ActorPool, condition: Callable[[], bool]) -> list[RolloutStats]:
    return poll_until(pool, lambda _: condition())


def assert_whole(chunks) -> None:
    assert_contiguous(chunks)
    assert_counted(*(joined(chunks, name) for name in ("state", "image", "reward", "is_first", "is_last")))


def test_rows_of_all_actors_arrive_once_and_in_order_and_newest_weights_are_used(
    make_store, make_plan, make_pool
) -> None:
    store = make_store()
    policy = acting_policy(store.spec, LEARNER)
    with make_pool(make_plan(store, count=2)) as pool:
        results = poll_until(pool, lambda done: len({stats.actor_id for stats in done}) == 2)
        assert {stats.policy_version for stats in results} == {0}
        for version in (3, 4):
            pool.set_weights(flatten(policy.modules), version)
        results += poll_until(
            pool, lambda done: {stats.actor_id for stats in done if stats.policy_version == 4} == {"actor0", "actor1"}
        )
        with pytest.raises(ValueError, match="version 4: it must be above the last one, 4"):
            pool.set_weights(flatten(policy.modules), 4)
        results += pool.drain()
        assert pool.identities == []

    streams = read_streams(store)
    assert set(streams) == {f"actor{actor}.0.{env}" for actor in range(2) for env in range(3)}
    for chunks in streams.values():
        assert_whole(chunks)
        assert bool(chunks[-1].is_last[-1])
    assert store.stats()["rows"] == sum(stats.rows for stats in results)


def test_a_killed_actor_is_replaced_and_its_acknowledged_rows_stay_whole(make_store, make_plan, make_pool) -> None:
    store = make_store()
    with make_pool(make_plan(store, count=2)) as pool:
        poll_until(pool, lambda done: {stats.actor_id for stats in done} == {"actor0", "actor1"})
        victim, survivor = sorted(pool.identities, key=lambda identity: identity.actor_id)
        os.kill(victim.pid, signal.SIGKILL)
        poll_until(pool, lambda done: any(stats.actor_id == "actor0" and stats.incarnation == 1 for stats in done))

        assert pool.restarts == {"died": 1}
        assert pool.stats() == {"running": 2, "restarts": 1, "errors": 0}
        replacement = next(identity for identity in pool.identities if identity.actor_id == "actor0")
        assert replacement.pid != victim.pid
        assert survivor in pool.identities
        pool.drain()

    streams = read_streams(store)
    assert {f"actor0.{incarnation}.0" for incarnation in (0, 1)} <= set(streams)
    for name, chunks in streams.items():
        assert_whole(chunks)
        if name.startswith("actor0.0."):  # what was killed had no time to write a short chunk; the first is any length
            assert all(chunk.rows == CHUNK_LENGTH for chunk in chunks[1:])


def test_an_actor_that_was_out_of_sight_goes_on_with_what_it_holds(make_store, make_plan, make_pool) -> None:
    """As after a network that was cut: Ray tells of a loss, and the process lives."""
    store = make_store()
    with make_pool(make_plan(store)) as pool:
        results = poll_until(pool, bool)
        slot = pool._slots[0]
        slot.call = None  # its answer never comes
        pool._take_in(slot, ActorUnavailableError("the network was cut", None))
        results += poll_until(pool, bool)
        results += pool.drain()
    streams = read_streams(store)
    assert set(streams) == {f"actor0.0.{env}" for env in range(3)}, "no second incarnation"
    for chunks in streams.values():
        assert_whole(chunks)


def test_an_actor_that_ray_has_given_up_is_replaced_too(make_store, make_plan, make_pool) -> None:
    store = make_store()
    with make_pool(make_plan(store)) as pool:
        poll_until(pool, bool)
        ray.kill(pool._slots[0].handle, no_restart=True)
        poll_until(pool, lambda done: any(stats.incarnation == 1 for stats in done))
        assert pool.restarts == {"died": 1}
        pool.drain()
    for chunks in read_streams(store).values():
        assert_whole(chunks)


def test_an_actor_that_grows_too_big_is_drained_and_replaced_and_nothing_is_lost(
    make_store, make_plan, make_pool
) -> None:
    # Rows of large images wait in the writers for a chunk that is never full, so that the actor grows.
    sim = SimConfig(image_size=512)
    store = make_store(counting_spec(sim, chunk_length=10_000))
    with make_pool(make_plan(store, sim, envs_per_actor=1, rows_per_call=1)) as pool:
        poll_until(pool, bool)
        fresh_mb = pool.identities[0].memory_mb
    store = make_store(counting_spec(sim, chunk_length=10_000))
    with make_pool(make_plan(store, sim, envs_per_actor=1, max_memory_mb=fresh_mb + 100)) as pool:
        results = poll_until_true(pool, lambda: pool.restarts["memory"] == 1 and len(pool.identities) == 1)
        results += pool.drain()

    assert pool.restarts == {"memory": 1}
    streams = read_streams(store)
    for chunks in streams.values():
        assert_whole(chunks)
    assert store.stats()["rows"] == sum(stats.rows for stats in results)


def test_a_memory_limit_that_no_actor_can_keep_is_refused(make_store, make_plan, make_pool) -> None:
    with (
        make_pool(make_plan(make_store(), max_memory_mb=100.0)) as pool,
        pytest.raises(ActorFailedError, match=r"max_memory_mb=100: actor0 takes \d+ MB as soon as it starts"),
    ):
        poll_until_true(pool, lambda: False)


def test_an_actor_that_cannot_be_built_ends_the_run_at_once_with_its_reason(make_store, make_plan, make_pool) -> None:
    plan = make_plan(make_store(), SimConfig(image_size=32))
    with make_pool(plan) as pool, pytest.raises(ActorFailedError, match=r"actor0 cannot be built: .*image of shape"):
        poll_until_true(pool, lambda: False)
    assert (pool.restarts, pool.stats()["errors"]) == ({}, 1)


def test_an_actor_whose_own_code_fails_again_and_again_ends_the_run_with_its_reason(
    make_store, make_plan, make_pool
) -> None:
    with make_pool(make_plan(make_store(), max_errors=1)) as pool:
        poll_until(pool, bool)
        pool.set_weights(np.zeros(3, np.float32), 1)  # fits no network
        with pytest.raises(ActorFailedError, match=r"actor0 failed 2 times within 600 s, allowed are 1 .*: ValueError"):
            poll_until_true(pool, lambda: False)
    assert pool.restarts == {}


def test_an_error_in_a_call_leaves_the_actor_where_it_was(make_store, make_plan, make_pool) -> None:
    store = make_store()
    with make_pool(make_plan(store)) as pool:
        poll_until(pool, bool)
        pool.set_weights(np.zeros(3, np.float32), 1)  # fits no network
        poll_until_true(pool, lambda: pool.stats()["errors"] >= 2)
        pool.set_weights(flatten(acting_policy(store.spec, LEARNER).modules), 2)
        poll_until(pool, lambda done: any(stats.policy_version == 2 for stats in done))
        pool.drain()

    streams = read_streams(store)
    assert set(streams) == {f"actor0.0.{env}" for env in range(3)}
    for chunks in streams.values():
        assert_whole(chunks)


def test_actors_wait_for_a_server_that_is_away_and_nothing_is_lost(tmp_path, make_plan, make_pool) -> None:
    """Also one that is started meanwhile; however long it takes, that is no error of theirs."""
    with EmbeddedServer(tmp_path, max_bytes=ReplayConfig().memory_bytes) as own:
        store = ReplayStore(connect(own.url), "run", counting_spec(), ReplayConfig(retry_seconds=0.1))
        plan = replace(make_plan(store, max_errors=0), replay_url=own.url)
        with make_pool(plan) as pool:
            results = poll_until(pool, bool)
            os.kill(own.pid, signal.SIGKILL)
            poll_until_true(
                pool, lambda: pool._slots[0].retry_at > time.monotonic() + 1.0
            )  # it has reported, and pauses
            pool.resize(2)
            began = time.monotonic()
            poll_until_true(pool, lambda: time.monotonic() > began + 3 * OUTAGE_PAUSE_SECONDS)
            assert own.revive()
            results += poll_until(pool, lambda done: {stats.actor_id for stats in done} == {"actor0", "actor1"})
            results += pool.drain()
            assert (pool.stats()["errors"], pool.restarts["died"]) == (0, 0)
        streams = read_streams(store)
        assert set(streams) == {f"actor{actor}.0.{env}" for actor in range(2) for env in range(3)}
        for chunks in streams.values():
            assert_whole(chunks)
        assert store.stats()["rows"] == sum(stats.rows for stats in results)


def test_actors_without_credit_have_no_call_and_their_time_counts_as_waiting(make_store, make_plan, make_pool) -> None:
    store = make_store()
    limiter = LimiterPlan("teacher", samples_per_insert=1.0, min_rows=2 * CHUNK_LENGTH)
    with make_pool(make_plan(store, count=3), credit_by(store, limiter)) as pool:
        results = poll_until_true(pool, lambda: store.stats()["inserted_rows"] >= limiter.min_rows)
        results += poll_until_true(pool, lambda: not any(slot.call for slot in pool._slots))
        # Whoever has no weights has collected the prefill, and no row more than its last chunk takes.
        collected = sum(stats.rows for stats in results)
        assert limiter.min_rows <= store.stats()["inserted_rows"] <= collected < limiter.min_rows + 2 * CHUNK_LENGTH
        pool.idle()
        began = time.monotonic()
        poll_until_true(pool, lambda: time.monotonic() > began + 0.5)
        idle = pool.idle()
        assert idle and all(stats.rows == 0 and stats.waited_seconds == stats.seconds > 0.4 for stats in idle)

        pool.set_weights(flatten(acting_policy(store.spec, LEARNER).modules), 1)
        SamplesPerInsert(store, limiter, None).record_sampled(10_000)
        poll_until(pool, lambda done: sum(stats.rows for stats in done) > 200)
        pool.drain()
    for chunks in read_streams(store).values():
        assert_whole(chunks)


def test_what_dies_with_an_actor_is_given_back_and_nothing_is_counted_twice(make_store, make_plan, make_pool) -> None:
    """A learner that does not sample lets actors be ahead by the tolerance, and by no row more."""
    store = make_store()
    limiter = LimiterPlan("teacher", samples_per_insert=1.0, min_rows=0)
    with make_pool(make_plan(store, count=2, rows_per_call=4), credit_by(store, limiter)) as pool:
        pool.set_weights(flatten(acting_policy(store.spec, LEARNER).modules), 1)
        poll_until_true(pool, lambda: store.stats()["inserted_rows"] > 0)
        os.kill(pool.identities[0].pid, signal.SIGKILL)
        poll_until_true(pool, lambda: pool.restarts["died"] == 1 and len(pool.identities) == 2)
        poll_until_true(pool, lambda: store.stats()["inserted_rows"] > 64 - CHUNK_LENGTH)
        poll_until_true(pool, lambda: not any(slot.call for slot in pool._slots))
        assert store.stats()["inserted_rows"] <= 64


def test_weights_travel_from_where_they_are_and_are_replaced_when_that_is_lost(
    make_store, make_plan, make_pool
) -> None:
    @ray.remote(num_cpus=0)
    class Learner:
        def publish(self, flat: np.ndarray) -> ray.ObjectRef:
            return ray.put(flat)

    store = make_store()
    flat = flatten(acting_policy(store.spec, LEARNER).modules)
    learner = Learner.remote()
    with make_pool(make_plan(store)) as pool:
        pool.set_weights(ray.get(learner.publish.remote(flat)), 1)
        poll_until(pool, lambda done: any(stats.policy_version == 1 for stats in done))
        ray.kill(learner)
        pool.replace_weights(flat)
        results = poll_until(pool, lambda done: len(done) > 3)
        assert {stats.policy_version for stats in results} == {1}
        assert pool.stats()["errors"] == 0
        pool.drain()


def test_draining_gives_up_after_its_time_and_says_so(make_store, make_plan, make_pool, caplog) -> None:
    store = make_store()
    # A call that is longer than any test, so that the actor cannot be drained before it ends.
    with make_pool(make_plan(store, rows_per_call=10**6, drain_seconds=0.0)) as pool:
        poll_until_true(pool, lambda: store.stats()["rows"] > 0)
        assert pool.drain() == []
    assert "actor0 did not drain within 0 s" in caplog.text


def test_the_pool_grows_and_shrinks_and_loses_no_row(make_store, make_plan, make_pool) -> None:
    store = make_store()
    with make_pool(make_plan(store, count=1)) as pool:
        results = poll_until(pool, lambda done: {stats.actor_id for stats in done} == {"actor0"})
        pool.resize(3)
        assert pool.size == 3
        results += poll_until(pool, lambda done: {stats.actor_id for stats in done} == {"actor0", "actor1", "actor2"})
        pool.resize(1)
        assert pool.size == 1
        results += poll_until_true(pool, lambda: len(pool.identities) == 1)
        assert [identity.actor_id for identity in pool.identities] == ["actor0"]
        pool.resize(2)
        results += poll_until(pool, lambda done: "actor1" in {stats.actor_id for stats in done})
        results += pool.drain()
        assert sum(pool.restarts.values()) == 0

    streams = read_streams(store)
    assert {f"actor{actor}.0.0" for actor in range(3)} | {"actor1.1.0"} <= set(streams)
    for chunks in streams.values():
        assert_whole(chunks)
        assert bool(chunks[-1].is_last[-1]), "actors that left have ended their streams"
    assert store.stats()["rows"] == sum(stats.rows for stats in results)


def test_actors_that_have_no_node_yet_are_the_first_to_go(make_store, make_plan, make_pool) -> None:
    with make_pool(make_plan(make_store(), count=3, resource="never_there", num_cpus=0)) as pool:
        pool.poll(timeout_s=0.5)
        assert pool.stats()["running"] == 0
        pool.resize(1)
        assert (pool.size, len(pool._slots)) == (1, 1)


def test_actors_leave_a_node_that_is_about_to_go_and_start_anew(make_store, make_plan, make_pool) -> None:
    store = make_store()
    with make_pool(make_plan(store, count=2)) as pool:
        results = poll_until(pool, lambda done: {stats.actor_id for stats in done} == {"actor0", "actor1"})
        (node,) = {identity.node_id for identity in pool.identities}
        assert pool.leave_nodes(["another"]) == 0
        assert pool.leave_nodes([node]) == 2
        assert pool.leave_nodes([node]) == 0, "told only once"
        results += poll_until(
            pool, lambda done: {s.actor_id for s in done if s.incarnation == 1} == {"actor0", "actor1"}
        )
        results += pool.drain()
        assert pool.restarts == {"node": 2}
    assert all(bool(chunks[-1].is_last[-1]) for chunks in read_streams(store).values())
    assert store.stats()["rows"] == sum(stats.rows for stats in results)
