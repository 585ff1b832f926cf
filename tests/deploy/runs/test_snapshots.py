"""Snapshots: whole, kept, and none twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from deploy.errors import UserError
from deploy.runs.snapshots import Snapshots
from deploy.settings.presets import resolve
from learner.checkpoint import LearnerState, read_weights

CONFIG = resolve("reach", "debug", [])


def state(teacher_updates: int, student_updates: int) -> LearnerState:
    weights = {"teacher/x": np.full(2, teacher_updates, np.float32)}
    return LearnerState(weights, {}, {"teacher_updates": teacher_updates, "student_updates": student_updates})


def test_where_none_was_taken_there_is_none_and_nothing_on_disk(tmp_path: Path) -> None:
    assert Snapshots(tmp_path / "snapshots").all(CONFIG) == []
    assert not list(tmp_path.iterdir())


def test_they_say_where_the_run_was_oldest_first(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path / "snapshots")
    assert snapshots.take(state(2, 1), 300, 10.5)
    assert snapshots.take(state(4, 3), 300, 20.0)
    assert snapshots.take(state(4, 9), 1_000_000_000, 30.0)
    found = snapshots.all(CONFIG)
    assert [(s.env_steps, s.seconds, *s.updates.values()) for s in found] == [
        (300, 10.5, 2, 1),
        (300, 20.0, 4, 3),
        (1_000_000_000, 30.0, 4, 9),
    ]
    assert [s.path.name for s in found][:2] == ["step_000000300-000003", "step_000000300-000007"]
    assert read_weights(found[1].newest_checkpoint().path)["teacher/x"].tolist() == [4, 4]


def test_a_run_that_fell_back_takes_none_before_it_is_past_the_newest(tmp_path: Path) -> None:
    Snapshots(tmp_path).take(state(8, 8), 500, 50.0)
    resumed = Snapshots(tmp_path)
    assert not resumed.take(state(5, 5), 520, 55.0)
    assert not resumed.take(state(8, 8), 540, 60.0)
    assert resumed.take(state(9, 8), 560, 65.0)
    assert [s.env_steps for s in resumed.all(CONFIG)] == [500, 560]


def test_one_that_was_being_written_is_none_and_goes_away(tmp_path: Path) -> None:
    (tmp_path / ".writing-step_000000100-000002").mkdir()
    snapshots = Snapshots(tmp_path)
    assert snapshots.all(CONFIG) == []
    assert snapshots.take(state(1, 1), 100, 5.0)
    assert [path.name for path in tmp_path.iterdir()] == ["step_000000100-000002"]


def test_a_corrupt_one_is_refused_by_name(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path)
    snapshots.take(state(1, 1), 100, 5.0)
    (tmp_path / "step_000000100-000002" / "weights.safetensors").write_bytes(b"short")
    with pytest.raises(UserError, match=r"step_000000100-000002/weights.safetensors: has 5 bytes"):
        snapshots.all(CONFIG)
