"""A student that begins after the teacher: what it may do when."""

from __future__ import annotations

from typing import Any

import pytest

from deploy.errors import UserError
from deploy.settings.presets import resolve
from deploy.training.plans import holding_plans, learner_plan
from learner.later_student import LaterStudent


class FakeLimiter:
    def __init__(self) -> None:
        self.sampled = 0
        self.allows = True

    def await_sample(self, timeout_s: float) -> bool:
        return self.allows

    def record_sampled(self, rows: int) -> None:
        self.sampled += rows


class FakeSampler:
    closed = False

    def sample(self, timeout_s: float) -> dict[str, Any]:
        return {"valid": timeout_s}

    def close(self) -> None:
        self.closed = True


class Stage:
    """A `LaterStudent` and what it depends on."""

    def __init__(self) -> None:
        self.limiter = FakeLimiter()
        self.samplers: list[FakeSampler] = []
        self.teacher_owes, self.updates_left = True, 3
        limiter: Any = self.limiter
        self.student = LaterStudent(limiter, self._make, lambda: self.teacher_owes, lambda: self.updates_left)

    def _make(self) -> Any:
        self.samplers.append(FakeSampler())
        return self.samplers[-1]

    def may(self) -> bool:
        return self.student.await_sample(0.0)


def test_it_begins_when_the_rows_are_in_and_the_teacher_has_used_them() -> None:
    stage = Stage()
    stage.teacher_owes = False  # between two chunks the teacher owes nothing, and is not done
    assert not stage.may()
    stage.teacher_owes = True
    stage.student.rows_are_in()
    assert not stage.may()
    assert not stage.samplers  # nothing is drawn from a replay that still fills
    stage.teacher_owes = False
    assert stage.may()
    assert stage.may()
    assert len(stage.samplers) == 1
    assert stage.student.sample(0.5) == {"valid": 0.5}


def test_its_own_limiter_and_its_number_of_updates_bound_it() -> None:
    stage = Stage()
    stage.teacher_owes = False
    stage.student.rows_are_in()
    assert stage.may()
    stage.student.record_sampled(16)
    assert stage.limiter.sampled == 16
    stage.limiter.allows = False
    assert not stage.may()
    stage.limiter.allows = True
    stage.updates_left = 0
    assert not stage.may()


def test_closing_ends_the_sampler_if_there_is_one() -> None:
    stage = Stage()
    stage.student.close()
    stage.teacher_owes = False
    stage.student.rows_are_in()
    assert stage.may()
    stage.student.close()
    assert stage.samplers[0].closed


def test_it_holds_up_no_actor_and_keeps_its_bound() -> None:
    for setting, names in (
        ("training.student_begins=at_once", ["teacher", "student"]),
        ("training.student_begins=after_teacher", ["teacher"]),
        ("learner.student_may_lag=true", ["teacher"]),
    ):
        config = resolve("reach", "debug", [setting])
        assert [plan.name for plan in holding_plans(config)] == names
        assert learner_plan(config).limiters[1].samples_per_insert == config.learner.student_samples_per_insert > 0


def test_a_teacher_that_is_never_done_is_refused() -> None:
    settings = ["training.student_begins=after_teacher", "learner.teacher_samples_per_insert=0"]
    with pytest.raises(UserError, match=r"^learner.teacher_samples_per_insert is 0: it must be above 0"):
        resolve("reach", "debug", settings)
