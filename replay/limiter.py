"""Keeps the number of rows sampled per row inserted at its setting, however fast actors and learner are."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import Final

from replay.connection import AWAY
from replay.schema import check_name
from replay.scripts import BALANCE
from replay.store import ReplayStore

_FIRST_PAUSE_SECONDS: Final = 0.002
_LONGEST_PAUSE_SECONDS: Final = 0.1


class SamplesPerInsert:
    """The samples-per-insert limiter of one learner loop (after DeepMind's Reverb, Cassirer et al. 2021).

    With I rows inserted into the run's replay and N rows sampled by all who share the limiter's name, the balance is::

        balance = samples_per_insert * (I - min_rows) - N          in rows to sample

        may sample   if I >= min_rows and balance > -tolerance_rows
        may insert   if I <  min_rows or  balance <  tolerance_rows

    Inserting raises the balance, sampling lowers it. As ``tolerance_rows > 0``, both are never forbidden at once.
    Both ask before they act, so the balance leaves its band by at most one batch or one chunk. Rows count when they
    are inserted, whether or not they have been evicted since.

    Both counts live in Redis with the replay, so that a learner or an actor that comes back goes on where the run was
    and owes nothing. For the same reason a limiter that is added later, or whose setting was changed, starts with a
    balance of 0: ``min_rows`` and the 0 before the first sample are then replaced by I and N of that moment.

    While Redis does not answer, the limiter goes by the counts that it saw last: actors go on until their chunks are
    full, the learner until its batches are used up. What is sampled meanwhile is counted when Redis is back.
    """

    def __init__(
        self, store: ReplayStore, name: str, samples_per_insert: float, min_rows: int, tolerance_rows: float
    ) -> None:
        """Join or begin the limiter of that name.

        Args:
            store: The run's replay.
            name: Who samples, such as "teacher".
            samples_per_insert: Rows sampled per row inserted; 0 leaves sampling unlimited and never holds up inserts.
            min_rows: Rows that must have been inserted before the first sample.
            tolerance_rows: How many sampled rows the balance may be off, either way.

        Raises:
            ValueError: If a number is not possible.
        """
        check_name("limiter", name)
        for what, value, least in (("samples_per_insert", samples_per_insert, 0), ("min_rows", min_rows, 0)):
            if not value >= least:
                raise ValueError(f"{what} of limiter {name} is {value}: at least {least}")
        if samples_per_insert > 0 and not tolerance_rows > 0:
            raise ValueError(f"tolerance_rows of limiter {name} is {tolerance_rows}: more than 0")
        self._store = store
        self._name = name
        self._samples_per_insert = samples_per_insert
        self._min_rows = min_rows
        self._tolerance_rows = tolerance_rows
        self._waited_seconds = 0.0
        self._unrecorded = 0  # rows sampled that Redis has not been told of
        self._key = store.key(f"limiter:{name}")
        inserted = int(store.stats()["inserted_rows"])
        script = store.client.register_script(BALANCE)
        fields = script(keys=[self._key], args=[repr(float(samples_per_insert)), min_rows, inserted])
        start = dict(zip(fields[::2], fields[1::2], strict=True))
        self._inserted_at_balance = int(start[b"balanced_inserted"])
        self._sampled_at_balance = int(start[b"balanced_sampled"])
        self._seen = self._ask()

    def can_sample(self) -> bool:
        """Return whether a batch may be sampled now; one round trip."""
        inserted, sampled = self._counts()
        return inserted >= self._min_rows and (
            self._samples_per_insert == 0 or self._balance(inserted, sampled) > -self._tolerance_rows
        )

    def can_insert(self) -> bool:
        """Return whether more rows should be inserted now; one round trip."""
        if self._samples_per_insert == 0:
            return True
        inserted, sampled = self._counts()
        return inserted < self._min_rows or self._balance(inserted, sampled) < self._tolerance_rows

    def await_sample(self, timeout_s: float) -> bool:
        """Wait until a batch may be sampled.

        Args:
            timeout_s: Seconds to wait at most.

        Returns:
            False if it still may not; `explain` tells why.
        """
        began = time.monotonic()
        pause = _FIRST_PAUSE_SECONDS
        allowed = self.can_sample()
        while not allowed and (left := began + timeout_s - time.monotonic()) > 0:
            time.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            allowed = self.can_sample()
        self._waited_seconds += time.monotonic() - began
        return allowed

    def record_sampled(self, rows: int) -> None:
        """Count rows that were sampled; `valid` rows or all rows of the batch, but always the same.

        A reply that is lost may count a batch twice: too few samples, never a burst.
        """
        self._unrecorded += rows
        try:
            self._store.client.hincrby(self._key, "sampled_rows", self._unrecorded)
        except AWAY:
            return
        self._unrecorded = 0

    def explain(self) -> str:
        """Return in one line where the limiter stands, for the message of who waits for it."""
        inserted, sampled = self._counts()
        if inserted < self._min_rows:
            return f"limiter {self._name}: {inserted} of the {self._min_rows} rows before the first sample are there"
        return (
            f"limiter {self._name}: {inserted} rows inserted, {sampled} sampled, balance "
            f"{self._balance(inserted, sampled):+.0f} of ±{self._tolerance_rows:.0f} rows at "
            f"{self._samples_per_insert:g} samples per insert"
        )

    def stats(self) -> dict[str, float]:
        """Return counts and the actual ratio, in one round trip.

        ``inserted_rows``, ``sampled_rows``, ``balance_rows``, ``waited_seconds`` and ``ratio``: the
        rows sampled per row inserted since the limiter began in balance, 0 before the first insert after that.
        """
        inserted, sampled = self._counts()
        new_rows = inserted - self._inserted_at_balance
        return {
            "inserted_rows": float(inserted),
            "sampled_rows": float(sampled),
            "balance_rows": self._balance(inserted, sampled),
            "ratio": (sampled - self._sampled_at_balance) / new_rows if new_rows > 0 else 0.0,
            "waited_seconds": self._waited_seconds,
        }

    def _counts(self) -> tuple[int, int]:
        """Rows inserted and rows sampled; the last ones seen while Redis does not answer."""
        with contextlib.suppress(*AWAY):
            self._seen = self._ask()
        inserted, sampled = self._seen
        return inserted, sampled + self._unrecorded

    def _ask(self) -> tuple[int, int]:
        pipeline = self._store.client.pipeline(transaction=False)
        pipeline.hget(self._key, "sampled_rows")
        for shard in range(self._store.config.shards):
            pipeline.hget(self._store.key("counters", shard), "inserted_rows")
        sampled, *inserted = (int(count or 0) for count in pipeline.execute())
        return sum(inserted), sampled

    def _balance(self, inserted: int, sampled: int) -> float:
        earned = self._samples_per_insert * (inserted - self._inserted_at_balance)
        return earned - (sampled - self._sampled_at_balance)


@dataclass(frozen=True)
class LimiterPlan:
    """The arguments of a `SamplesPerInsert` but for its store: what a process is sent that joins one."""

    name: str
    samples_per_insert: float
    min_rows: int
    tolerance_rows: float

    def join(self, store: ReplayStore) -> SamplesPerInsert:
        """The limiter of that name in the run's replay."""
        return SamplesPerInsert(store, self.name, self.samples_per_insert, self.min_rows, self.tolerance_rows)
