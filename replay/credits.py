"""Hands out the rows that actors may add, so that they never get far ahead of the learner, however many they are."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from replay.limiter import Balance, LimiterPlan


class RowCredits:
    """The driver's account of the rows that actors may add.

    An actor begins a chunk only when it has credit for all of it. So no chunk that is begun waits for more, and what
    is in flight is known: `pending` rows, those of chunks that are begun and not yet in replay, and of credit that an
    actor has not answered for. With I rows inserted, and for each loop that holds actors up the rows by which
    inserting is ahead of it (`replay.limiter.Balance`)::

        while nothing was ever learned   credit = min_rows - I - pending          the prefill, and no random row more
        afterwards                       credit = tolerance_rows - max(ahead) - pending

    The tolerance is that of all actors together: it depends on nothing that grows with their number. Credit is shared
    out in whole chunks. A loop without a bound holds nobody up. Where a `limit` is set, no more is handed out than is
    wanted.

    What an actor reports replaces what was thought of it, and of an actor that is gone nothing is pending any more:
    what it had written is counted in I, and what died with it is given back. No error adds up.

    Nothing waits here, and no clock is read.
    """

    def __init__(
        self,
        counts: Callable[[], Sequence[Balance] | None],
        plans: Sequence[LimiterPlan],
        *,
        tolerance_rows: int,
        chunk_rows: int,
        actor_rows: int,
    ) -> None:
        """Begin with no credit given.

        Args:
            counts: How the loops stand, in the order of the plans; None while that cannot be known.
            plans: Of the loops that hold actors up, at least one.
            tolerance_rows: By which actors may be ahead of each of them.
            chunk_rows: Rows of a full chunk.
            actor_rows: That one actor can have under way: a chunk for each of its environments.

        Raises:
            ValueError: If no chunk could ever be begun.
        """
        if tolerance_rows < chunk_rows:
            raise ValueError(f"tolerance_rows is {tolerance_rows}: at least a chunk, {chunk_rows} rows")
        self._counts, self._plans = counts, tuple(plans)
        self._tolerance_rows, self._chunk_rows, self._actor_rows = tolerance_rows, chunk_rows, actor_rows
        self._seen: tuple[Balance, ...] | None = None
        self._pending: dict[str, int] = {}
        self._pending_rows = 0  # their sum: there may be thousands
        self._wanted = math.inf

    @property
    def learned(self) -> bool:
        """Whether the learner had made an update when it was looked at."""
        return self._seen is not None and any(balance.sampled > 0 for balance in self._seen)

    @property
    def pending_rows(self) -> int:
        """Rows in flight, of all actors."""
        return self._pending_rows

    def look(self) -> None:
        """See how the loops stand; while that cannot be known, what was seen last holds."""
        found = self._counts()
        if found is not None:
            self._seen = tuple(found)

    def limit(self, rows: float) -> None:
        """Say how many rows are still wanted in all, those that are pending included."""
        self._wanted = rows

    def available(self, random: bool) -> float:
        """Rows that could be handed out now.

        Args:
            random: Whether whoever gets them has no weights yet.
        """
        if self._seen is None:
            return 0.0
        inserted = max(balance.inserted for balance in self._seen)
        prefill = max(plan.min_rows for plan in self._plans) - inserted
        if random:
            return self._whole_chunks(min(prefill, self._wanted))
        return min(max(self._tolerance_left(), prefill - self.pending_rows), self._whole_chunks(self._wanted))

    def grant(self, actor_id: str, *, random: bool, among: int) -> int | None:
        """Give an actor credit for its next call.

        Args:
            actor_id: The actor; it has no call under way.
            random: As in `available`.
            among: Actors that there are: half of all that may be in flight is shared evenly among them, so that there
                is always some for those who come next. What the tolerance leaves is handed out when it is enough for
                a whole share: environments that begin together share their policy steps.

        Returns:
            Rows that it may add; 0 for one that has chunks to go on with, and None for one that has nothing to do.
        """
        pending = self._pending.get(actor_id, 0)
        available = self.available(random)
        whole = max(plan.min_rows for plan in self._plans) if random else self._tolerance_rows
        share = max(whole / (2 * max(among, 1)), self._chunk_rows) if self._is_bounded(random) else math.inf
        least = min(share, self._actor_rows) // self._chunk_rows * self._chunk_rows
        if available > 0 and not random and self._tolerance_left() < least:
            available = 0.0
        chunks = int(min(available, share, self._actor_rows - pending) // self._chunk_rows)
        credit = max(chunks, 0) * self._chunk_rows
        self.report(actor_id, pending + credit)
        return credit if pending + credit > 0 else None

    def report(self, actor_id: str, pending_rows: int) -> None:
        """Take in how many rows an actor has under way after its call; what it has not begun it has given back."""
        self._pending_rows += pending_rows - self._pending.get(actor_id, 0)
        self._pending[actor_id] = pending_rows

    def forget(self, actor_id: str) -> None:
        """An actor is gone, with all that it held."""
        self._pending_rows -= self._pending.pop(actor_id, 0)

    def _tolerance_left(self) -> float:
        """Rows to which actors may still get ahead of the loop that lags most, with all that is pending."""
        assert self._seen is not None
        left = [
            self._tolerance_rows - balance.ahead_rows(plan)
            for balance, plan in zip(self._seen, self._plans, strict=True)
            if plan.samples_per_insert > 0
        ]
        return min(left, default=math.inf) - self.pending_rows

    def _is_bounded(self, random: bool) -> bool:
        return random or any(plan.samples_per_insert > 0 for plan in self._plans)

    def _whole_chunks(self, wanted: float) -> float:
        """Rows to hand out so that those that are pending become as many as are wanted: the last chunk is whole too."""
        lacking = max(wanted - self.pending_rows, 0.0)
        return math.ceil(lacking / self._chunk_rows) * self._chunk_rows if math.isfinite(lacking) else lacking
