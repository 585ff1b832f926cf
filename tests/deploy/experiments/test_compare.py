"""`twist compare`: which runs are one group, what a group is called, and what is said and drawn of it."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import made_up_run
import numpy as np
import pytest
from PIL import Image

from deploy.cli import main
from deploy.errors import UserError
from deploy.experiments.compared_runs import group_runs, read_run
from deploy.experiments.curve_file import COLUMNS
from deploy.experiments.success_curves import Curve, evaluated_curves, mean_curve
from deploy.runs.directory import RunDirectory
from deploy.runs.intervals import wilson
from deploy.runs.report import write_report
from deploy.runs.results import EvaluationResult
from deploy.settings.presets import resolve

ROWS = (("teacher", "train"), ("student", "train"), ("student", "held_out"))
STEPS = 30_000


def make(
    path: Path,
    *settings: str,
    task: str = "reach",
    seed: int = 0,
    successes: Sequence[int] | None = (100, 97, 95),
    middle: float = 9_000.0,
    steps: int = STEPS,
    curve: bool = False,
    training: bool = True,
) -> Path:
    """A run with generated data: with a report if there are `successes` (of 100), success rises at `middle`."""
    with RunDirectory.claim(path, resolve(task, None, [*settings, f"training.env_steps={STEPS}"], seed=seed)) as run:
        run_id = run.run_id
    random = np.random.default_rng(1000 * seed + round(middle))
    shift = random.normal(0, 700)
    if training:
        rows = [row(step, shift + middle, random) for step in range(2_000, steps + 1, 250)]
        made_up_run.write_metrics(path / "metrics.jsonl", iter(rows))
    if curve:
        write_learning_curve(path, shift + middle, steps, random)
    if successes is not None:
        results = tuple(
            EvaluationResult.from_counts(policy, domain, episodes=100, successes=count, mean_return=1.0, seed=0)
            for (policy, domain), count in zip(ROWS, successes, strict=True)
        )
        written = made_up_run.report(run_id=run_id, task=task, seed=seed, env_steps=STEPS, evaluations=results)
        write_report(path / "report.json", written)
    return path


def rate(step: float, middle: float) -> float:
    return 0.02 + 0.96 / (1 + math.exp(-(step - middle) / 2500))


def row(step: int, middle: float, random: np.random.Generator) -> dict[str, Any]:
    teacher, student = (
        float(np.clip(rate(step, at) + random.normal(0, 0.02), 0, 1)) for at in (middle, middle + 5_000)
    )
    return {
        "time": 1_800_000_000.0 + step / 100,
        "step": step,
        "kind": "train",
        "run/wall_seconds": step / 100,
        "teacher/updates": step // 30,
        "student/updates": step // 14,
        "actors/success_teacher": teacher,
        **({"actors/success_student": student} if step > 5_000 else {}),
    }


def write_learning_curve(path: Path, middle: float, steps: int, random: np.random.Generator) -> None:
    lines = [",".join(COLUMNS)]
    for step in range(2_500, steps + 1, 2_500):
        for policy, domain in (("teacher", "held_out"), ("student", "train"), ("student", "held_out")):
            late = 0 if policy == "teacher" else 4_000 if domain == "train" else 6_000
            successes = int(random.binomial(50, rate(step, middle + late)))
            lines.append(f"{step / 100},{step},{step // 30},{step // 14},{policy},{domain},50,{successes}")
    (path / "learning_curve.csv").write_text("\n".join(lines) + "\n")


def compared(*arguments: str | Path) -> int:
    return main(["compare", *map(str, arguments)])


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def labels(*runs: Path) -> list[tuple[str, str, list[int]]]:
    groups = group_runs(read_run(run) for run in runs)
    return [(group.task, group.label, [run.seed for run in group.runs]) for group in groups]


OFF = "learner.student.imagination_scale=0"


def test_runs_that_differ_in_their_seed_or_in_how_they_are_watched_are_one_group(tmp_path: Path) -> None:
    one = make(tmp_path / "one", seed=1)
    other = make(tmp_path / "other", "training.metrics_every_seconds=9", seed=0)
    assert labels(one, other) == [("reach", "all runs", [0, 1])]


def test_groups_are_called_by_what_differs_between_them(tmp_path: Path) -> None:
    runs = [
        make(tmp_path / "plain", "learner.threads=1"),
        make(tmp_path / "off", OFF, "learner.threads=1"),
        make(tmp_path / "both", OFF, "learner.student.average_rate=0.5", "learner.threads=1"),
    ]
    found = [label for _, label, _ in labels(*runs)]
    off = "learner.student.imagination_scale=0.0"
    assert found == ["default", off, f"{off}, learner.student.average_rate=0.5"]


def test_tasks_are_compared_apart_and_their_own_settings_are_no_difference(tmp_path: Path) -> None:
    runs = [
        make(tmp_path / f"{task}-{i}", *own, task=task)
        for task in ("push", "reach")
        for i, own in enumerate([(), (OFF,)])
    ]
    off = "learner.student.imagination_scale=0.0"
    assert labels(*runs) == [
        ("reach", "default", [0]),
        ("reach", off, [0]),
        ("push", "default", [0]),
        ("push", off, [0]),
    ]


def test_runs_of_a_sweep_have_the_names_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "sweep.json").write_text(json.dumps({"format": 1, "variants": {"no-imagination": "No imagination"}}))
    runs = [make(tmp_path / "no-imagination" / f"reach-{seed}", OFF, seed=seed) for seed in (0, 1)]
    plain = make(tmp_path / "elsewhere")
    assert labels(*runs, plain) == [("reach", "No imagination", [0, 1]), ("reach", "default", [0])]


def test_one_name_for_different_settings_is_made_clear(tmp_path: Path) -> None:
    runs = []
    for sweep, own in (("a", ()), ("b", (OFF,))):
        runs.append(make(tmp_path / sweep / "default" / "reach-0", *own))
        (tmp_path / sweep / "sweep.json").write_text(json.dumps({"format": 1, "variants": {"default": "default"}}))
    off = "default (learner.student.imagination_scale=0.0)"
    assert [label for _, label, _ in labels(*runs)] == ["default", off]


def test_the_tables_pool_the_seeds_episodes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [make(tmp_path / str(i), seed=i, successes=(100, 97, count)) for i, count in enumerate((96, 90))]
    late = make(tmp_path / "late", seed=2, successes=None, steps=9_000)
    assert compared(*runs, late, "--out", tmp_path / "out") == 0
    held_out = read_csv(tmp_path / "out" / "compare.csv")[-1]
    low, high = wilson(186, 200)
    assert {key: held_out[key] for key in ("policy", "domain", "runs", "finished", "seeds", "each")} == {
        "policy": "student",
        "domain": "held_out",
        "runs": "3",
        "finished": "2",
        "seeds": "0 1",
        "each": "0.9600 0.9000",
    }
    assert [float(held_out[key]) for key in ("mean", "min", "max", "low", "high")] == pytest.approx(
        [0.93, 0.90, 0.96, low, high], abs=1e-4
    )
    assert (held_out["successes"], held_out["episodes"], held_out["env_steps"]) == ("186", "200", "30000.0")
    page = (tmp_path / "out" / "compare.md").read_text()
    assert "| **93.0 %** | 96 %, 90 % |" in page
    assert "0, 1, 2 (unfinished)" in page
    assert f"Made by `twist compare {runs[0]}" in page
    assert "2 of 3" in capsys.readouterr().out


def test_a_report_of_a_shorter_run_does_not_count_once_it_is_made_longer(tmp_path: Path) -> None:
    run = make(tmp_path / "run")
    assert read_run(run).report is not None
    RunDirectory.claim(run, resolve("reach", None, [f"training.env_steps={2 * STEPS}"])).close()
    assert read_run(run).report is None


def curve(steps: Sequence[float], success: Sequence[float]) -> Curve:
    return Curve(np.array(steps, float), np.array(steps, float) / 10, np.array(success, float))


def test_a_mean_curve_says_how_many_runs_are_behind_each_of_its_points() -> None:
    mean = mean_curve([curve([0, 100, 200], [0, 0.5, 1]), curve([0, 100], [0.2, 0.9])], of_time=False)
    assert mean.x.tolist() == [0, 100, 200]
    assert mean.mean == pytest.approx([0.1, 0.7, 1.0])
    assert mean.runs.tolist() == [2, 2, 1]
    assert mean.of == 2
    assert mean.low == pytest.approx([0, 0.5, math.nan], nan_ok=True)
    assert mean.high == pytest.approx([0.2, 0.9, math.nan], nan_ok=True)


def test_a_run_is_interpolated_between_its_points_and_may_be_drawn_over_time() -> None:
    mean = mean_curve([curve([0, 200], [0, 1]), curve([0, 50, 200], [0, 0, 0])], of_time=True)
    assert mean.x.tolist() == [0, 5, 20]
    assert mean.mean == pytest.approx([0, 0.125, 0.5])


def test_a_student_that_learns_when_all_steps_are_in_is_drawn_to_its_end(tmp_path: Path) -> None:
    text = [
        ",".join(COLUMNS),
        "10.0,100,5,0,student,held_out,10,0",
        "20.0,200,9,0,student,held_out,10,1",
        "30.0,200,9,5,student,held_out,10,4",
        "40.0,200,9,9,student,held_out,10,8",
        "",
    ]
    (tmp_path / "learning_curve.csv").write_text("\n".join(text))
    found = evaluated_curves(tmp_path)["student", "held_out"]
    assert found.seconds.tolist() == [10, 20, 30, 40]
    of_time, of_steps = (mean_curve([found], of_time=of_time) for of_time in (True, False))
    assert (of_time.x.tolist(), of_time.mean.tolist()) == ([10, 20, 30, 40], [0, 0.1, 0.4, 0.8])
    assert (of_steps.x.tolist(), of_steps.mean.tolist()) == ([100, 200], [0, 0.8])
    assert of_steps.high[-1] == pytest.approx(wilson(8, 10)[1])


def test_ends_that_lie_a_few_steps_apart_count_as_the_same() -> None:
    mean = mean_curve([curve([0, 1000], [0, 1]), curve([0, 1010], [0, 1])], of_time=False)
    assert mean.runs.tolist() == [2, 2, 2]


def test_learning_curves_are_read_whatever_visuals_the_teacher_was_evaluated_in(tmp_path: Path) -> None:
    text = [
        ",".join(COLUMNS),
        "20.0,200,9,9,teacher,held_out,50,25",
        "10.0,100,5,5,teacher,held_out,10,1",
        "10.0,100,5,5,student,held_out,50,10",
        "10.0,100,5,5,student,held_out,100,30",
        "20.0,200,9,9,student,held_out,50,2",
    ]
    (tmp_path / "learning_curve.csv").write_text("\n".join(text))  # the last line is being written
    found = evaluated_curves(tmp_path)
    assert found.keys() == {("teacher", "train"), ("student", "held_out")}
    teacher, student = found["teacher", "train"], found["student", "held_out"]
    assert (teacher.step.tolist(), teacher.seconds.tolist()) == ([100, 200], [10, 20])
    assert teacher.success.tolist() == [0.1, 0.5]
    assert student.success.tolist() == [0.3]
    assert student.interval is not None
    assert student.interval[:, 0] == pytest.approx(wilson(30, 100))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps,success\n1,2\n", "learning_curve.csv: does not begin with seconds,env_steps"),
        (",".join(COLUMNS) + "\n1,2,3,4,student,train,10,x\n", "learning_curve.csv, line 2: invalid literal"),
        (",".join(COLUMNS) + "\n1,2,3,4,student,train,0,0\n", "learning_curve.csv, line 2: episodes = 0"),
        (",".join(COLUMNS) + "\n1,2,3\n", "learning_curve.csv, line 2: "),
    ],
)
def test_a_learning_curve_that_cannot_be_read_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "learning_curve.csv").write_text(text)
    with pytest.raises(UserError) as error:
        evaluated_curves(tmp_path)
    assert message in str(error.value)


def test_curves_of_one_panel_are_of_one_kind(tmp_path: Path) -> None:
    both = [make(tmp_path / "with", curve=True), make(tmp_path / "without", OFF)]
    assert compared(*both, "--out", tmp_path / "mixed") == 0
    drawn = read_csv(tmp_path / "mixed" / "compare_curves.csv")
    sources = {(line["policy"], line["domain"], line["source"]) for line in drawn}
    assert sources == {
        ("teacher", "train", "while training"),
        ("student", "train", "while training"),
        ("student", "held_out", "evaluated"),
    }
    assert compared(both[0], "--out", tmp_path / "evaluated", "--x", "time") == 0
    drawn = read_csv(tmp_path / "evaluated" / "compare_curves.csv")
    assert {line["source"] for line in drawn} == {"evaluated"}
    assert float(drawn[-1]["seconds"]) == STEPS / 100
    assert {line["env_steps"] for line in drawn} == {""}


def test_the_picture_has_a_white_ground_and_a_band(tmp_path: Path) -> None:
    runs = [make(tmp_path / f"{seed}", seed=seed) for seed in (0, 1, 2)]
    assert compared(*runs) == 0
    pixels = np.asarray(Image.open(tmp_path / "compare.png").convert("RGB")).reshape(-1, 3)
    white = (pixels == 255).all(axis=1).mean()
    assert 0.7 < white < 0.99


def test_without_curves_there_are_tables_and_without_anything_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make(tmp_path / "run", training=False)
    assert compared(run, "--out", tmp_path / "out") == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"compare.md", "compare.csv", "compare_curves.csv"}
    (run / "report.json").unlink()
    capsys.readouterr()
    assert compared(run, "--out", tmp_path / "none") == 2
    assert "nothing to compare yet: none of the 1 runs has a finished report.json" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_groups_can_be_given_other_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [make(tmp_path / "a"), make(tmp_path / "b", OFF)]
    assert compared(*runs, "--label", "ours", "--label", "ablated") == 0
    assert [line["settings"] for line in read_csv(tmp_path / "compare.csv")] == ["ours"] * 3 + ["ablated"] * 3
    capsys.readouterr()
    assert compared(*runs, "--label", "ours") == 2
    assert "--label is given 1 times: there are 2 groups, default; learner.student" in capsys.readouterr().err


def test_it_writes_beside_the_runs_or_into_their_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a/x/reach-0", "a/y/reach-0", "b/reach-0"):
        make(Path(name), *([OFF] if "y" in name else []), training=False)
    (tmp_path / "a" / "sweep.json").write_text(json.dumps({"format": 1, "variants": {"x": "x", "y": "y"}}))
    assert compared("a/x/reach-0") == 0
    assert (tmp_path / "a" / "compare.md").exists()
    assert compared("a/x/reach-0", "b/reach-0") == 0
    assert (tmp_path / "compare.md").exists()


BAD_INPUT = {
    "no run": ([], "the following arguments are required: RUN"),
    "nothing there": (["nowhere"], "run directory nowhere: is not there"),
    "not a run": (["other"], "run directory other: has no config.json, so it is not a run"),
    "a file": (["other/notes.txt"], "run directory other/notes.txt: is a file"),
    "twice": (["run", "other/../run"], "run directory other/../run: is given twice"),
    "unknown x": (["run", "--x", "updates"], "invalid choice: 'updates' (choose from 'steps', 'time')"),
    "to a file": (["run", "--out", "other/notes.txt"], "other/notes.txt: is a file, a directory is wanted"),
    "corrupt report": (["corrupt"], "corrupt/report.json: is not a report"),
    "corrupt metrics": (["garbled"], "garbled/metrics.jsonl, line 1: is not JSON"),
}


@pytest.mark.parametrize("case", BAD_INPUT, ids=str)
def test_bad_input_is_one_line_and_nothing_is_written(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, message = BAD_INPUT[case]
    monkeypatch.chdir(tmp_path)
    Path("other").mkdir()
    Path("other", "notes.txt").write_text("mine")
    for name in ("run", "corrupt", "garbled"):
        make(Path(name))
    Path("corrupt", "report.json").write_text("{}")
    Path("garbled", "metrics.jsonl").write_text("{\n")
    before = sorted(tmp_path.rglob("*"))
    assert compared(*arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 1
    assert message in shown.err
    assert sorted(tmp_path.rglob("*")) == before
