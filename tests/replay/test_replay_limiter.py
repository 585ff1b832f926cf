from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest
from chunk_making import make_chunk

from replay import EmbeddedServer, ReplayStore, SamplesPerInsert

Open = Callable[..., ReplayStore]


class Inserter:
    """Inserts chunks of 5 rows, one after the other."""

    def __init__(self, store: ReplayStore) -> None:
        self.store = store
        self.rows = int(store.stats()["inserted_rows"])

    def insert(self, rows: int) -> None:
        for _ in range(rows // 5):
            self.store.put(make_chunk(self.rows, images=False))
            self.rows += 5


@pytest.fixture
def store(open_store: Open) -> ReplayStore:
    return open_store(capacity_steps=20)


@pytest.fixture
def inserter(store: ReplayStore) -> Inserter:
    return Inserter(store)


def make_limiter(store: ReplayStore, samples_per_insert: float = 4.0, name: str = "teacher") -> SamplesPerInsert:
    return SamplesPerInsert(store, name, samples_per_insert, min_rows=50, tolerance_rows=40)


def test_before_min_rows_one_inserts_and_nobody_samples(store: ReplayStore, inserter: Inserter) -> None:
    limiter = make_limiter(store)
    for _ in range(10):
        assert (limiter.can_insert(), limiter.can_sample()) == (True, False)
        inserter.insert(5)
    assert (limiter.can_insert(), limiter.can_sample()) == (True, True)


def test_rows_before_the_first_sample_ask_for_no_samples(store: ReplayStore, inserter: Inserter) -> None:
    limiter = make_limiter(store)
    inserter.insert(50)
    assert limiter.stats()["balance_rows"] == 0


def test_inserting_stops_one_tolerance_ahead_and_sampling_one_behind(store: ReplayStore, inserter: Inserter) -> None:
    limiter = make_limiter(store)
    inserter.insert(55)  # 5 rows that ask for 4 samples each
    assert limiter.stats()["balance_rows"] == 20
    assert limiter.can_insert()
    inserter.insert(5)
    assert limiter.stats()["balance_rows"] == 40
    assert (limiter.can_insert(), limiter.can_sample()) == (False, True)
    limiter.record_sampled(1)
    assert limiter.can_insert()
    limiter.record_sampled(78)
    assert limiter.can_sample()
    limiter.record_sampled(1)
    assert limiter.stats()["balance_rows"] == -40
    assert (limiter.can_insert(), limiter.can_sample()) == (True, False)


def test_both_sides_are_never_held_up_at_once_and_the_ratio_comes_out(store: ReplayStore, inserter: Inserter) -> None:
    limiter = make_limiter(store)
    for _ in range(300):
        can_insert, can_sample = limiter.can_insert(), limiter.can_sample()
        assert can_insert or can_sample
        if can_sample:
            limiter.record_sampled(16)
        if can_insert:
            inserter.insert(5)
    assert inserter.rows > 300
    assert limiter.stats()["ratio"] == pytest.approx(4.0, rel=0.1)


def test_evicted_rows_still_count(store: ReplayStore, inserter: Inserter) -> None:
    limiter = make_limiter(store)
    inserter.insert(60)
    assert store.stats()["rows"] == 20
    assert limiter.stats()["inserted_rows"] == 60
    assert limiter.can_sample()


def test_who_comes_back_goes_on_where_the_run_was_without_a_burst(open_store: Open, inserter: Inserter) -> None:
    limiter = make_limiter(inserter.store)
    inserter.insert(100)
    limiter.record_sampled(185)
    after_restart = make_limiter(open_store(capacity_steps=20))
    assert after_restart.stats()["balance_rows"] == limiter.stats()["balance_rows"] == 4 * 50 - 185


def test_both_loops_and_all_actors_share_a_limiter_by_its_name(open_store: Open, inserter: Inserter) -> None:
    learners, actors = (make_limiter(open_store(capacity_steps=20)) for _ in range(2))
    student = make_limiter(inserter.store, name="student")
    inserter.insert(60)
    assert not actors.can_insert()
    learners.record_sampled(40)
    assert actors.can_insert()
    assert not student.can_insert()


def test_a_limiter_added_to_a_run_later_starts_in_balance(store: ReplayStore, inserter: Inserter) -> None:
    inserter.insert(200)
    limiter = make_limiter(store)
    assert limiter.stats()["balance_rows"] == 0
    assert (limiter.can_insert(), limiter.can_sample()) == (True, True)


def test_a_changed_setting_starts_in_balance(store: ReplayStore, inserter: Inserter) -> None:
    before = make_limiter(store, samples_per_insert=4.0)
    inserter.insert(100)
    before.record_sampled(200)
    changed = make_limiter(store, samples_per_insert=32.0)
    assert changed.stats()["balance_rows"] == 0
    inserter.insert(5)
    assert changed.stats()["balance_rows"] == 160
    assert changed.stats()["sampled_rows"] == 200


def test_zero_samples_per_insert_limits_neither_side(store: ReplayStore, inserter: Inserter) -> None:
    limiter = make_limiter(store, samples_per_insert=0)
    assert (limiter.can_insert(), limiter.can_sample()) == (True, False)
    inserter.insert(50)
    limiter.record_sampled(10**9)
    assert (limiter.can_insert(), limiter.can_sample()) == (True, True)


def test_waiting_ends_with_permission_or_with_a_reason(store: ReplayStore, inserter: Inserter) -> None:
    limiter = make_limiter(store)
    inserter.insert(10)
    assert limiter.await_sample(timeout_s=0.05) is False
    assert limiter.stats()["waited_seconds"] >= 0.05
    assert limiter.explain() == "limiter teacher: 10 of the 50 rows before the first sample are there"
    inserter.insert(40)
    assert limiter.await_sample(timeout_s=0) is True
    limiter.record_sampled(64)
    assert limiter.await_sample(timeout_s=0) is False
    expected = "50 rows inserted, 64 sampled, balance -64 of ±40 rows at 4 samples per insert"
    assert limiter.explain() == f"limiter teacher: {expected}"


def test_rows_of_all_shards_count(open_store: Open) -> None:
    store = open_store(shards=4)
    limiter = make_limiter(store)
    for stream in range(12):
        store.put(make_chunk(0, stream_id=f"a.0.{stream}", images=False))
    assert limiter.stats()["inserted_rows"] == 60


@pytest.mark.parametrize(
    ("samples_per_insert", "min_rows", "tolerance_rows", "message"),
    [
        (-1.0, 0, 1.0, "samples_per_insert of limiter teacher is -1.0: at least 0"),
        (1.0, -1, 1.0, "min_rows of limiter teacher is -1: at least 0"),
        (1.0, 0, 0.0, "tolerance_rows of limiter teacher is 0.0: more than 0"),
        (float("nan"), 0, 1.0, "samples_per_insert of limiter teacher is nan"),
    ],
)
def test_impossible_numbers_are_refused(
    store: ReplayStore, samples_per_insert: float, min_rows: int, tolerance_rows: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        SamplesPerInsert(store, "teacher", samples_per_insert, min_rows, tolerance_rows)


def test_while_redis_is_away_the_counts_seen_last_hold_and_nothing_sampled_is_forgotten(
    server: EmbeddedServer, store: ReplayStore, inserter: Inserter
) -> None:
    limiter = make_limiter(store)
    inserter.insert(60)
    assert limiter.can_sample()
    kill(server)
    assert (limiter.can_sample(), limiter.can_insert()) == (True, False)
    limiter.record_sampled(30)
    limiter.record_sampled(12)
    stats = limiter.stats()
    assert (stats["inserted_rows"], stats["sampled_rows"], stats["balance_rows"]) == (60, 42, -2)
    assert limiter.can_insert()

    assert server.revive()
    limiter.record_sampled(1)
    assert make_limiter(store).stats()["sampled_rows"] == limiter.stats()["sampled_rows"] == 43


def kill(server: EmbeddedServer) -> None:
    """As the kernel does when memory is short; waits until it is gone."""
    os.kill(server.pid, signal.SIGKILL)
    os.waitid(os.P_PID, server.pid, os.WEXITED | os.WNOWAIT)
