"""When a run with parallel parts is over."""

from __future__ import annotations

import pytest

from deploy.training.parallel_mode import _is_over
from learner.loops import LoopReport
from learner.methods import METHODS
from learner.process import LearnerStatus, PartStatus

IDLE = LoopReport(updates=0, metrics={}, waited_seconds=1.0, seconds=1.0, staleness=0.0)


@pytest.mark.parametrize(
    ("collecting", "student_updates", "teacher_owes", "student_may_sample", "over"),
    [
        (False, 10, False, True, True),
        (False, 9, False, True, False),
        (False, 9, False, False, True),  # the rows that are in allow no more
        (False, 10, True, True, False),
        (True, 10, False, True, False),  # also while Redis is away, when actors bring nothing
        (True, 9, False, False, False),
    ],
)
def test_a_run_is_over_when_all_steps_are_in_and_both_loops_are_done(
    collecting: bool, student_updates: int, teacher_owes: bool, student_may_sample: bool, over: bool
) -> None:
    status = LearnerStatus(
        {
            "teacher": PartStatus(IDLE, 5, 1.0, owes=teacher_owes, may_sample=True),
            "student": PartStatus(IDLE, student_updates, 1.0, owes=False, may_sample=student_may_sample),
        }
    )
    assert _is_over(collecting, METHODS["twist"], status, student_updates=10) is over
