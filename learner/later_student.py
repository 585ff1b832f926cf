"""`training.student_begins=after_teacher`: the student's limiter and sampler, idle until the teacher is done.

    phase     begins when                                    teacher loop        student loop
    1         the run does                                   as always           waits here
    2         all rows are in, and ask for no more update    waits: no row will  as its limiter allows, up to
              of the teacher                                 ever come again     `student_updates`

Which phase a run is in follows from the replay and the teacher's limiter, which goes on with the learner's checkpoints:
a run that was killed goes on where its checkpoint was. As the student reads nothing in phase 1, it must not hold up the
actors (`deploy.training.plans.holding_plans`); the learner keeps its limiter, so that the student makes as many updates
as it would have made beside the teacher. "Teacher" and "student" stand for the parts of any method that follow no
other, and for those that do.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

import numpy as np

from replay.limiter import SamplesPerInsert
from replay.sampler import TeacherSampler

_PAUSE_SECONDS = 0.2


class LaterStudent:
    """Stands between the student's loop and its limiter and sampler; see the top of this file."""

    def __init__(
        self,
        limiter: SamplesPerInsert,
        make_sampler: Callable[[], TeacherSampler],
        teacher_owes: Callable[[], bool],
        updates_left: Callable[[], int],
    ) -> None:
        """Begins in phase 1.

        Args:
            limiter: the student's own.
            make_sampler: called when phase 2 begins, so that no batch is drawn from a replay that is still filling.
            teacher_owes: whether the rows that are in ask for more teacher updates; asked once all rows are in.
            updates_left: how many the student may still make.
        """
        self._limiter, self._make_sampler = limiter, make_sampler
        self._teacher_owes, self._updates_left = teacher_owes, updates_left
        self._rows_are_in = threading.Event()
        self._sampler: TeacherSampler | None = None

    @property
    def refusal(self) -> str:
        """As `TeacherSampler.refusal`; empty in phase 1."""
        return "" if self._sampler is None else self._sampler.refusal

    def rows_are_in(self) -> None:
        """No row will be added: the student begins once the teacher has used these."""
        self._rows_are_in.set()

    def await_sample(self, timeout_s: float) -> bool:
        """As `SamplesPerInsert.await_sample`; False in phase 1 and after the student's last update."""
        if not self._rows_are_in.wait(timeout_s):
            return False
        if (self._sampler is None and self._teacher_owes()) or self._updates_left() <= 0:
            time.sleep(min(timeout_s, _PAUSE_SECONDS))
            return False
        if self._sampler is None:
            self._sampler = self._make_sampler()
        return self._limiter.await_sample(timeout_s)

    def record_sampled(self, rows: int) -> None:
        """As `SamplesPerInsert.record_sampled`."""
        self._limiter.record_sampled(rows)

    def sample(self, timeout_s: float) -> Mapping[str, np.ndarray]:
        """As `TeacherSampler.sample`; asked only in phase 2."""
        assert self._sampler is not None
        return self._sampler.sample(timeout_s)

    def close(self) -> None:
        """Ends the sampler's thread, if there is one."""
        if self._sampler is not None:
            self._sampler.close()
