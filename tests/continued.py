"""A run that was killed and continued: when to kill it, and what must hold of its metrics afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from running import lines, of_kind

from deploy.errors import UserError
from deploy.runs.directory import RunDirectory

Rows = list[dict[str, Any]]


def updates(row: dict[str, Any]) -> float:
    return float(row["teacher/updates"] + row["student/updates"])


def is_past_a_checkpoint(run: Path) -> bool:
    """Whether there is a checkpoint of a learner that has learned, and the metrics tell of updates it does not have."""
    told = of_kind("train", lines(run))
    try:
        found = RunDirectory.open(run).checkpoints.latest()
    except UserError:  # there is no run yet, or the checkpoint is just being replaced
        return False
    if found is None or not told:
        return False
    counted = int(found.document["learner"]["teacher_updates"] + found.document["learner"]["student_updates"])
    return 0 < counted < updates(told[-1])


def assert_counters_go_on(before: Rows, after: Rows, *, kept_bytes: int, run: Path) -> None:
    """Nothing runs backwards, nothing is told twice, and what was told before is still there or was put aside."""
    steps = [row["step"] for row in after]
    assert steps == sorted(steps)
    for name in ("teacher", "student"):
        counts = [row[f"{name}/updates"] for row in of_kind("train", after)]
        assert counts == sorted(counts)
        told_of = [row[f"{name}/updates"] for row in of_kind("train", after) if f"{name}/gradient_norm" in row]
        assert len(told_of) == len(set(told_of))
    learned = [(row["step"], updates(row)) for row in of_kind("train", after) if "teacher/gradient_norm" in row]
    assert len(learned) == len(set(learned))
    kept = (run / "metrics.jsonl").read_bytes()[:kept_bytes].count(b"\n")
    assert after[:kept] == before[:kept]
    put_aside = [row for row in before if row not in after]
    assert put_aside
    assert {row["kind"] for row in put_aside} == {"train"}
    assert (run / "logs" / "metrics_taken_out.jsonl").read_bytes().count(b"\n") == len(put_aside)
