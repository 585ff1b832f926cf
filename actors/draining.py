"""The end of a pool's actors: each finishes its call and writes what it holds."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import ray
from ray.exceptions import RayError

from actors.losses import last_line
from actors.rollout_stats import RolloutStats
from actors.slot import COLLECTING, STARTING, Slot

LOGGER = logging.getLogger(__name__)


def drained(slots: Iterable[Slot], seconds: float) -> list[RolloutStats]:
    """Lets every actor finish its call and write what it holds.

    Args:
        slots: whose actors.
        seconds: that they have, all of them together. What an actor cannot write in them is lost, and said in the log.

    Returns:
        The last results.
    """
    pending: dict[Any, Slot] = {}
    for slot in slots:
        # An actor that was not yet ready holds nothing; a paused one may hold what its failed call collected.
        if slot.phase == STARTING:
            continue
        if slot.call is not None:
            pending[slot.call] = slot
        if slot.phase == COLLECTING or slot.call is None:
            pending[slot.handle.drain.remote()] = slot
    results: list[RolloutStats] = []
    if not pending:
        return results
    done, late = ray.wait(list(pending), num_returns=len(pending), timeout=seconds)
    for ref in done:
        try:
            results.append(ray.get(ref))
        except RayError as error:
            LOGGER.warning("%s did not drain: %s", pending[ref].actor_id, last_line(error))
    for actor_id in (pending[ref].actor_id for ref in late):
        LOGGER.warning("%s did not drain within %g s: its last rows are lost", actor_id, seconds)
    return results
