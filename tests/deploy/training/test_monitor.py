"""What the driver writes down of what actors and learner tell it."""

from __future__ import annotations

import io
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from actors.rollout_stats import RolloutStats
from deploy.reporting.metrics import MetricsWriter, read_metrics
from deploy.reporting.progress import ProgressDisplay
from deploy.training.monitor import MOST_WARNINGS, RunMonitor
from learner.loops import LoopReport
from learner.process import LearnerStatus

LOOP = LoopReport(updates=10, metrics={}, waited_seconds=1.0, seconds=4.0, staleness=7.0)
STATUS = LearnerStatus(LOOP, LOOP, 30, 20, 4.0, 2.0, False, True)
CALL = RolloutStats("actor7", 0, 0, 0, (), 0, (), 0.0, 1.0, 1, 500.0, 0)


@pytest.fixture
def monitor(tmp_path: Path) -> RunMonitor:
    display = ProgressDisplay("reach", env_steps=100, student_updates=30, stream=io.StringIO())
    return RunMonitor(
        MetricsWriter(tmp_path / "metrics.jsonl"), display, lambda crash: None, wall_seconds=0.0, env_steps=0
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
