"""Samples per insert: what the learner may sample, what it owes, and what a checkpoint says of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest
from chunk_making import make_chunk

from replay import EmbeddedServer, ReplayStore, SamplesPerInsert
from replay.limiter import Balance, LimiterPlan, read_balances

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


def make_limiter(
    store: ReplayStore, samples_per_insert: float = 4.0, balance: Balance | None = None, name: str = "teacher"
) -> SamplesPerInsert:
    return SamplesPerInsert(store, LimiterPlan(name, samples_per_insert, min_rows=50), balance)


def kept(limiter: SamplesPerInsert, samples_per_insert: float = 4.0) -> Balance:
    """What a checkpoint of it gives back."""
    return Balance.from_document(limiter.to_document(), LimiterPlan("teacher", samples_per_insert, min_rows=50))


def test_before_min_rows_nobody_samples(store: ReplayStore, inserter: Inserter) -> None:
    limiter = make_limiter(store)
    for _ in range(10):
        assert not limiter.may_sample()
        inserter.insert(5)
    assert limiter.may_sample()


def test_rows_before_the_first_sample_ask_for_no_samples(store: ReplayStore, inserter: Inserter) -> None:
    limiter = make_limiter(store)
    inserter.insert(50)
    assert limiter.stats()["balance_rows"] == 0
    assert not limiter.owes()


def test_sampling_goes_on_until_all_that_is_asked_for_was_sampled(store: ReplayStore, inserter: Inserter) -> None:
    limiter = make_limiter(store)
    inserter.insert(60)  # 10 rows that ask for 4 samples each
    limiter.record_sampled(39)
    assert (limiter.owes(), limiter.may_sample()) == (True, True)
    limiter.record_sampled(1)
    assert (limiter.owes(), limiter.may_sample()) == (False, True)
    limiter.record_sampled(1)
    assert (limiter.owes(), limiter.may_sample()) == (False, False)


def test_the_ratio_comes_out(store: ReplayStore, inserter: Inserter) -> None:
    limiter = make_limiter(store)
    for _ in range(100):
        inserter.insert(5)
        while limiter.may_sample():
            limiter.record_sampled(16)
    assert limiter.stats()["ratio"] == pytest.approx(4.0, abs=16 / 450)


def test_evicted_rows_still_count(store: ReplayStore, inserter: Inserter) -> None:
    limiter = make_limiter(store)
    inserter.insert(60)
    assert store.stats()["rows"] == 20
    assert limiter.stats()["inserted_rows"] == 60
    assert limiter.owes()


def test_a_learner_that_begins_again_owes_what_was_lost_with_it(open_store: Open, inserter: Inserter) -> None:
    limiter = make_limiter(inserter.store)
    inserter.insert(100)
    limiter.record_sampled(80)
    checkpoint = kept(limiter)
    limiter.record_sampled(110)
    inserter.insert(10)
    store = open_store(capacity_steps=20)
    assert make_limiter(store, balance=checkpoint).stats()["balance_rows"] == 4 * 60 - 80
    assert make_limiter(store).stats()["balance_rows"] == 4 * 60, "one that was killed before its first checkpoint"


def test_the_ratio_is_that_of_the_weights_that_are_there(store: ReplayStore, inserter: Inserter) -> None:
    """Not of updates that were lost."""
    limiter = make_limiter(store)
    inserter.insert(100)
    limiter.record_sampled(100)
    checkpoint = kept(limiter)
    limiter.record_sampled(100)
    assert limiter.stats()["ratio"] == 4.0
    assert make_limiter(store, balance=checkpoint).stats()["ratio"] == 2.0


def test_a_changed_setting_starts_in_balance(store: ReplayStore, inserter: Inserter) -> None:
    before = make_limiter(store, samples_per_insert=4.0)
    inserter.insert(100)
    before.record_sampled(150)
    changed = make_limiter(store, samples_per_insert=32.0, balance=kept(before, samples_per_insert=32.0))
    assert changed.stats()["balance_rows"] == 0
    inserter.insert(5)
    assert changed.stats()["balance_rows"] == 160
    assert changed.stats()["sampled_rows"] == 150


def test_a_checkpoint_that_says_nothing_of_it_owes_nothing(store: ReplayStore, inserter: Inserter) -> None:
    inserter.insert(200)
    limiter = make_limiter(store, balance=Balance.kept(LimiterPlan("teacher", 4.0, 50), 200))
    assert (limiter.stats()["balance_rows"], limiter.stats()["ratio"]) == (0, 4.0)
    inserter.insert(5)
    assert limiter.stats()["balance_rows"] == 20


def test_rows_that_replay_has_lost_stay_counted(store: ReplayStore, inserter: Inserter) -> None:
    """A server that was emptied counts from 0 again; what had been learned from its rows is not asked for twice."""
    limiter = make_limiter(store)
    inserter.insert(100)
    limiter.record_sampled(200)
    assert limiter.stats()["balance_rows"] == 0
    for key in store.client.scan_iter(match=store.key("*")):
        store.client.delete(key)
    assert limiter.stats()["inserted_rows"] == 100
    inserter.insert(20)
    assert (limiter.stats()["inserted_rows"], limiter.stats()["balance_rows"]) == (120, 80)


def test_zero_samples_per_insert_limits_nothing(store: ReplayStore, inserter: Inserter) -> None:
    limiter = make_limiter(store, samples_per_insert=0)
    assert not limiter.may_sample()
    inserter.insert(50)
    limiter.record_sampled(10**9)
    assert (limiter.may_sample(), limiter.owes()) == (True, False)


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
    expected = "50 rows inserted, 64 sampled, balance -64 rows at 4 samples per insert"
    assert limiter.explain() == f"limiter teacher: {expected}"


def test_rows_of_all_shards_count(open_store: Open) -> None:
    store = open_store(shards=4)
    limiter = make_limiter(store)
    for stream in range(12):
        store.put(make_chunk(0, stream_id=f"a.0.{stream}", images=False))
    assert limiter.stats()["inserted_rows"] == 60


def test_the_driver_sees_each_loop_as_its_learner_does(open_store: Open, inserter: Inserter) -> None:
    """With the rows that have come since the learner looked; a learner that has not begun has sampled nothing."""
    plans = [LimiterPlan(name, 4.0, min_rows=50) for name in ("teacher", "student")]
    driver = open_store(capacity_steps=20)
    assert read_balances(driver, plans) == [Balance(), Balance()]
    teacher = make_limiter(inserter.store)
    inserter.insert(60)
    teacher.record_sampled(30)
    inserter.insert(10)
    seen = read_balances(driver, plans)
    assert [(balance.inserted, balance.sampled, balance.rows) for balance in seen] == [(70, 30, 50), (70, 0, 80)]
    assert [balance.ahead_rows(plan) for balance, plan in zip(seen, plans, strict=True)] == [12.5, 20]


@pytest.mark.parametrize(
    ("samples_per_insert", "min_rows", "message"),
    [
        (-1.0, 0, "samples_per_insert of limiter teacher is -1.0: at least 0"),
        (1.0, -1, "min_rows of limiter teacher is -1: at least 0"),
        (float("nan"), 0, "samples_per_insert of limiter teacher is nan"),
    ],
)
def test_impossible_numbers_are_refused(samples_per_insert: float, min_rows: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LimiterPlan("teacher", samples_per_insert, min_rows)


def test_while_redis_is_away_the_rows_seen_last_hold_and_nothing_sampled_is_forgotten(
    server: EmbeddedServer, store: ReplayStore, inserter: Inserter
) -> None:
    limiter = make_limiter(store)
    inserter.insert(60)
    assert limiter.may_sample()
    kill(server)
    assert limiter.may_sample()
    limiter.record_sampled(30)
    limiter.record_sampled(12)
    stats = limiter.stats()
    assert (stats["inserted_rows"], stats["sampled_rows"], stats["balance_rows"]) == (60, 42, -2)

    assert server.revive()
    limiter.record_sampled(1)
    (seen,) = read_balances(store, [LimiterPlan("teacher", 4.0, min_rows=50)])
    assert seen.sampled == limiter.stats()["sampled_rows"] == 43


def test_what_a_server_refused_to_be_told_is_told_when_it_takes_it(store: ReplayStore, inserter: Inserter) -> None:
    """By who may sample no more, too: actors, who go by what it has told, would wait for it, and it for their rows."""
    limiter, plans = make_limiter(store), [LimiterPlan("teacher", 4.0, min_rows=50)]
    inserter.insert(60)
    store.client.config_set("maxmemory", 1)
    limiter.record_sampled(41)
    assert not limiter.may_sample()
    assert "maxmemory" in limiter.refusal, "it reads, and is refused still"
    assert [balance.sampled for balance in read_balances(store, plans) or []] == [0]
    store.client.config_set("maxmemory", 0)
    assert not limiter.may_sample()
    assert limiter.refusal == ""
    assert [balance.sampled for balance in read_balances(store, plans) or []] == [41]


def kill(server: EmbeddedServer) -> None:
    """As the kernel does when memory is short; waits until it is gone."""
    os.kill(server.pid, signal.SIGKILL)
    os.waitid(os.P_PID, server.pid, os.WEXITED | os.WNOWAIT)
