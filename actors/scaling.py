"""How many actors a run needs: decided by who waits for whom, not by how busy a processor is.

With n actors running, of whose time a share `actors_waited` passes waiting for credit, and a learner that waits
for rows a share `learner_waited` of its own::

    needed = n * (1 - actors_waited) / (1 - learner_waited) / BUSY

The numerator is how many actors would do the present work without a pause, the denominator how much more the learner
would take. Where both wait, each for the other, more actors do not help, and the formula says so. BUSY leaves
actors a little to spare: a learner that waits costs more than an actor that does.
"""

import math
from dataclasses import dataclass

from actors.config import ActorsConfig

BUSY = 0.9
"""Share of their time that actors are to work."""

LARGEST_STEP = 2.0
"""At most so many times as many, or as few, after one decision."""

DEAD_BAND = 0.15
"""A pool that is right within this share is left alone: measurements are noisy, and nodes are slow to come and go."""


@dataclass(frozen=True)
class Decision:
    """A change of the pool.

    Attributes:
        actors: how many there are to be from now on.
        reason: one line for the log, with the figures that led to it.
    """

    actors: int
    reason: str


class PoolSizer:
    """Decides every `config.resize_seconds` how many actors there are to be; it has no clock of its own.

    Args:
        config: limits and period; nothing is ever decided unless it is elastic.
        now: seconds on any clock that goes on evenly.
    """

    def __init__(self, config: ActorsConfig, now: float) -> None:
        self._config = config
        self._since = now
        self._weight = self._actors_waited = self._learner_waited = 0.0

    def decide(
        self, now: float, *, wanted: int, running: int, actors_waited: float, learner_waited: float
    ) -> Decision | None:
        """Takes in what was measured since the last call, and says what to change, if anything.

        Args:
            now: seconds, on the clock of the constructor.
            wanted: actors asked for; some may still wait for a node.
            running: actors that collect.
            actors_waited: share of their time that they waited for credit or Redis since the last call, 0 to 1.
            learner_waited: share of its time that the teacher's loop waited for rows since the last call, 0 to 1.

        Returns:
            None where nothing is to change, or it is too early to tell.
        """
        if not self._config.elastic:
            return None
        if running > 0:
            self._weight += 1.0
            self._actors_waited += actors_waited
            self._learner_waited += learner_waited
        if now - self._since < self._config.resize_seconds:
            return None
        weight, self._since = self._weight, now
        waited = self._actors_waited / max(weight, 1.0), self._learner_waited / max(weight, 1.0)
        self._weight = self._actors_waited = self._learner_waited = 0.0
        if weight == 0.0:
            return None  # none of them has come up yet
        target = self._target(wanted, running, *waited)
        if target == wanted:
            return None
        measured = f"of {running} actors' time {waited[0]:.0%} is waiting, of the learner's {waited[1]:.0%}"
        limits = self._config.min, self._config.max
        limit = f" (allowed are {limits[0]} to {limits[1]})" if target in limits else ""
        return Decision(target, f"{measured}: {wanted} -> {target} actors{limit}")

    def _target(self, wanted: int, running: int, actors_waited: float, learner_waited: float) -> int:
        needed = running * (1.0 - actors_waited) / max(1.0 - learner_waited, 1.0 / LARGEST_STEP) / BUSY
        needed = min(max(needed, running / LARGEST_STEP), running * LARGEST_STEP)
        limits = self._config.min, self._config.max
        target = min(max(math.ceil(needed - DEAD_BAND), limits[0]), limits[1])
        if running < wanted and target >= running:
            # Those that were asked for have not all come: what they will do is not known yet, so no more are asked for,
            # and they are given up only where fewer would do than are here.
            return wanted
        if abs(target - wanted) <= DEAD_BAND * wanted and target not in limits:
            return wanted
        return target
