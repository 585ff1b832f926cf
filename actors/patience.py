"""How long a call to a process may take: after that the process counts as hung, whatever it is doing.

The time of a process's first call begins when there is a process: before that it waits for a node, for as long as that
takes. Only time in which we look is counted: who was stopped together with us (Ctrl-Z, a laptop's lid) is not hung.
"""

from __future__ import annotations

import time
from collections.abc import Callable

LONGEST_LOOK_SECONDS = 5.0
"""Counted between two looks at most. What the driver does between them, such as writing a checkpoint, is no call's."""


class Watch:
    """Counts the seconds in which somebody looks at it; one for all the calls that he waits for."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._looked = time.monotonic()

    def look(self) -> float:
        """Seconds so far."""
        before, self._looked = self._looked, time.monotonic()
        self._seconds += min(self._looked - before, LONGEST_LOOK_SECONDS)
        return self._seconds


class Patience:
    """With one call."""

    def __init__(self, watch: Watch, seconds: float, *, has_process: bool) -> None:
        """Begins to wait.

        Args:
            watch: whose time counts.
            seconds: that the call may take.
            has_process: whether whoever is called has one already.
        """
        self.seconds = seconds
        self._watch = watch
        self._began = watch.look() if has_process else None

    def is_over(self, has_process: Callable[[], bool]) -> bool:
        """Whether the call has taken too long.

        Args:
            has_process: asked while there was none.
        """
        now = self._watch.look()
        if self._began is None and has_process():
            self._began = now
        return self._began is not None and now - self._began > self.seconds
