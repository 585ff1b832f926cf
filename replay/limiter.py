"""Keeps the number of rows sampled per row inserted at its setting, however fast actors and learner are.

::

    learner's process                         Redis                                 driver's process
    -----------------                         -----                                 ----------------
    SamplesPerInsert asks, before a batch <-- rows inserted <-- PUT, by actors
    and counts what it has sampled ---------> its own count, a copy --------------> RowCredits (replay.credits):
                                              rows inserted ----------------------> rows that actors may add

Rows inserted are counted where the rows are, in Redis. Rows sampled are counted where the updates are that they went
into: by the learner, in its checkpoints. So a learner that begins again from a checkpoint, or from nothing, owes the
updates that were lost with it, and makes them again: as fast as it can, while actors wait, who by then are ahead of it
by no more than they ever are.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from replay.connection import UNAVAILABLE, is_outage, outage
from replay.schema import check_name
from replay.store import ReplayStore

_FIRST_PAUSE_SECONDS: Final = 0.002
_LONGEST_PAUSE_SECONDS: Final = 0.1


@dataclass(frozen=True)
class LimiterPlan:
    """What one loop of the learner may sample.

    Attributes:
        name: Who samples, such as "teacher".
        samples_per_insert: Rows sampled per row inserted; 0 leaves sampling unlimited.
        min_rows: Rows that must have been inserted before the first sample; they ask for nothing.

    Raises:
        ValueError: If a number is not possible.
    """

    name: str
    samples_per_insert: float
    min_rows: int

    def __post_init__(self) -> None:
        check_name("limiter", self.name)
        for what, value in (("samples_per_insert", self.samples_per_insert), ("min_rows", self.min_rows)):
            if not value >= 0:
                raise ValueError(f"{what} of limiter {self.name} is {value}: at least 0")


@dataclass(frozen=True)
class Balance:
    """What one loop has sampled, and what the rows inserted so far ask of it; plain arithmetic.

    With I rows inserted since the run began and N rows sampled::

        asked   = samples_per_insert * max(I - min_rows, 0)
        balance = asked - N              in rows to sample that are still asked for; below 0: sampled in advance

    Rows count when they are inserted, whether or not they have been evicted or lost since. ``asked`` is added up as
    rows come, so that a changed setting holds for the rows that come after it.

    Attributes:
        inserted: I.
        seen: The replay's own count, when it was looked at last. Where it falls, rows were lost: they stay counted in
            I, which goes on from there.
        asked: As above.
        sampled: N.
    """

    inserted: int = 0
    seen: int = 0
    asked: float = 0.0
    sampled: int = 0

    @classmethod
    def kept(cls, plan: LimiterPlan, seen: int) -> Balance:
        """Of a loop of which no more is known than that it has kept to its plan so far: it owes nothing."""
        begun = cls().at(seen, plan)
        return replace(begun, sampled=round(begun.asked))

    @property
    def rows(self) -> float:
        """The balance."""
        return self.asked - self.sampled

    def at(self, seen: int, plan: LimiterPlan) -> Balance:
        """The same loop when the replay counts so many rows inserted."""
        inserted = self.inserted + max(seen - self.seen, 0)
        asking = max(inserted - plan.min_rows, 0) - max(self.inserted - plan.min_rows, 0)
        return replace(self, inserted=inserted, seen=seen, asked=self.asked + plan.samples_per_insert * asking)

    def may_sample(self, plan: LimiterPlan) -> bool:
        """Whether the loop may sample a batch: while it has sampled no more than is asked for."""
        return self.inserted >= plan.min_rows and (plan.samples_per_insert == 0 or self.rows >= 0)

    def owes(self, plan: LimiterPlan) -> bool:
        """Whether the rows that are in ask for more samples; never so without a bound."""
        return plan.samples_per_insert > 0 and self.rows > 0

    def ahead_rows(self, plan: LimiterPlan) -> float:
        """Rows by which inserting is ahead of sampling; 0 without a bound."""
        return self.rows / plan.samples_per_insert if plan.samples_per_insert > 0 else 0.0

    def to_document(self, plan: LimiterPlan) -> dict[str, float]:
        """Plain numbers, for a checkpoint; read back by `from_document`."""
        counts = {"inserted": self.inserted, "seen": self.seen, "asked": self.asked, "sampled": self.sampled}
        return {**counts, "samples_per_insert": plan.samples_per_insert}

    @classmethod
    def from_document(cls, document: Mapping[str, float], plan: LimiterPlan) -> Balance:
        """What a checkpoint says. Under another setting than the one it was written with nothing is owed."""
        counts = {name: int(document[name]) for name in ("inserted", "seen", "sampled")}
        found = cls(asked=float(document["asked"]), **counts)
        if document["samples_per_insert"] != plan.samples_per_insert:
            return replace(found, asked=float(found.sampled))
        return found


class SamplesPerInsert:
    """The samples-per-insert limiter of one learner loop (after DeepMind's Reverb, Cassirer et al. 2021).

    The loop asks before each batch, see `Balance.may_sample`, and counts it afterwards, so that it has sampled at most
    one batch more than is asked for. The other side, how far actors may be ahead of it, is `replay.credits`.

    While Redis does not answer, the limiter goes by the rows that it saw last, and the learner until its batches are
    used up. What is sampled meanwhile is told when Redis is back.

    Attributes:
        name: The plan's.
        refusal: Why Redis gave or took nothing when it was last asked; empty when it did.
    """

    def __init__(self, store: ReplayStore, plan: LimiterPlan, balance: Balance | None) -> None:
        """Begin, or go on from a checkpoint, and say so to the driver.

        Args:
            store: The run's replay.
            plan: What the loop may sample.
            balance: Of the checkpoint; None for a learner that has made no update.
        """
        self._store = store
        self._plan = plan
        self.name = plan.name
        self.refusal = ""
        self._waited_seconds = 0.0
        self._key = _key(store, plan.name)
        self._balance = Balance() if balance is None else balance
        self._untold = False
        self._lock = threading.Lock()  # who reports is another thread than who samples
        self._look()
        self._tell()

    def may_sample(self) -> bool:
        """Return whether a batch may be sampled now; one round trip."""
        return self._look().may_sample(self._plan)

    def owes(self) -> bool:
        """Return whether the rows that are in ask for more samples; one round trip."""
        return self._look().owes(self._plan)

    def await_sample(self, timeout_s: float) -> bool:
        """Wait until a batch may be sampled.

        Args:
            timeout_s: Seconds to wait at most.

        Returns:
            False if it still may not; `explain` tells why.
        """
        began = time.monotonic()
        pause = _FIRST_PAUSE_SECONDS
        allowed = self.may_sample()
        while not allowed and (left := began + timeout_s - time.monotonic()) > 0:
            time.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            allowed = self.may_sample()
        self._waited_seconds += time.monotonic() - began
        return allowed

    def record_sampled(self, rows: int) -> None:
        """Count rows that were sampled; `valid` rows or all rows of the batch, but always the same."""
        with self._lock:
            self._balance = replace(self._balance, sampled=self._balance.sampled + rows)
            self._tell()

    def explain(self) -> str:
        """Return in one line where the limiter stands, for the message of who waits for it."""
        plan, balance = self._plan, self._look()
        if balance.inserted < plan.min_rows:
            return (
                f"limiter {plan.name}: {balance.inserted} of the {plan.min_rows} rows before the first sample are there"
            )
        return (
            f"limiter {plan.name}: {balance.inserted} rows inserted, {balance.sampled} sampled, balance "
            f"{balance.rows:+.0f} rows at {plan.samples_per_insert:g} samples per insert"
        )

    def stats(self) -> dict[str, float]:
        """Return counts and the actual ratio, in one round trip.

        ``inserted_rows``, ``sampled_rows``, ``balance_rows``, ``waited_seconds`` and ``ratio``: the rows sampled, by
        the updates that this learner's weights have had, per row inserted after the first ``min_rows``; 0 before that.
        """
        balance = self._look()
        asking = balance.inserted - self._plan.min_rows
        return {
            "inserted_rows": float(balance.inserted),
            "sampled_rows": float(balance.sampled),
            "balance_rows": balance.rows,
            "ratio": balance.sampled / asking if asking > 0 else 0.0,
            "waited_seconds": self._waited_seconds,
        }

    def to_document(self) -> dict[str, float]:
        """What a checkpoint of the learner has to say; see `Balance.to_document`."""
        return self._look().to_document(self._plan)

    def _look(self) -> Balance:
        """How the loop stands now, or stood when Redis last answered."""
        with self._lock, self._until_redis_is_back():
            # Who was refused while it told of its last samples, and may sample no more, must tell of them all the same:
            # actors wait for it, and it for their rows.
            if self._untold:
                self._write()
            pipeline = self._store.client.pipeline(transaction=False)
            for shard in range(self._store.config.shards):
                pipeline.hget(self._store.key("counters", shard), "inserted_rows")
            seen = sum(int(count or 0) for count in pipeline.execute())
            self._balance = self._balance.at(seen, self._plan)
        return self._balance

    @contextlib.contextmanager
    def _until_redis_is_back(self) -> Iterator[None]:
        """What is asked or told in here can wait."""
        try:
            yield
        except UNAVAILABLE as error:
            self.refusal = outage(error)
        else:
            self.refusal = ""

    def _tell(self) -> None:
        """Put a copy of the counts where the driver looks."""
        with self._until_redis_is_back():
            self._write()

    def _write(self) -> None:
        told: dict[Any, Any] = {name: repr(value) for name, value in self._balance.to_document(self._plan).items()}
        self._untold = True
        self._store.client.hset(self._key, mapping=told)
        self._untold = False


def read_balances(store: ReplayStore, plans: Sequence[LimiterPlan]) -> list[Balance] | None:
    """Return how each loop stands, as its learner has told and with the rows that are in now; one round trip.

    Returns:
        In the order of the plans; None while Redis does not answer.
    """
    pipeline = store.client.pipeline(transaction=False)
    for plan in plans:
        pipeline.hgetall(_key(store, plan.name))
    for shard in range(store.config.shards):
        pipeline.hget(store.key("counters", shard), "inserted_rows")
    try:
        answers = pipeline.execute()
    except UNAVAILABLE as error:
        if is_outage(error):
            return None
        raise
    told, counts = answers[: len(plans)], answers[len(plans) :]
    seen = sum(int(count or 0) for count in counts)
    balances = []
    for plan, fields in zip(plans, told, strict=True):
        document = {name.decode(): float(value) for name, value in fields.items()}
        balance = Balance.from_document(document, plan) if document else Balance()
        balances.append(balance.at(seen, plan))
    return balances


def _key(store: ReplayStore, name: str) -> str:
    return store.key(f"balance:{name}")
