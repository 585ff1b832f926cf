"""The learner as a Ray actor: `LearnerProcess` in a process of its own, and nothing else."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import ray

from actors.kept_warnings import KeptWarnings
from learner.checkpoint import LearnerState
from learner.process import LearnerPlan, LearnerProcess, LearnerStatus
from replay.schema import StreamSpec


class LearnerActor:
    """`LearnerProcess` in a process of its own. Its calls answer at once while the loops run in threads.

    Nothing is built before `ready` is called: an error of that call is told as it is, while one raised in the
    constructor would cost the process and be taken for its loss.
    """

    def __init__(
        self, plan: LearnerPlan, spec_json: str, replay_url: str, run_id: str, state: LearnerState | None
    ) -> None:
        """See `LearnerProcess`."""
        self._warnings = KeptWarnings()
        self._plan, self._spec_json, self._replay_url, self._run_id = plan, spec_json, replay_url, run_id
        self._state = state
        self._building = threading.Lock()
        self._process: LearnerProcess

    def ready(self) -> None:
        """Builds the learner, and answers once it is built; asked again, it only answers.

        Raises:
            ValueError: the state does not fit the plan.
        """
        with self._building:
            if hasattr(self, "_process"):
                return
            spec = StreamSpec.from_json(self._spec_json)
            self._process = LearnerProcess(self._plan, spec, self._replay_url, self._run_id, self._state)
            self._state = None  # as large as the learner

    def start(self) -> None:
        """See `LearnerProcess.start`."""
        self._process.start()

    def status(self) -> LearnerStatus:
        """See `LearnerProcess.status`."""
        return replace(self._process.status(), warnings=self._warnings.take())

    def publish(self) -> tuple[ray.ObjectRef[npt.NDArray[np.float32]], int]:
        """See `LearnerProcess.publish`; the weights stay on this node until actors fetch them from here."""
        weights, version = self._process.publish()
        return ray.put(weights), version

    def capture(self) -> LearnerState:
        """See `LearnerProcess.capture`."""
        return self._process.capture()

    def capture_acting(self) -> LearnerState:
        """See `LearnerProcess.capture_acting`."""
        return self._process.capture_acting()

    def rows_are_in(self) -> None:
        """See `LearnerProcess.rows_are_in`."""
        self._process.rows_are_in()

    def stop(self) -> None:
        """See `LearnerProcess.stop`."""
        self._process.stop()
