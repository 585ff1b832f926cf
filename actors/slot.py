"""One place in the actor pool: the actor in it, what it does, and how much trouble it has had."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection
from typing import Any

from actors.actor import ActorIdentity
from actors.config import ActorsConfig
from actors.patience import Patience, Watch

STARTING, COLLECTING, DRAINING = "starting", "collecting", "draining"


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
        self.identity, self.phase = identity, COLLECTING

    def is_hung(self, places: Callable[[], Collection[str]]) -> bool:
        """Whether its call has taken too long.

        Args:
            places: asked, while there is no process that is known of, for the ids of all actors that have one.
        """
        return self.call is not None and self.patience.is_over(lambda: self.handle._actor_id.hex() in places())

    def succeeded(self) -> None:
        """It has given a result: the next pause is a short one."""
        self._in_a_row = 0

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
