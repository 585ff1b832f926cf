"""A run whose learner computes nothing finite any more ends with one line, and its checkpoints are what they were."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from running import DEBUG, LOCAL, instead, lines, twist

from deploy.runs.directory import RunDirectory
from learner import checkpoint

WORDS = (
    r"twist: (\w+): loss_\w+.* not finite since update \d+; \d+ updates in a row were skipped, the last good one is "
    r"update \d+; "
)


@pytest.mark.parametrize("who", ["teacher", "student"])
def test_a_step_size_far_too_large_ends_a_run_with_the_loss_the_update_and_the_newest_checkpoint(
    tmp_path: Path, who: str
) -> None:
    run = tmp_path / "run"
    # A checkpoint of the first update, whose weights are far off and finite; a line of metrics only after ten more, all
    # of which are made before anybody acts with such weights.
    settings = f"learner.{who}.learning_rate=1e30", "training.checkpoint_every_updates=1"
    many = "learner.teacher_samples_per_insert=100", "learner.student_samples_per_insert=100"
    arguments = instead(DEBUG, *settings, *many, "training.metrics_every_updates=10")
    done = twist("train", "reach", "--run-dir", str(run), *arguments)
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if line.startswith("twist: ")]
    assert len(said) == 1, done.stderr
    newest = RunDirectory.open(run).checkpoints.latest()
    assert newest is not None
    assert re.fullmatch(WORDS + re.escape(f"the newest checkpoint, {newest.path}, is finite"), said[0]), said
    assert "Traceback" not in done.stderr
    for arrays in (checkpoint.read_weights(newest.path), checkpoint.read(newest.path, newest.learner()).training):
        assert all(np.isfinite(array).all() for array in arrays.values())


def test_so_does_one_whose_learner_is_another_process(tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = instead(LOCAL, "learner.student.learning_rate=1e30", "training.checkpoint_every_seconds=600")
    done = twist("train", "reach", "--run-dir", str(run), *arguments)
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if line.startswith("twist: ")]
    assert len(said) == 1, done.stderr
    assert re.fullmatch(WORDS + "there is no checkpoint yet", said[0]), said
    assert "Traceback" not in done.stderr


def test_updates_that_were_skipped_are_in_the_metrics(tmp_path: Path) -> None:
    """A step size at which a few are."""
    run = tmp_path / "run"
    done = twist("train", "reach", "--run-dir", str(run), *DEBUG)
    assert done.returncode == 0, done.stderr
    told = [line for line in lines(run) if "teacher/skipped" in line]
    assert told
    assert {line["teacher/skipped"] for line in told} == {line["student/skipped"] for line in told} == {0.0}
