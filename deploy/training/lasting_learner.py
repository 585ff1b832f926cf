"""The learner's Ray actor, made anew from the newest checkpoint whenever its process or its node is lost.

    call ──> Ray actor ──> answer
               │ process lost, whatever by (`actors.losses`)
               └──> pause ──> newest checkpoint ──> new Ray actor, on any node that fits ──> the same call again

Updates since that checkpoint are lost and made again from the replay, which the learner only reads: with the weights
its count of rows sampled goes back (`replay.limiter`). What our own code raises, while the learner is built or by one
of its loops, is no loss of a process and is not tried again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from actors.last_words import loss_of
from actors.losses import ANSWER, AWAY, HUNG, NODE_LOST, PROCESS, Loss, kind_of, last_line
from actors.patience import Patience, Watch
from actors.placement import place_of
from deploy.errors import RunEndedError
from learner.checkpoint import LearnerState

LOGGER = logging.getLogger(__name__)

WAIT_SECONDS = 0.2
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 30.0


class LearnerLostError(RunEndedError):
    """The learner's process is lost again and again; the message names how often, and the last reason."""


class _HungError(Exception):
    """It does not answer; one line."""


class LastingLearner:
    """Calls to the learner that outlive its process."""

    def __init__(
        self,
        make: Callable[[LearnerState | None], Any],
        state: LearnerState | None,
        newest: Callable[[], LearnerState | None],
        lost: Callable[[Loss], None],
        logs: Path,
        most_losses: int,
        patience: Callable[[str], float],
    ) -> None:
        """Makes the first one, which is asked for nothing yet.

        Args:
            make: starts a Ray actor from a state.
            state: to begin with.
            newest: the state of the newest checkpoint, read anew; None where there is none yet.
            lost: told of each loss.
            logs: directory for the logs of processes that died.
            most_losses: without a new checkpoint between them, after which the run ends: a learner that dies of its own
                work, such as one that needs more memory than there is, would otherwise die for ever. Those that go with
                their node do not count.
            patience: seconds that a call of a method may take before the process counts as hung.
        """
        self._make, self._newest, self._lost, self._logs = make, newest, lost, logs
        self._most_losses, self._seconds = most_losses, patience
        self._watch = Watch()
        self._state = state
        self._handle = make(state)
        self._ready = False
        self._losses_in_a_row = 0
        self._again: list[str] = ["ready"]

    def call(self, method: str, meanwhile: Callable[[], object] | None = None) -> Any:
        """Calls a method without arguments and gives its answer.

        Args:
            method: of `LearnerActor`.
            meanwhile: called several times a second while the answer is awaited, so that actors are not kept waiting
                by a learner that is lost.

        Raises:
            LearnerLostError: it is lost too often.
            RayTaskError: the method raised, or the learner cannot be built.
        """
        while True:
            try:
                if not self._ready:
                    self._begin_again(meanwhile)
                return self._ask(method, meanwhile)
            except RayError as error:
                self._take_in(error, method)
            except _HungError as error:
                self._replace(Loss(HUNG, str(error)), error)
            self._pause(meanwhile)

    def begin(self, method: str) -> None:
        """Calls a method now, and again on each learner that takes this one's place: `start`, `rows_are_in`."""
        self.call(method)
        self._again.append(method)

    def last(self, method: str) -> Any:
        """Calls a method of a learner that is not made anew for it; None where it does not answer."""
        if not self._ready:
            return None
        try:
            return self._ask(method, None)
        except (RayError, _HungError) as error:
            LOGGER.warning("the learner does not answer to a last %s: %s", method, last_line(error))
            return None

    def checkpointed(self) -> None:
        """A checkpoint of this learner is written: it makes progress."""
        self._losses_in_a_row = 0

    def kill(self) -> None:
        """Ends the process."""
        ray.kill(self._handle)

    def _ask(self, method: str, meanwhile: Callable[[], object] | None) -> Any:
        call = getattr(self._handle, method).remote()
        patience = Patience(self._watch, self._seconds(method), has_process=self._ready)
        while not ray.wait([call], timeout=WAIT_SECONDS)[0]:
            if patience.is_over(lambda: place_of(self._handle) is not None):
                raise _HungError(f"it did not answer to {method} for {patience.seconds:.0f} s")
            if meanwhile is not None:
                meanwhile()
        return ray.get(call)

    def _begin_again(self, meanwhile: Callable[[], object] | None) -> None:
        """Builds the learner, on a new process if the one before is lost, and begins what had been begun."""
        if self._handle is None:
            state = self._newest()
            self._state = self._state if state is None else state
            self._handle = self._make(self._state)
        for method in self._again:
            self._ask(method, meanwhile)
        self._ready = True

    def _take_in(self, error: RayError, method: str) -> None:
        """A call has failed; raises what is not to be tried again."""
        kind = kind_of(error)
        if kind == AWAY:
            # The connection broke, and the process may live on: a second one would work on the same replay.
            LOGGER.warning("the learner cannot be reached: %s", last_line(error))
        elif kind == ANSWER:
            LOGGER.warning("the learner's answer to %s was lost: %s", method, last_line(error))
            self._count(f"its answer to {method} was lost: {last_line(error)}", error)
        elif kind == PROCESS:
            self._replace(loss_of(self._handle, error, self._logs, "learner"), error)
        else:
            raise error

    def _replace(self, loss: Loss, error: Exception) -> None:
        """Lets a new process take a lost one's place, with the next call."""
        ray.kill(self._handle)  # it may still be there: hung, or without memory
        self._handle, self._ready = None, False
        LOGGER.warning("the learner is lost (%s) and begins again from the newest checkpoint: %s", *vars(loss).values())
        if loss.cause != NODE_LOST:
            self._count(loss.reason, error)
        self._lost(loss)

    def _count(self, reason: str, error: Exception) -> None:
        self._losses_in_a_row += 1
        if self._losses_in_a_row > self._most_losses:
            raise LearnerLostError(
                f"the learner's process was lost {self._losses_in_a_row} times without a new checkpoint, allowed are "
                f"{self._most_losses} (training.max_learner_losses); the last time: {reason}"
            ) from error

    def _pause(self, meanwhile: Callable[[], object] | None) -> None:
        seconds = min(FIRST_PAUSE_SECONDS * 2.0 ** max(self._losses_in_a_row - 1, 0), LONGEST_PAUSE_SECONDS)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(WAIT_SECONDS)
            if meanwhile is not None:
                meanwhile()
