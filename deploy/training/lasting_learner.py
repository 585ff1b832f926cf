"""The learner's Ray actor, made anew from the newest checkpoint whenever its process or its node is lost.

    call ──> Ray actor ──> answer
               │ process killed, node lost
               └──> pause ──> newest checkpoint ──> new Ray actor, on any node that fits ──> the same call again

Updates since that checkpoint are lost and made again from the replay, which the learner only reads. What ends a loop
with an error of our own (`RuntimeError` from `status`) is no loss of a process and is not tried again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, RayActorError

from deploy.errors import RunEndedError
from learner.checkpoint import LearnerState

LOGGER = logging.getLogger(__name__)

WAIT_SECONDS = 0.2
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 30.0
MOST_LOSSES_IN_A_ROW = 6
"""Losses without a new checkpoint between them, after which the run ends: a learner that dies of its own work, such as
one that needs more memory than there is, would otherwise die for ever."""


class LearnerLostError(RunEndedError):
    """The learner's process is lost again and again; the message names how often, and the last cause."""


class LastingLearner:
    """Calls to the learner that outlive its process."""

    def __init__(
        self,
        make: Callable[[LearnerState | None], Any],
        state: LearnerState | None,
        newest: Callable[[], LearnerState | None],
        lost: Callable[[str], None],
    ) -> None:
        """Makes the first one.

        Args:
            make: starts a Ray actor from a state.
            state: to begin with.
            newest: the state of the newest checkpoint, read anew; None where there is none yet.
            lost: told of each loss, with its cause.
        """
        self._make, self._newest, self._lost = make, newest, lost
        self._state = state
        self._handle = make(state)
        self._losses_in_a_row = 0
        self._again: list[str] = []

    def call(self, method: str, meanwhile: Callable[[], object] | None = None) -> Any:
        """Calls a method without arguments and gives its answer.

        Args:
            method: of `LearnerActor`.
            meanwhile: called several times a second while the answer is awaited, so that actors are not kept waiting
                by a learner that is lost.

        Raises:
            LearnerLostError: it is lost too often.
            RayTaskError: the method raised.
        """
        while True:
            call = getattr(self._handle, method).remote()
            while not ray.wait([call], timeout=WAIT_SECONDS)[0]:
                if meanwhile is not None:
                    meanwhile()
            try:
                return ray.get(call)
            except ActorUnavailableError as error:
                # The connection broke, and the process may live on: a second one would work on the same replay.
                LOGGER.warning("the learner cannot be reached: %s", error)
                self._pause(meanwhile)
            except RayActorError as error:
                self._restart(error, meanwhile)

    def begin(self, method: str) -> None:
        """Calls a method now, and again on each learner that takes this one's place: `start`, `rows_are_in`."""
        self.call(method)
        self._again.append(method)

    def checkpointed(self) -> None:
        """A checkpoint of this learner is written: it makes progress."""
        self._losses_in_a_row = 0

    def kill(self) -> None:
        """Ends the process."""
        ray.kill(self._handle)

    def _restart(self, error: RayActorError, meanwhile: Callable[[], object] | None) -> None:
        cause = str(error).strip().splitlines()[0]
        self._losses_in_a_row += 1
        if self._losses_in_a_row > MOST_LOSSES_IN_A_ROW:
            raise LearnerLostError(
                f"the learner's process was lost {self._losses_in_a_row} times without a new checkpoint, allowed are "
                f"{MOST_LOSSES_IN_A_ROW}; the last time: {cause}"
            ) from error
        self._lost(cause)
        LOGGER.warning("the learner is lost and begins again from the newest checkpoint: %s", cause)
        self._pause(meanwhile)
        state = self._newest()
        self._state = self._state if state is None else state
        self._handle = self._make(self._state)
        for method in self._again:
            getattr(self._handle, method).remote()

    def _pause(self, meanwhile: Callable[[], object] | None) -> None:
        seconds = min(FIRST_PAUSE_SECONDS * 2.0 ** max(self._losses_in_a_row - 1, 0), LONGEST_PAUSE_SECONDS)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(WAIT_SECONDS)
            if meanwhile is not None:
                meanwhile()
