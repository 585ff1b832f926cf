"""The settings of a run that takes another one's teacher and episodes, for every pair of methods."""

from __future__ import annotations

import itertools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deploy.errors import UserError
from deploy.runs.source import Source, distilled_config
from deploy.settings.config import RunConfig
from deploy.settings.overrides import flatten
from deploy.settings.presets import resolve
from learner.methods import METHODS

TAUGHT = [name for name, method in METHODS.items() if method.leading == METHODS["twist"].leading]
STUDENTS = [name for name in TAUGHT if METHODS[name].following]


def source_of(method: str, *given: str, task: str = "push") -> Any:
    """A run of a method, as far as its settings go."""
    run = SimpleNamespace(config=resolve(task, None, [f"learner.method={method}", *given]), run_id="taught")
    checkpoint = SimpleNamespace(path=Path("step_000000100"))
    return Source(run, "runs/taught", checkpoint, SimpleNamespace(env_steps=200_000))  # type: ignore[arg-type]


def distilled(source: Any, *given: str, continued: bool = False) -> RunConfig:
    return distilled_config(source, list(given), mode=None, seed=None, redis_url=None, continued=continued)


@pytest.mark.parametrize(("theirs", "ours"), itertools.product(TAUGHT, STUDENTS))
def test_a_student_of_any_method_can_be_distilled_for_a_teacher_and_is_as_its_method_has_it(
    theirs: str, ours: str
) -> None:
    source = source_of(theirs)
    found = distilled(source, f"learner.method={ours}")
    assert found.learner.method == ours
    as_trained = resolve("push", None, [f"learner.method={ours}"])
    then, now, fresh = (flatten(x) for x in (source.run.config, found, as_trained))
    assert {key: now[key] for key in now if key.startswith("learner.student.")} == {
        key: fresh[key] for key in fresh if key.startswith("learner.student.")
    }
    # the episodes are there, whoever drove them
    for key in ("actors.student_fraction", "learner.batch_size", "learner.sequence_length"):
        assert now[key] == then[key]


def test_what_was_asked_of_the_other_run_holds_with_another_method_too() -> None:
    source = source_of("twist_paper", "learner.student.batch_size=3", "learner.student.dynamics=scratch")
    found = distilled(source, "learner.method=twist").learner.student
    assert (found.batch_size, found.dynamics, found.readout_scale) == (3, "scratch", 1.0)


@pytest.mark.parametrize("theirs", [name for name in METHODS if name not in TAUGHT])
def test_a_run_whose_method_has_no_teacher_is_refused(theirs: str) -> None:
    said = f"^runs/taught: is of method {theirs}, which has no teacher for a student; those that have one are twist, "
    for given in ([], ["learner.method=twist"]):
        with pytest.raises(UserError, match=said):
            distilled(source_of(theirs), *given)


@pytest.mark.parametrize("ours", [name for name in METHODS if name not in STUDENTS])
def test_a_method_without_a_student_is_refused(ours: str) -> None:
    said = f"^learner.method is {ours}, which has no student for the teacher of runs/taught: allowed are twist, "
    with pytest.raises(UserError, match=said):
        distilled(source_of("twist"), f"learner.method={ours}")
    if ours in TAUGHT:
        with pytest.raises(UserError, match=said):
            distilled(source_of(ours))


def test_what_the_new_method_does_not_allow_is_refused_and_so_is_what_the_episodes_are() -> None:
    with pytest.raises(UserError, match=r"readout_scale is 1\.0: learner\.method=twist_paper allows 0\.0"):
        distilled(source_of("twist"), "learner.method=twist_paper", "learner.student.readout_scale=1")
    with pytest.raises(UserError, match=r"actors\.student_fraction is not to be changed"):
        distilled(source_of("twist"), "learner.method=twist_paper", "actors.student_fraction=0")
    with pytest.raises(UserError, match=r"learner\.method = alchemy is not allowed"):
        distilled(source_of("twist"), "learner.method=alchemy")


def test_a_student_is_continued_as_one_of_its_kind() -> None:
    assert distilled(source_of("twist"), "learner.method=twist_paper", continued=True).distilled.student == "continued"
    for theirs, ours in (("oracle", "twist"), ("twist", "state_regression")):
        said = f"^--from-student: learner.method is {ours}, and runs/taught has no student"
        with pytest.raises(UserError, match=said):
            distilled(source_of(theirs), f"learner.method={ours}", continued=True)
