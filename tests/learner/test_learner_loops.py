from __future__ import annotations

import threading
from collections.abc import Mapping
from types import SimpleNamespace

import numpy as np
import pytest

from learner.loops import WAIT_SECONDS, Loop, LoopThread
from learner.tally import NotFiniteError

Batch = Mapping[str, np.ndarray]
PATIENCE_SECONDS = 30.0


class Clock:
    """Stands for the clock of `learner.loops`: time passes where a fake says so and nowhere else."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


class FakeSampler:
    """A replay at hand: returns the batches one after the other and takes `seconds` each time; None is a time-out."""

    def __init__(self, clock: Clock, batches: list[Batch | None], seconds: float = 0.0) -> None:
        self.clock, self.batches, self.seconds = clock, list(batches), seconds
        self.timeouts: list[float] = []

    def sample(self, timeout_s: float) -> Batch:
        self.clock.now += self.seconds
        self.timeouts.append(timeout_s)
        batch = self.batches.pop(0)
        if batch is None:
            raise TimeoutError("no batch within the time")
        return batch


class FakeLimiter:
    """Allows or not, and counts."""

    def __init__(self, clock: Clock, allowed: bool = True, seconds: float = 0.0) -> None:
        self.clock, self.allowed, self.seconds = clock, allowed, seconds
        self.recorded: list[int] = []

    def await_sample(self, timeout_s: float) -> bool:
        self.clock.now += self.seconds
        return self.allowed

    def record_sampled(self, rows: int) -> None:
        self.recorded.append(rows)


def make_batch(valid_rows: int = 6, versions: tuple[int, ...] = (1, 1)) -> Batch:
    return {
        "valid": np.arange(10).reshape(2, 5) < valid_rows,
        "policy_version": np.array(versions, np.int64),
    }


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("learner.loops.time", SimpleNamespace(perf_counter=clock.perf_counter))
    return clock


def make_loop(
    sampler: FakeSampler, limiter: FakeLimiter, *, update_seconds: float = 0.0, version: int = 10
) -> tuple[Loop, list[Batch]]:
    """A loop whose metric is the number of updates so far, and the batches that reached it."""
    updated: list[Batch] = []

    def update(batch: Batch) -> None:
        sampler.clock.now += update_seconds
        updated.append(batch)

    def means() -> dict[str, float]:
        return {"updates": float(len(updated))}

    return Loop("teacher", update, means, sampler, limiter, lambda: version), updated


def test_a_step_samples_updates_and_counts_the_valid_rows(clock: Clock) -> None:
    batches = [make_batch(valid_rows=10), make_batch(valid_rows=7)]
    sampler, limiter = FakeSampler(clock, list(batches)), FakeLimiter(clock)
    loop, updated = make_loop(sampler, limiter)
    assert loop.step(3.5)
    assert loop.step()
    assert updated == batches
    assert limiter.recorded == [10, 7]
    assert sampler.timeouts == [3.5, WAIT_SECONDS]


def test_nothing_is_sampled_while_the_limiter_forbids_it(clock: Clock) -> None:
    sampler, limiter = FakeSampler(clock, [make_batch()]), FakeLimiter(clock, allowed=False, seconds=2.0)
    loop, updated = make_loop(sampler, limiter)
    assert not loop.step()
    assert (sampler.timeouts, updated, limiter.recorded) == ([], [], [])
    report = loop.report()
    assert (report.updates, report.waited_seconds, report.waiting_fraction) == (0, 2.0, 1.0)


def test_a_sampler_that_has_nothing_is_no_error(clock: Clock) -> None:
    limiter = FakeLimiter(clock)
    loop, updated = make_loop(FakeSampler(clock, [None, make_batch()], seconds=1.5), limiter)
    assert not loop.step()
    assert (updated, limiter.recorded) == ([], [])
    assert loop.report().waited_seconds == 1.5
    assert loop.step()
    assert len(updated) == 1


def test_waiting_is_what_limiter_and_sampler_took_not_the_update(clock: Clock) -> None:
    sampler, limiter = FakeSampler(clock, [make_batch(), None], seconds=3.0), FakeLimiter(clock, seconds=1.0)
    loop, _ = make_loop(sampler, limiter, update_seconds=8.0)
    assert loop.step()
    assert not loop.step()
    report = loop.report()
    assert (report.updates, report.waited_seconds, report.seconds) == (1, 8.0, 16.0)
    assert report.waiting_fraction == 0.5


def test_a_report_has_the_learner_s_means_and_what_happened_since_the_report_before(clock: Clock) -> None:
    loop, _ = make_loop(FakeSampler(clock, [make_batch()] * 5), FakeLimiter(clock), update_seconds=2.0)
    for _ in range(3):
        loop.step()
    first = loop.report()
    assert (first.updates, first.seconds, first.metrics) == (3, 6.0, {"updates": 3.0})
    for _ in range(2):
        loop.step()
    second = loop.report()
    assert (second.updates, second.seconds, second.metrics) == (2, 4.0, {"updates": 5.0})


def test_a_report_of_no_time_at_all(clock: Clock) -> None:
    loop, _ = make_loop(FakeSampler(clock, []), FakeLimiter(clock))
    report = loop.report()
    assert (report.updates, report.metrics, report.staleness, report.waiting_fraction) == (
        0,
        {"updates": 0.0},
        0.0,
        0.0,
    )


@pytest.mark.parametrize(
    ("versions", "staleness"),
    [
        pytest.param((4, 8), 4.0, id="versions behind the learner's, on average"),
        pytest.param((0, 8), 2.0, id="random driving has no version"),
        pytest.param((0, 0), 0.0, id="nothing but random driving"),
    ],
)
def test_staleness(clock: Clock, versions: tuple[int, int], staleness: float) -> None:
    batches: list[Batch | None] = [make_batch(versions=versions)] * 2
    loop, _ = make_loop(FakeSampler(clock, batches), FakeLimiter(clock), version=10)
    loop.step()
    loop.step()
    assert loop.report().staleness == staleness


def test_an_error_of_an_update_is_the_caller_s_in_debug_mode(clock: Clock) -> None:
    def broken(batch: Batch) -> None:
        raise FloatingPointError("loss is nan")

    limiter = FakeLimiter(clock)
    loop = Loop("student", broken, dict, FakeSampler(clock, [make_batch()]), limiter, lambda: 0)
    with pytest.raises(FloatingPointError, match="loss is nan"):
        loop.step()
    assert limiter.recorded == []


class EndlessSampler:
    """Always has a batch."""

    def sample(self, timeout_s: float) -> Batch:
        return make_batch()


class OpenLimiter:
    """Always allows."""

    def await_sample(self, timeout_s: float) -> bool:
        return True

    def record_sampled(self, rows: int) -> None:
        pass


def test_a_thread_runs_its_loop_until_it_is_stopped() -> None:
    updates = 0
    enough = threading.Event()

    def update(batch: Batch) -> None:
        nonlocal updates
        updates += 1
        if updates >= 5:
            enough.set()

    thread = LoopThread(Loop("teacher", update, dict, EndlessSampler(), OpenLimiter(), lambda: 1), threads=1)
    thread.start()
    assert enough.wait(PATIENCE_SECONDS)
    thread.stop()
    thread.check()
    stopped_at = updates
    assert thread.loop.report().updates == stopped_at
    assert "teacher-loop" not in {running.name for running in threading.enumerate()}


def test_an_error_in_the_thread_is_raised_where_it_is_checked() -> None:
    failed = threading.Event()

    def update(batch: Batch) -> None:
        failed.set()
        raise FloatingPointError("loss is nan")

    thread = LoopThread(Loop("student", update, dict, EndlessSampler(), OpenLimiter(), lambda: 1), threads=1)
    thread.check()
    thread.start()
    assert failed.wait(PATIENCE_SECONDS)
    thread.stop()
    for _ in range(2):  # it stays raised
        with pytest.raises(RuntimeError, match="the student loop ended: loss is nan") as raised:
            thread.check()
        assert isinstance(raised.value.__cause__, FloatingPointError)


def test_a_thread_without_data_stops_too() -> None:
    asked = threading.Event()

    class EmptySampler:
        def sample(self, timeout_s: float) -> Batch:
            asked.set()
            raise TimeoutError("the replay is empty")

    def never(batch: Batch) -> None:
        raise AssertionError("there was no batch")

    thread = LoopThread(Loop("student", never, dict, EmptySampler(), OpenLimiter(), lambda: 1), threads=1)
    thread.start()
    assert asked.wait(PATIENCE_SECONDS)
    thread.stop()
    thread.check()


def test_a_report_that_cannot_be_made_is_told_to_whoever_asks_and_loses_no_count(clock: Clock) -> None:
    sampler, limiter = FakeSampler(clock, [make_batch()]), FakeLimiter(clock)
    broken = True

    def means() -> dict[str, float]:
        if broken:
            raise NotFiniteError("teacher: loss_state not finite")
        return {}

    loop = Loop("teacher", lambda batch: None, means, sampler, limiter, lambda: 1)
    loop.step()
    with pytest.raises(NotFiniteError):
        loop.report()
    broken = False
    assert loop.report().updates == 1
