"""Curves from metrics.jsonl, whole or with gaps, of runs that were resumed or not."""

from pathlib import Path
from typing import Any

import made_up_run
import numpy as np
import pytest
from PIL import Image

from deploy.reporting.curves import MAX_POINTS, make_history, write_curves


def row(step: int, time: float, kind: str = "train", **values: Any) -> dict[str, Any]:
    return {"time": time, "step": step, "kind": kind, **values}


def test_a_series_has_step_running_time_and_value() -> None:
    series = make_history([row(10, 100.0, x=1.0), row(20, 103.0, x=2.0)])["x"]
    assert series.step.tolist() == [10, 20]
    assert series.seconds.tolist() == [0, 3]
    assert series.value.tolist() == [1, 2]


def test_the_pause_before_a_resumed_part_is_not_running_time() -> None:
    rows = [row(10, 100.0, x=1.0), row(10, 5000.0, "event", event="resumed"), row(20, 5004.0, x=2.0)]
    assert make_history(rows)["x"].seconds.tolist() == [0, 4]


def test_the_runs_own_count_of_its_wall_time_is_believed() -> None:
    rows = [row(10, 100.0, x=1.0), row(20, 105.0, x=2.0, **{"run/wall_seconds": 65.0}), row(30, 106.0, x=3.0)]
    assert make_history(rows)["x"].seconds.tolist() == [0, 65, 66]


def test_a_clock_that_was_set_back_makes_no_time_run_backwards() -> None:
    rows = [row(10, 100.0, x=1.0), row(20, 40.0, x=2.0), row(30, 45.0, x=3.0)]
    assert make_history(rows)["x"].seconds.tolist() == [0, 0, 5]


def test_what_is_no_finite_number_is_left_out() -> None:
    history = make_history([row(1, 0.0, x=float("nan"), y="text", z=True), row(2, 1.0, x=4.0)])
    assert set(history) == {"x"}
    assert history["x"].value.tolist() == [4.0]


def test_a_long_series_is_thinned_and_keeps_its_ends() -> None:
    series = make_history([row(step, float(step), x=float(step)) for step in range(10 * MAX_POINTS)])["x"].thinned()
    assert len(series.value) <= MAX_POINTS
    assert (series.value[0], series.value[-1]) == (0, 10 * MAX_POINTS - 1)


def test_every_picture_is_drawn_for_light_and_for_dark(tmp_path: Path) -> None:
    made_up_run.write_metrics(tmp_path / "metrics.jsonl", made_up_run.metrics_rows())
    written = write_curves(tmp_path / "metrics.jsonl", tmp_path / "curves")
    assert {path.name for path in written} == {
        f"{name}{suffix}.png" for name in ("success", "losses", "rates") for suffix in ("", "-dark")
    }
    for path in written:
        alpha = np.asarray(Image.open(path).convert("RGBA"))[..., 3]
        assert 0.001 < (alpha > 0).mean() < 0.5, f"{path.name}: lines on a transparent ground"


@pytest.mark.parametrize(
    ("keys", "pictures"),
    [
        ((), set()),
        (("actors/success_teacher",), {"success"}),
        (("evaluation/student_success_held_out",), {"success"}),
        (("teacher/loss_state",), {"losses"}),
        (("wait/actors",), {"rates"}),
        (("rate/env_steps", "student/loss_prior"), {"rates", "losses"}),
    ],
)
def test_missing_keys_leave_out_only_what_they_are_for(
    tmp_path: Path, keys: tuple[str, ...], pictures: set[str]
) -> None:
    rows = (row(step, float(step), **dict.fromkeys(keys, 0.5)) for step in (1, 2, 3))
    made_up_run.write_metrics(tmp_path / "metrics.jsonl", rows)
    written = write_curves(tmp_path / "metrics.jsonl", tmp_path)
    assert {path.stem for path in written if not path.stem.endswith("-dark")} == pictures


def test_a_run_that_wrote_no_metrics_has_no_curves(tmp_path: Path) -> None:
    assert write_curves(tmp_path / "metrics.jsonl", tmp_path / "curves") == []
