"""What the driver writes down of what actors and learner tell it."""

from __future__ import annotations

import io
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from actors.rollout_stats import RolloutStats
from deploy.reporting.metrics import MetricsWriter, read_metrics
from deploy.reporting.progress import Goals, ProgressDisplay
from deploy.training.monitor import MOST_WARNINGS, RunMonitor
from learner.loops import LoopReport
from learner.process import LearnerStatus, PartStatus

LOOP = LoopReport(updates=10, metrics={}, waited_seconds=1.0, seconds=4.0, staleness=7.0)
STATUS = LearnerStatus(
    {
        "teacher": PartStatus(LOOP, 30, 4.0, owes=False, may_sample=True),
        "student": PartStatus(LOOP, 20, 2.0, owes=False, may_sample=True),
    }
)
CALL = RolloutStats("actor7", 0, 0, 0, (), 0, (), 0.0, 1.0, 1, 500.0, 0)


@pytest.fixture
def monitor(tmp_path: Path) -> RunMonitor:
    goals = Goals(100, {"teacher": None, "student": 30})
    return RunMonitor(
        MetricsWriter(tmp_path / "metrics.jsonl"),
        ProgressDisplay("reach", goals, stream=io.StringIO()),
        lambda crash: None,
        wall_seconds=0.0,
        env_steps=0,
        drivers=("teacher", "student"),
    )


def test_warnings_of_other_processes_are_counted_and_told_when_they_are_new_and_when_they_are_many(
    monitor: RunMonitor, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "deploy.training.monitor")
    for _ in range(12):
        monitor.add([replace(CALL, warnings=(("redis: slow", 1),))])
    monitor.line(1, replace(STATUS, warnings=(("py.warnings: overflow", 3),)), {}, running=1)
    assert [record.getMessage() for record in caplog.records] == [
        "actor7, 1 in all: redis: slow",
        "actor7, 10 in all: redis: slow",
        "the learner, 3 in all: py.warnings: overflow",
    ]
    (line,) = read_metrics(tmp_path / "metrics.jsonl", "train")
    assert line["run/warnings"] == 15


def test_the_log_is_bounded_whatever_they_say(monitor: RunMonitor, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(10 * MOST_WARNINGS):
        monitor.add([replace(CALL, warnings=((f"odd value {number}", 1),))])
    assert MOST_WARNINGS < len(caplog.records) < MOST_WARNINGS + 10
