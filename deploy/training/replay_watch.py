"""The driver's eye on the replay: its counters, and what becomes of the run while Redis is away.

    Redis answers, and writes  counters as they are
    Redis is away              counters as they were seen last; event `replay_away` with the reason; an embedded server
                               is started again
    Redis is back              event `replay_back`, with the seconds
    away for too long          the run ends with one line; the same command continues it
    counters have fallen       event `replay_lost`, with the environment steps that are gone: they stay counted

Away is who does not answer, and who refuses for a reason that may pass (`replay.connection.is_outage`). Reading goes on
while a server refuses to write, so that once a second a mark is written, too; and what actors and learner are refused,
who may be other users and come by other ways, is heeded. A server at the edge of its memory takes a small write between
two large ones that it refuses: it is back once nobody has been refused for `SILENT_SECONDS`. Meanwhile actors hold what
they have and wait, the learner waits for batches, and nobody ends.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping

from deploy.errors import RunEndedError
from replay.connection import UNAVAILABLE, outage
from replay.store import ReplayStore

LOGGER = logging.getLogger(__name__)

MARK_SECONDS = 1.0
"""Between two marks: each is one more write for the server, in its log too."""

SILENT_SECONDS = 3.0
"""An answer that takes longer has been away: the client tries each command again before it tells of it.

And who is to be back has answered and written for as long."""


class ReplayLostError(RunEndedError):
    """Redis is away for longer than a run waits; what was learned is not lost with it."""


class ReplayWatch:
    """Counters of a run's replay that can be asked for at any time."""

    def __init__(
        self,
        store: ReplayStore,
        *,
        lost_env_steps: int,
        outage_seconds: float,
        event: Callable[..., None],
        revive: Callable[[], bool] | None = None,
    ) -> None:
        """Looks for the first time.

        Args:
            store: the replay.
            lost_env_steps: environment steps of this run that the replay does not have any more: they stay counted.
            outage_seconds: for how long Redis may be away.
            event: told of each outage and loss; `RunMonitor.event`.
            revive: starts a server of our own again if it has ended, and tells whether it had.

        Raises:
            redis.RedisError: Redis does not answer.
        """
        self._store, self._outage_seconds, self._event, self._revive = store, outage_seconds, event, revive
        self._lost = lost_env_steps
        self._seen: Mapping[str, float] = store.stats()
        self._good_at = self._good_since = self._away_since = self._marked_at = time.monotonic()
        self._refused: dict[str, str] = {}
        self._away = False

    @property
    def away(self) -> bool:
        """Whether Redis did not answer or refused when it was asked last."""
        return self._away

    def heed(self, who: str, reason: str) -> None:
        """Takes in what others are refused.

        Args:
            who: "actors" or "the learner".
            reason: in one line; empty when they get on.
        """
        self._refused[who] = reason

    def env_steps(self) -> int:
        """Environment steps of the run so far.

        Raises:
            ReplayLostError: as `stats`.
        """
        return int(self.stats()["env_steps"]) + self._lost

    def stats(self) -> Mapping[str, float]:
        """`ReplayStore.stats()`; as it was seen last while Redis does not answer.

        Raises:
            ReplayLostError: Redis is away for longer than a run waits.
        """
        asked_at = time.monotonic()
        try:
            found = self._store.stats()
            self._note_lost(found)
            self._seen = found
            if self._away or time.monotonic() - self._marked_at >= MARK_SECONDS:
                self._store.mark()
                self._marked_at = time.monotonic()
        except UNAVAILABLE as error:
            self._note_away(outage(error))
            return self._seen
        refused = next((f"{who}: {reason}" for who, reason in self._refused.items() if reason), "")
        if refused:
            self._note_away(refused)
        else:
            self._note_good(asked_at)
        return self._seen

    def _note_away(self, reason: str) -> None:
        self._begin_away(reason)
        self._good_since = math.inf
        if self._revive is not None and self._revive():
            LOGGER.warning("the embedded Redis server had ended and was started again")
        seconds = time.monotonic() - self._good_at
        if seconds > self._outage_seconds:
            raise ReplayLostError(
                f"Redis at {self._store.server} has been away for {seconds:.0f} s "
                f"(replay.outage_seconds={self._outage_seconds:g}): {reason}; the same command continues the run"
            )

    def _begin_away(self, reason: str) -> None:
        if not self._away:
            self._away = True
            # From its last good answer on: the one that did not come was waited for, too.
            self._away_since = self._good_at
            LOGGER.warning("Redis at %s is away: %s", self._store.server, reason)
            self._event("replay_away", reason=reason)

    def _note_good(self, asked_at: float) -> None:
        now = time.monotonic()
        if now - asked_at >= SILENT_SECONDS:
            self._begin_away(f"it did not answer for {now - asked_at:.0f} s")
            self._good_since = now
        self._good_at, self._good_since = now, min(self._good_since, now)
        if self._away and now - self._good_since >= SILENT_SECONDS:
            self._away = False
            seconds = self._good_since - self._away_since
            LOGGER.warning("Redis at %s is back after %.1f s", self._store.server, seconds)
            self._event("replay_back", seconds=round(seconds, 1))

    def _note_lost(self, found: Mapping[str, float]) -> None:
        """A server that was emptied, or a replica that lags and has become the first, counts less than before."""
        if found["inserted_rows"] >= self._seen["inserted_rows"] and found["env_steps"] >= self._seen["env_steps"]:
            return
        lost = max(int(self._seen["env_steps"] - found["env_steps"]), 0)
        self._store.raise_incarnations(int(self._seen["env_steps"]) + self._lost)
        self._lost += lost
        LOGGER.warning("Redis at %s has lost %d environment steps", self._store.server, lost)
        self._event("replay_lost", lost_env_steps=lost)
