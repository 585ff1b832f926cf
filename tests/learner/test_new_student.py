"""A new student for a teacher that has learned: the teacher stays as it is, the student begins."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_learner import (
    SPEC,
    B,
    T,
    TwistLearner,
    config_of,
    same_bits,
    snapshot,
    tiny_batch,
    tiny_config,
    tiny_learner,
)

from learner import checkpoint
from learner.checkpoint import LearnerState
from learner.learner import Learner
from learner.methods import METHODS
from learner.new_student import with_new_student
from replay.schema import StreamSpec

LARGER = replace(SPEC, image_shape=(32, 24, 3), views=2)


@pytest.fixture(scope="module")
def taught() -> TwistLearner:
    learner = tiny_learner(0)
    for k in range(3):
        learner.teacher_update(tiny_batch(k, image=False))
        learner.student_update(tiny_batch(k))
    return learner


def begun(taught: TwistLearner, spec: StreamSpec = SPEC, seed: int = 5, **more: Any) -> TwistLearner:
    """A learner that goes on from the state, which has been through files."""
    continued = more.pop("continued", False)
    config = tiny_config(**more)
    state = with_new_student(checkpoint.capture(taught), spec, config, seed, continued=continued)
    json.dumps(state.document)
    learner = TwistLearner(spec, config, 99)
    checkpoint.restore(learner, state)
    return learner


def larger_batch() -> dict[str, np.ndarray]:
    image = np.random.default_rng(0).integers(0, 256, (B, T, LARGER.views, *LARGER.image_shape), dtype=np.uint8)
    return {**tiny_batch(7), "image": image}


@pytest.mark.parametrize("spec", [SPEC, LARGER])
def test_teacher_policy_and_critic_are_the_taught_ones_and_the_student_is_new(
    taught: TwistLearner, spec: StreamSpec
) -> None:
    learner = begun(taught, spec)
    for name in ("teacher", "policy", "critic", "span"):
        assert same_bits(snapshot(learner.modules[name]), snapshot(taught.modules[name])), name
    assert not same_bits(snapshot(learner.student.encoder), snapshot(taught.student.encoder))
    assert same_bits(snapshot(learner.student), snapshot(learner.student_average))
    assert tuple(learner.updates.values()) == (3, 0)
    assert learner.optimisers["student"].adam.state_dict()["state"] == {}
    moments = [learner.optimisers[name].adam.state_dict()["state"][0]["step"] for name in ("teacher", "critic")]
    assert moments == [3, 3]


def test_the_student_learns_for_the_teacher_which_stays_as_it_is(taught: TwistLearner) -> None:
    learner = begun(taught, LARGER)
    before = snapshot(learner.student), snapshot(learner.teacher, learner.policy, learner.critic)
    learner.student_update(larger_batch())
    assert not same_bits(before[0], snapshot(learner.student))
    assert same_bits(before[1], snapshot(learner.teacher, learner.policy, learner.critic))


def test_the_student_follows_from_the_seed(taught: TwistLearner) -> None:
    one, same, other = (snapshot(begun(taught, seed=seed).student) for seed in (5, 5, 6))
    assert same_bits(one, same)
    assert not same_bits(one, other)


@pytest.mark.parametrize(("dynamics", "taken_over"), [("tied", True), ("teacher_init", True), ("scratch", False)])
def test_the_student_begins_with_the_taught_teachers_dynamics_where_it_is_to(
    taught: TwistLearner, dynamics: str, taken_over: bool
) -> None:
    learner = begun(taught, student={"dynamics": dynamics})
    teachers = snapshot(taught.teacher.rssm.dynamics)
    for student in (learner.student, learner.student_average):
        assert same_bits(snapshot(student.rssm.dynamics), teachers) is taken_over


@pytest.mark.parametrize("restored", [False, True])
def test_a_student_with_dynamics_of_its_own_begins_with_those_that_the_teacher_has_by_then(restored: bool) -> None:
    stays: dict[str, Any] = {"dynamics": "teacher_init", "learning_rate": 0.0}
    learner = tiny_learner(student=stays)
    for seed in range(3):
        learner.teacher_update(tiny_batch(seed, image=False))
    if restored:
        state, learner = checkpoint.capture(learner), tiny_learner(9, student=stays)
        checkpoint.restore(learner, state)
    teachers = snapshot(learner.teacher.rssm.dynamics)
    assert not same_bits(snapshot(learner.student.rssm.dynamics), teachers)
    learner.student_update(tiny_batch())
    for student in (learner.student, learner.student_average):
        assert same_bits(snapshot(student.rssm.dynamics), teachers)
    learner.teacher_update(tiny_batch(3, image=False))
    learner.student_update(tiny_batch(1))
    assert same_bits(snapshot(learner.student.rssm.dynamics), teachers)  # it follows nobody from then on


def test_a_student_that_is_continued_keeps_its_dynamics_when_it_makes_its_first_update(taught: TwistLearner) -> None:
    learner = begun(taught, continued=True, student={"dynamics": "teacher_init", "learning_rate": 0.0})
    for _ in range(2):  # also where that is restored once more, before any update
        state = checkpoint.capture(learner)
        learner = tiny_learner(9, student={"dynamics": "teacher_init", "learning_rate": 0.0})
        checkpoint.restore(learner, state)
    learner.student_update(tiny_batch())
    ours, theirs = snapshot(learner.student.rssm.dynamics), snapshot(learner.teacher.rssm.dynamics)
    assert same_bits(ours, snapshot(taught.student_average.rssm.dynamics))
    assert not same_bits(ours, theirs)


@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if method.following])
def test_every_student_begins_for_a_teacher_that_was_trained_alone(method: str) -> None:
    taught = Learner(SPEC, config_of("oracle"), 0)
    taught.update("teacher", tiny_batch(image=False))
    state = with_new_student(checkpoint.capture(taught), SPEC, config_of(method), 5)
    learner = Learner(SPEC, config_of(method), 9)
    checkpoint.restore(learner, state)
    assert learner.updates == {"teacher": 1, "student": 0}
    assert same_bits(snapshot(learner.modules["teacher"]), snapshot(taught.modules["teacher"]))
    learner.update("student", tiny_batch())


def test_a_student_that_is_continued_begins_as_the_one_that_acts(taught: TwistLearner) -> None:
    learner = begun(taught, continued=True)
    for student in (learner.student, learner.student_average):
        assert same_bits(snapshot(student), snapshot(taught.student_average))
    assert not same_bits(snapshot(taught.student), snapshot(taught.student_average))
    assert learner.updates["student"] == 0
    with pytest.raises(ValueError, match=r"student/encoder.* this model has"):
        begun(taught, LARGER, continued=True)


def test_a_teacher_of_another_size_is_refused(taught: TwistLearner) -> None:
    with pytest.raises(ValueError, match=r"checkpoint's teacher/.* this model has"):
        begun(taught, rssm={"deter": 24})


def test_what_was_written_and_read_begins_alike(taught: TwistLearner, tmp_path: Path) -> None:
    state = checkpoint.capture(taught)
    checkpoint.write(state, tmp_path)
    read = checkpoint.read(tmp_path, state.document)
    one, other = (with_new_student(found, SPEC, tiny_config(), 5) for found in (state, read))

    def arrays(found: LearnerState) -> dict[str, np.ndarray]:
        return {**found.weights, **found.training}

    assert arrays(one).keys() == arrays(other).keys()
    for name, array in arrays(one).items():
        np.testing.assert_array_equal(array, arrays(other)[name], err_msg=name)
