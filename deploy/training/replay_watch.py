"""The driver's eye on the replay: its counters, and what becomes of the run while Redis is away.

    Redis answers          counters as they are
    Redis is away          counters as they were seen last; event `replay_away`; an embedded server is started again
    Redis is back          event `replay_back`, with the seconds and the environment steps that it lost
    away for too long      the run ends with one line; the same command continues it

Meanwhile actors hold what they have and wait, the learner waits for batches, and nobody ends.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from deploy.errors import RunEndedError
from replay.connection import AWAY
from replay.store import ReplayStore

LOGGER = logging.getLogger(__name__)


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
            event: told of each outage; `RunMonitor.event`.
            revive: starts a server of our own again if it has ended, and tells whether it had.

        Raises:
            redis.RedisError: Redis does not answer.
        """
        self._store, self._outage_seconds, self._event, self._revive = store, outage_seconds, event, revive
        self._lost = lost_env_steps
        self._seen: Mapping[str, float] = store.stats()
        self._away_since: float | None = None

    @property
    def away(self) -> bool:
        """Whether Redis did not answer when it was asked last."""
        return self._away_since is not None

    def env_steps(self) -> int:
        """Environment steps of the run so far.

        Raises:
            RunEndedError: as `stats`.
        """
        return int(self.stats()["env_steps"]) + self._lost

    def stats(self) -> Mapping[str, float]:
        """`ReplayStore.stats()`; as it was seen last while Redis is away.

        Raises:
            RunEndedError: Redis is away for longer than a run waits.
        """
        try:
            found = self._store.stats()
        except AWAY as error:
            self._note_away(error)
            return self._seen
        if self._away_since is not None:
            self._note_back(found)
        self._seen = found
        return found

    def _note_away(self, error: Exception) -> None:
        reason = " ".join(str(error).split())
        if self._away_since is None:
            self._away_since = time.monotonic()
            LOGGER.warning("Redis at %s is away: %s", self._store.server, reason)
            self._event("replay_away", reason=reason)
        if self._revive is not None and self._revive():
            LOGGER.warning("the embedded Redis server had ended and was started again")
        seconds = time.monotonic() - self._away_since
        if seconds > self._outage_seconds:
            raise RunEndedError(
                f"Redis at {self._store.server} has not answered for {seconds:.0f} s "
                f"(replay.outage_seconds={self._outage_seconds:g}): {reason}; the same command continues the run"
            )

    def _note_back(self, found: Mapping[str, float]) -> None:
        assert self._away_since is not None
        seconds, self._away_since = time.monotonic() - self._away_since, None
        lost = max(int(self._seen["env_steps"] - found["env_steps"]), 0)
        self._lost += lost
        LOGGER.warning("Redis at %s is back after %.1f s; %d steps lost", self._store.server, seconds, lost)
        self._event("replay_back", seconds=round(seconds, 1), lost_env_steps=lost)
