"""An evaluation's result: its rate, its name in the report, its line of metrics."""

import json
from dataclasses import replace

import made_up_run
import pytest

from deploy.runs.documents import validate
from deploy.runs.results import EvaluationResult, MotionFigures


def result(policy: str = "student", domain: str = "held_out", successes: int = 90) -> EvaluationResult:
    return EvaluationResult.from_counts(policy, domain, episodes=100, successes=successes, mean_return=18.5, seed=5)


def test_the_rate_is_successes_over_episodes_and_lies_in_its_interval() -> None:
    found = result()
    assert found.success == 0.9
    low, high = found.interval
    assert low < 0.9 < high


@pytest.mark.parametrize(
    ("policy", "domain", "name"),
    [
        ("teacher", "train", "teacher_success"),
        ("teacher", "held_out", "teacher_success"),
        ("student", "train", "student_success_train"),
        ("student", "held_out", "student_success_held_out"),
    ],
)
def test_its_name_is_the_reports_key(policy: str, domain: str, name: str) -> None:
    assert result(policy, domain).name == name


@pytest.mark.parametrize("motion", [None, made_up_run.MOTION])
def test_it_survives_json(motion: MotionFigures | None) -> None:
    found = replace(result(), motion=motion)
    assert validate(json.loads(json.dumps(found.to_json())), EvaluationResult) == found


def test_worlds_in_which_it_did_not_train_are_not_called_training_s() -> None:
    assert result("student", "train").seen == "images, training visuals"
    judged = [replace(result(policy, domain), full_randomisation=True) for policy, domain in OTHERWISE]
    assert [one.seen for one in judged] == list(OTHERWISE.values())
    assert validate(json.loads(json.dumps(judged[0].to_json())), EvaluationResult) == judged[0]


OTHERWISE = {
    ("dreamer", "train"): "images, randomised visuals",
    ("dreamer", "held_out"): "images, held-out visuals",
    ("teacher", "train"): "state, no images",
}


def test_its_line_of_metrics_is_flat() -> None:
    assert result().metrics() == {
        "evaluation/student_success_held_out": 0.9,
        "evaluation/student_success_held_out_low": result().interval[0],
        "evaluation/student_success_held_out_high": result().interval[1],
        "evaluation/student_success_held_out_return": 18.5,
    }


def test_more_successes_than_episodes_are_refused() -> None:
    with pytest.raises(ValueError, match="successes = 101 is not allowed"):
        result(successes=101)
