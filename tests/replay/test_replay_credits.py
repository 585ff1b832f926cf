"""Row credits: the account by itself, and a pool and a learner on a simulated clock."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

import numpy as np
import pytest

from replay.credits import RowCredits
from replay.limiter import Balance, LimiterPlan

CHUNK = 10
PLAN = LimiterPlan("teacher", samples_per_insert=4.0, min_rows=50)


class Counts:
    """What replay would say: rows inserted, rows sampled by each loop."""

    def __init__(self, *plans: LimiterPlan) -> None:
        self.plans = plans
        self.inserted = 0
        self.sampled = [0] * len(plans)
        self.away = False

    def __call__(self) -> list[Balance] | None:
        if self.away:
            return None
        found = [Balance().at(self.inserted, plan) for plan in self.plans]
        return [
            Balance(balance.inserted, balance.seen, balance.asked, sampled)
            for balance, sampled in zip(found, self.sampled, strict=True)
        ]


def make(*plans: LimiterPlan, tolerance_rows: int = 100, envs: int = 5) -> tuple[RowCredits, Counts]:
    counts = Counts(*(plans or (PLAN,)))
    credits = RowCredits(counts, counts.plans, tolerance_rows=tolerance_rows, chunk_rows=CHUNK, actor_rows=envs * CHUNK)
    credits.look()
    return credits, counts


def granted(credits: RowCredits, actor: str = "a", *, random: bool = False, among: int = 1) -> int | None:
    return credits.grant(actor, random=random, among=among)


def test_random_rows_are_those_of_the_prefill_and_no_more_however_many_actors_there_are() -> None:
    credits, counts = make()
    given = {f"a{number}": granted(credits, f"a{number}", random=True, among=64) for number in range(64)}
    assert [rows for rows in given.values() if rows] == [CHUNK] * 5
    counts.inserted = 50
    for actor in given:
        credits.report(actor, 0)
    credits.look()
    assert granted(credits, random=True) is None, "whoever has no weights waits for them"
    assert granted(credits, random=False), "who has them does not"


def test_a_prefill_that_is_no_multiple_of_a_chunk_ends_with_a_whole_one() -> None:
    credits, counts = make(LimiterPlan("teacher", 4.0, min_rows=52))
    counts.inserted = 49
    credits.look()
    assert granted(credits, random=True) == CHUNK
    assert granted(credits, "b", random=True) is None


def test_actors_are_ahead_by_no_more_than_the_tolerance_with_all_that_is_under_way() -> None:
    credits, counts = make(tolerance_rows=100)
    counts.inserted, counts.sampled = 50 + 60, [0]
    credits.look()
    rows = [granted(credits, f"a{number}", among=5) for number in range(5)]
    assert rows == [10, 10, 10, 10, None]
    counts.sampled = [4 * 25]
    credits.look()
    assert [granted(credits, f"b{number}", among=5) for number in range(3)] == [10, 10, None]


def test_the_loop_that_lags_most_holds_actors_up_and_one_without_a_bound_does_not() -> None:
    student, free = LimiterPlan("student", 2.0, min_rows=50), LimiterPlan("student", 0.0, min_rows=50)
    for plans, available in (((PLAN, student), 100 - 35), ((PLAN, free), 100 - 10)):
        credits, counts = make(*plans)
        counts.inserted, counts.sampled = 100, [4 * 40, 2 * 15]
        credits.look()
        assert credits.available(random=False) == available


def test_without_any_bound_actors_keep_all_their_environments_busy() -> None:
    credits, counts = make(LimiterPlan("teacher", 0.0, min_rows=50))
    counts.inserted = 10**6
    credits.look()
    assert [granted(credits, f"a{number}", among=100) for number in range(100)] == [5 * CHUNK] * 100


def test_credit_is_shared_evenly_and_some_is_left_for_who_comes_next() -> None:
    for among, first in ((1, 50), (2, 20), (100, CHUNK)):
        credits, counts = make(tolerance_rows=100)
        counts.inserted = 50
        credits.look()
        assert granted(credits, among=among) == first


def test_credit_is_not_handed_out_chunk_by_chunk_as_the_learner_goes_on() -> None:
    """Environments that begin together share their policy steps; one that begins by itself has one of its own."""
    credits, counts = make(tolerance_rows=100)
    counts.inserted = 50
    credits.look()
    assert [granted(credits, "a"), granted(credits, "b")] == [50, 50]
    grants = []
    for actor in "ab":
        counts.inserted += 50
        credits.report(actor, 0)
    for _ in range(10):
        counts.sampled = [counts.sampled[0] + 4 * CHUNK]
        credits.look()
        grants.append(granted(credits, "a"))
        credits.report("a", 0)
        counts.inserted += grants[-1] or 0
    assert grants == [None, None, None, None, 50, None, None, None, None, 50]


def test_an_actor_that_has_chunks_to_go_on_with_is_called_without_new_credit() -> None:
    credits, counts = make(tolerance_rows=CHUNK)
    counts.inserted = 50
    credits.look()
    assert granted(credits) == CHUNK
    credits.report("a", CHUNK)
    assert granted(credits) == 0
    assert granted(credits, "b") is None
    credits.report("a", 0)
    assert granted(credits, "b") == CHUNK


def test_what_died_with_an_actor_is_given_back_and_no_error_adds_up() -> None:
    """Of the actor's last call nobody knows how much it wrote; replay counts that."""
    credits, counts = make(tolerance_rows=100)
    counts.inserted = 50
    for death in range(1000):
        credits.look()
        assert granted(credits, f"a{death}") == 50
        counts.inserted += 20  # of 50 credited, before it died
        counts.sampled = [counts.sampled[0] + 4 * 20]
        credits.forget(f"a{death}")
    credits.look()
    assert (credits.pending_rows, credits.available(random=False)) == (0, 100)


def test_no_more_rows_are_handed_out_than_are_wanted() -> None:
    credits, counts = make(tolerance_rows=100)
    counts.inserted = 50
    credits.look()
    credits.limit(15)
    assert [granted(credits, actor, among=9) for actor in "abc"] == [CHUNK, CHUNK, None]
    credits.limit(0)
    assert granted(credits, "d") is None


def test_while_replay_is_away_what_was_seen_last_holds() -> None:
    credits, counts = make(tolerance_rows=100)
    counts.inserted = 50
    credits.look()
    counts.away, counts.inserted = True, 150
    credits.look()
    assert granted(credits) == 50
    assert not credits.learned


def test_nothing_is_handed_out_before_anything_is_known() -> None:
    counts = Counts(PLAN)
    counts.away = True
    credits = RowCredits(counts, [PLAN], tolerance_rows=100, chunk_rows=CHUNK, actor_rows=50)
    credits.look()
    assert granted(credits, random=True) is None


def test_a_tolerance_in_which_no_chunk_fits_is_refused() -> None:
    with pytest.raises(ValueError, match="tolerance_rows is 9: at least a chunk, 10 rows"):
        make(tolerance_rows=9)


# ---------------------------------------------------------------- pool and learner on a simulated clock


@dataclass
class World:
    """A pool of actors that take `step_seconds` a row, and a learner that takes `update_seconds` for a batch.

    Each actor does what `actors.stream_worker` does: it begins chunks on credit, steps all that are under way in turn,
    and reports after each call. Nothing but the credits keeps actors and learner in step.
    """

    actors: int
    envs: int
    plan: LimiterPlan
    tolerance_rows: int
    step_seconds: float
    update_seconds: float
    batch_rows: int = 160
    rows_per_call: int = 64
    wanted: float = float("inf")
    inserted: int = 0
    balance: Balance = field(default_factory=Balance)
    version: int = 0
    random_rows: int = 0
    learner_busy: float = 0.0
    widest: float = 0.0
    open: dict[str, list[int]] = field(default_factory=dict)  # rows still lacking, of each chunk under way
    deaths: float = 0.0  # chance that an actor dies in a call

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(0)
        self.credits = RowCredits(
            self.counts,
            [self.plan],
            tolerance_rows=self.tolerance_rows,
            chunk_rows=CHUNK,
            actor_rows=self.envs * CHUNK,
        )

    def counts(self) -> list[Balance]:
        self.balance = self.balance.at(self.inserted, self.plan)
        return [self.balance]

    def run(self, seconds: float) -> World:
        events = [(0.0, number, f"a{number}") for number in range(self.actors)] + [(0.0, -1, "learner")]
        heapq.heapify(events)
        while events[0][0] < seconds:
            now, number, who = heapq.heappop(events)
            took = self.learn() if who == "learner" else self.act(who)
            heapq.heappush(events, (now + took, number, who))
        return self

    def learn(self) -> float:
        (balance,) = self.counts()
        if not balance.may_sample(self.plan):
            return 0.01
        self.balance = Balance(balance.inserted, balance.seen, balance.asked, balance.sampled + self.batch_rows)
        self.version += 1
        self.learner_busy += self.update_seconds
        return self.update_seconds

    def act(self, actor: str) -> float:
        self.credits.limit(self.wanted - self.inserted)
        self.credits.look()
        credit = self.credits.grant(actor, random=self.version == 0, among=self.actors)
        self.watch()
        if credit is None:
            return 0.2
        chunks = self.open.setdefault(actor, [])
        chunks += [CHUNK] * (credit // CHUNK)
        if self.rng.random() < self.deaths:
            self.open[actor] = []
            self.credits.forget(actor)
            return 1.0
        rows = 0
        while chunks and rows < self.rows_per_call:
            rows += len(chunks)
            chunks[:] = [left - 1 for left in chunks]
            self.inserted += CHUNK * chunks.count(0)
            chunks[:] = [left for left in chunks if left > 0]
        self.random_rows += rows * (self.version == 0)
        self.credits.report(actor, CHUNK * len(chunks))
        return rows * self.step_seconds

    def watch(self) -> None:
        ahead = self.balance.ahead_rows(self.plan) + self.credits.pending_rows
        self.widest = max(self.widest, ahead if self.version else 0.0)


@pytest.mark.parametrize("actors", [1, 3, 64, 512])
def test_a_pool_of_any_size_keeps_ratio_and_tolerance_and_begins_with_the_prefill_alone(actors: int) -> None:
    world = World(actors, 12, PLAN, tolerance_rows=200, step_seconds=0.004, update_seconds=0.2).run(40.0)
    assert 50 <= world.random_rows <= 50 + CHUNK
    assert world.widest <= 200
    assert -160 <= world.balance.rows <= 4.0 * 200
    # One learner, whom actors of any number can feed, has worked all the time but for the prefill.
    assert world.learner_busy > 0.95 * 40.0


@pytest.mark.parametrize("actors", [1, 4])
def test_actors_that_are_slower_than_the_learner_are_never_held_up(actors: int) -> None:
    world = World(actors, 4, PLAN, tolerance_rows=200, step_seconds=0.02, update_seconds=0.001).run(60.0)
    assert world.inserted > 0.9 * actors * 60.0 / 0.02


def test_actors_that_die_again_and_again_neither_stop_the_run_nor_let_it_run_away() -> None:
    world = World(8, 12, PLAN, tolerance_rows=200, step_seconds=0.004, update_seconds=0.2, deaths=0.3).run(60.0)
    assert world.widest <= 200
    assert world.learner_busy > 0.8 * 60.0


def test_collecting_ends_where_it_was_to_end() -> None:
    world = World(64, 12, PLAN, tolerance_rows=200, step_seconds=0.004, update_seconds=0.01, wanted=2000).run(60.0)
    assert 2000 <= world.inserted < 2000 + CHUNK
