"""One place in the actor pool: the actor in it, what it does, and how much trouble it has had."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

from actors.actor import ActorIdentity
from actors.config import ActorsConfig
from actors.patience import Patience, Watch
from actors.rollout_stats import Resimulated, RolloutStats

STARTING, COLLECTING, DRAINING = "starting", "collecting", "draining"

MEMORY, NODE, NOT_NEEDED = "memory", "node", "not needed"
"""Why an actor drains."""

OUTAGE_PAUSE_SECONDS = 2.0
"""Before an actor that could not reach Redis tries again; by itself it has tried for `replay.retry_seconds`."""

CREDIT_PAUSE_SECONDS = 0.05
"""Between two looks whether there is credit for those who have none; a chunk takes longer than that to collect."""


class ActorFailedError(RuntimeError):
    """An actor fails or is lost again and again; the message names actor, how often, and the last reason."""


class Slot:
    """A place, and the budget of whoever is in it.

    Attributes:
        actor_id: stays the same whichever process is in it.
        handle: Ray's; None while there is no process.
        phase: one of the three above.
        drains_for: why it is to leave; None while it is to stay.
        call: in flight; None during a pause.
        patience: with the last one.
        identity: of a process that is built.
        retry_at: end of the pause, on the monotonic clock.
        refused: what Redis said when its last call failed for that; else empty.
        idle_since: when it had a call last, or told that it has none.
    """

    def __init__(self, actor_id: str, config: ActorsConfig) -> None:
        self.actor_id = actor_id
        self._config = config
        self.handle: Any = None
        self.phase = STARTING
        self.drains_for: str | None = None
        self.call: Any = None
        self.patience = Patience(Watch(), 0.0, has_process=False)
        self.identity: ActorIdentity | None = None
        self.retry_at = 0.0
        self.refused = ""
        self.idle_since = 0.0
        self._idle_told = 0.0  # seconds, which its next report will tell again
        self._last: RolloutStats | None = None
        self._in_a_row = 0
        self._times: deque[float] = deque()

    def built(self, identity: ActorIdentity) -> None:
        """Its process is ready to collect.

        Raises:
            ActorFailedError: it is above `max_memory_mb` as soon as it starts, and so would be every other.
        """
        limit = self._config.max_memory_mb
        if identity.memory_mb > limit:
            raise ActorFailedError(
                f"max_memory_mb={limit:g}: {identity.actor_id} takes {identity.memory_mb:.0f} MB as soon as it starts"
            )
        self.identity, self.phase, self.retry_at, self.idle_since = identity, COLLECTING, 0.0, time.monotonic()
        self._idle_told, self._last, self.refused = 0.0, None, ""

    def is_hung(self, places: Callable[[], Collection[str]]) -> bool:
        """Whether its call has taken too long.

        Args:
            places: asked, while there is no process that is known of, for the ids of all actors that have one.
        """
        return self.call is not None and self.patience.is_over(lambda: self.handle._actor_id.hex() in places())

    @property
    def is_idle(self) -> bool:
        """Whether an actor that collects stands idle, for want of credit or in a pause."""
        return self.phase == COLLECTING and self.call is None and self._last is not None

    def succeeded(self, result: RolloutStats) -> RolloutStats:
        """It has given a result: the next call is due, and the next pause a short one.

        Returns:
            The result without the idle time that `idle_report` has told of already.
        """
        self._in_a_row, self.retry_at, self.idle_since, self.refused = 0, 0.0, time.monotonic(), ""
        told, self._idle_told, self._last = self._idle_told, 0.0, result
        waited, seconds = (max(value - told, 0.0) for value in (result.waited_seconds, result.seconds))
        return replace(result, waited_seconds=waited, seconds=seconds)

    def idle_report(self) -> RolloutStats:
        """How long the actor has stood idle since it, or this, told of it last."""
        assert self._last is not None
        now = time.monotonic()
        seconds, self.idle_since = now - self.idle_since, now
        self._idle_told += seconds
        none = Resimulated()
        nothing = replace(self._last, rows=0, env_steps=0, episodes=(), crashes=0, first_crashes=(), resimulated=none)
        return replace(nothing, waited_seconds=seconds, seconds=seconds)

    def wait_for_credit(self) -> None:
        """There is none for it now."""
        self.retry_at = time.monotonic() + CREDIT_PAUSE_SECONDS

    def wait_for_redis(self, reason: str) -> None:
        """Redis did not let it write, nobody's error; it holds what it has."""
        self.refused, self.retry_at = reason, time.monotonic() + OUTAGE_PAUSE_SECONDS

    def pause(self) -> None:
        """Leaves the slot alone for a while, the longer the more often it failed since its last result."""
        # The exponent is bounded because a float is: 2.0**1024 raises.
        seconds = self._config.backoff_seconds * 2.0 ** min(self._in_a_row, 32)
        self._in_a_row += 1
        self.retry_at = time.monotonic() + min(seconds, self._config.max_backoff_seconds)

    def count(self, what: str, reason: str) -> None:
        """Counts an error or a loss.

        Args:
            what: "failed" or "was lost".
            reason: one line.

        Raises:
            ActorFailedError: that was one too many.
        """
        now, window = time.monotonic(), self._config.error_window_seconds
        self._times.append(now)
        while self._times[0] < now - window:
            self._times.popleft()
        if len(self._times) > self._config.max_errors:
            raise ActorFailedError(
                f"{self.actor_id} {what} {len(self._times)} times within {window:g} s, allowed are "
                f"{self._config.max_errors} (actors.max_errors); the last time: {reason}"
            )
