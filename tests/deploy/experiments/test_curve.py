"""`twist curve`, and the runs whose snapshots it evaluates: a student that learns beside its teacher, or after it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from running import DEBUG, LOCAL, Running, completed, lines, of_kind, report

from deploy.cli import main
from deploy.errors import UserError
from deploy.experiments.curve_figure import draw_learning_curve
from deploy.experiments.curve_file import COLUMNS, CurveFile, CurvePoint
from deploy.runs.directory import RunDirectory
from deploy.runs.snapshots import Snapshot, Snapshots
from deploy.settings.presets import resolve
from learner.checkpoint import read_weights

HEADER = "seconds,env_steps,teacher_updates,student_updates,policy,domain,episodes,successes\n"
AFTER = "training.student_begins=after_teacher"


def snapshots(run: Path) -> list[Snapshot]:
    opened = RunDirectory.open(run)
    return Snapshots(opened.snapshots).all(opened.config)


def point(successes: int = 3, **changes: Any) -> CurvePoint:
    values: dict[str, Any] = {"seconds": 12.5, "env_steps": 1000, "teacher_updates": 20, "student_updates": 30}
    values |= {"policy": "student", "domain": "held_out", "episodes": 10, "successes": successes}
    return CurvePoint(**(values | changes))


# --- the file and the picture -----------------------------------------------------------------------------------------


def test_the_file_has_exactly_these_columns(tmp_path: Path) -> None:
    CurveFile(tmp_path / "curve.csv").add(point())
    assert (tmp_path / "curve.csv").read_text() == HEADER + "12.5,1000,20,30,student,held_out,10,3\n"
    assert ",".join(COLUMNS) + "\n" == HEADER


def test_the_file_goes_on_after_its_last_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "curve.csv"
    CurveFile(path).add(point(3))
    path.write_text(path.read_text() + "13.5,1100,21,31,stud")
    file = CurveFile(path)
    assert file.points == [point(3)]
    file.add(point(4))
    assert CurveFile(path).points == [point(3), point(4)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "does not begin with seconds,env_steps"),
        ("", "does not begin with"),
        (HEADER + "1,2\n", "line 2: zip"),
        (HEADER + "1.0,x,2,3,student,train,4,5\n", "line 2: invalid literal for int"),
    ],
)
def test_another_file_is_refused_and_left_alone(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "curve.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        CurveFile(tmp_path / "curve.csv")
    assert (tmp_path / "curve.csv").read_text() == text


def made_up(*, after_teacher: bool) -> list[CurvePoint]:
    """A run of ten minutes whose teacher learns first."""
    points = []
    for minute in range(1, 11):
        steps = min(6000 * minute, 30_000) if after_teacher else 3000 * minute
        for policy, middle in (("teacher", 3 if after_teacher else 4), ("student", 8 if after_teacher else 6)):
            rate = 1 / (1 + math.exp(-2.0 * (minute - middle)))
            counts = {"seconds": 60.0 * minute, "env_steps": steps, "policy": policy, "episodes": 50}
            points.append(point(round(50 * rate), **counts))
    return points


@pytest.mark.parametrize("after_teacher", [False, True])
def test_the_picture_is_drawn_for_light_and_for_dark(after_teacher: bool, tmp_path: Path) -> None:
    written = draw_learning_curve(made_up(after_teacher=after_teacher), tmp_path / "curve.png", "success")
    assert [path.name for path in written] == ["curve.png", "curve-dark.png"]
    for path in written:
        alpha = np.asarray(Image.open(path).convert("RGBA"))[..., 3]
        assert 0.01 < (alpha > 0).mean() < 0.6, f"{path.name}: bands on a transparent ground"


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "run directory run: has no snapshots; train with training.snapshot_every_seconds above 0"),
        (["debug"], "run directory debug: has no snapshots; train with training.snapshot_every_updates above 0"),
        (["nowhere"], "run directory nowhere: is not there"),
        (["run", "--policies", "robot"], "--policies: robot is not allowed: some of teacher, student"),
        (["run", "--policies", "student,student"], "student,student is not allowed"),
        (["run", "--domain", "lab"], "--domain: lab is not allowed, as no snapshot may be chosen by the lab"),
        (["run", "--domain", "lab:workshop"], "--domain: lab:workshop is not allowed"),
        (["run", "--episodes", "0"], "--episodes: 0 is not allowed: a whole number, at least 1"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    RunDirectory.claim(Path("run"), resolve("reach", "debug", [])).close()
    RunDirectory.claim(Path("debug"), resolve("reach", "debug", [], mode="debug")).close()
    before = sorted(tmp_path.rglob("*"))
    assert main(["curve", *arguments]) == 2
    said = capsys.readouterr()
    assert (said.out, len(said.err.splitlines())) == ("", 1)
    assert message in said.err
    assert sorted(tmp_path.rglob("*")) == before


# --- real runs --------------------------------------------------------------------------------------------------------


SHORT = (
    *("--preset", "debug", "training.env_steps=300", "actors.student_fraction=0"),
    *("learner.teacher_samples_per_insert=4", "learner.student_samples_per_insert=2"),
    *("training.metrics_every_updates=1", "training.snapshot_every_updates=5", "training.checkpoint_every_updates=50"),
)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two runs of one seed in debug mode that differ in nothing but when the student begins; not concluded."""
    directory = tmp_path_factory.mktemp("pair")
    runs = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("deploy.training.train.conclude", lambda *_: None)
        for begins in ("at_once", "after_teacher"):
            runs[begins] = directory / begins
            settings = (*SHORT, "training.student_updates=100", f"training.student_begins={begins}")
            assert main(["train", "reach", "--mode", "debug", "--run-dir", str(runs[begins]), *settings]) == 0
    return runs


def counts(run: Path) -> list[tuple[int, int]]:
    return [(int(row["teacher/updates"]), int(row["student/updates"])) for row in of_kind("train", lines(run))]


def test_the_student_begins_when_the_teacher_is_done_and_learns_as_much(pair: dict[str, Path]) -> None:
    beside, after = counts(pair["at_once"]), counts(pair["after_teacher"])
    teacher, student = after[-1]
    assert beside[-1][0] == teacher
    assert abs(beside[-1][1] - student) <= 2  # the limiter counts rows, and batches differ in theirs
    assert min(teacher, student) >= 10
    assert any(0 < t < teacher and 0 < s < student for t, s in beside)
    assert after == [(t, 0) for t in range(1, teacher + 1)] + [(teacher, s) for s in range(1, student + 1)]
    rows = of_kind("train", lines(pair["after_teacher"]))
    assert {row["step"] for row in rows if row["student/updates"] > 0} == {rows[-1]["replay/env_steps"]}
    seconds = [row["run/wall_seconds"] for row in rows]
    assert seconds == sorted(seconds)


def test_in_debug_mode_the_teacher_does_not_depend_on_when_the_student_learns(pair: dict[str, Path]) -> None:
    """Where no episode is driven by the student: the same chunks, the same teacher, to the last bit."""
    told = []
    for run in pair.values():
        rows = [row for row in of_kind("train", lines(run)) if "teacher/gradient_norm" in row]
        keys = [key for key in rows[0] if key.startswith(("teacher/loss_", "replay/env_steps", "step"))]
        told.append([{key: row[key] for key in keys} for row in rows])
    assert told[0] == told[1]
    weights = [read_weights(RunDirectory.open(run).newest_checkpoint().path) for run in pair.values()]
    same = {name.partition("/")[0] for name in weights[0] if np.array_equal(weights[0][name], weights[1][name])}
    assert {"teacher", "policy", "critic"} <= same
    unequal = {name for name in weights[0] if not np.array_equal(weights[0][name], weights[1][name])}
    assert {name.partition("/")[0] for name in unequal} == {"student", "student_average"}


def test_snapshots_lie_along_the_whole_run_and_hold_what_acts(pair: dict[str, Path]) -> None:
    for begins, run in pair.items():
        found, (teacher, student) = snapshots(run), counts(run)[-1]
        assert tuple(found[-1].updates.values()) == (teacher, student)
        seen = [tuple(s.updates.values()) for s in found]
        if begins == "after_teacher":
            assert seen[:2] == [(5, 0), (10, 0)]
            assert len(seen) == math.ceil((teacher + student) / 5)
        else:
            assert [teacher for teacher, _ in seen[:2]] == [5, 10]
            assert all(abs(teacher - student) <= 2 for teacher, student in seen)  # batches differ in their rows
        last, latest = read_weights(found[-1].path), read_weights(RunDirectory.open(run).newest_checkpoint().path)
        assert {name.partition("/")[0] for name in last} == {"teacher", "policy", "student_average"}
        assert all(np.array_equal(last[name], latest[name]) for name in last)
        assert not [path for path in (run / "snapshots").rglob("*") if path.name.startswith("training")]
        assert 0 < found[0].seconds < found[-1].seconds


def test_curve_evaluates_every_snapshot_once_and_goes_on_where_it_was_interrupted(
    pair: dict[str, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = pair["after_teacher"]
    asked = ["curve", str(run), "--episodes", "2"]
    assert main([*asked, "--policies", "teacher"]) == 0
    assert "evaluations of 2 episodes to make" in capsys.readouterr().out
    found, file = snapshots(run), run / "learning_curve.csv"
    whole = file.read_text()
    expected = [(s.env_steps, *s.updates.values()) for s in found]
    points = CurveFile(file).points
    assert [(p.env_steps, p.teacher_updates, p.student_updates) for p in points] == expected
    assert {(p.policy, p.domain, p.episodes) for p in points} == {("teacher", "held_out", 2)}

    monkeypatch.setattr("deploy.experiments.curve.map_in_two_processes", lambda *given: (x for x in map(*given)))
    file.write_text(whole[:-3])
    assert main([*asked, "--policies", "teacher"]) == 0
    assert f"{len(found)} snapshots: 1 evaluations of 2 episodes to make" in capsys.readouterr().out
    assert file.read_text() == whole
    assert main([*asked, "--policies", "teacher"]) == 0
    assert f"{len(found)} snapshots: 0 evaluations" in capsys.readouterr().out
    assert file.read_text() == whole
    with Image.open(run / "learning_curve.png") as picture:
        assert picture.format == "PNG"


SLOW_STUDENT = ("learner.student_samples_per_insert=0", "training.student_updates=150", AFTER)


@pytest.mark.parametrize(
    "mode",
    [
        (*DEBUG, "training.snapshot_every_updates=10"),
        pytest.param(
            (*LOCAL, "training.metrics_every_seconds=0.2", "training.snapshot_every_seconds=0.5"),
            marks=pytest.mark.long,
        ),
    ],
    ids=["debug", "local"],
)
def test_a_run_that_is_killed_while_the_student_learns_alone_goes_on_there(mode: Sequence[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    given = {text.partition("=")[0]: text for text in (*mode[2:], *SLOW_STUDENT, "training.env_steps=250")}
    same = ("train", "reach", *mode[:2], *given.values(), "--run-dir", str(run))
    with Running(tmp_path / "log", *same) as first:
        first.wait_until(lambda: any(row["student/updates"] >= 20 for row in of_kind("train", lines(run))))
        first.kill()
    before, taken = of_kind("train", lines(run))[-1], snapshots(run)
    assert 20 <= before["student/updates"] < 150
    state = RunDirectory.open(run).newest_checkpoint().document["learner"]

    completed(*same)

    rows = lines(run)
    resumed = next(number for number, row in enumerate(rows) if row.get("event") == "resumed")
    after = of_kind("train", rows[resumed:])
    assert {row["teacher/updates"] for row in after} == {state["teacher_updates"]}
    assert {row["step"] for row in after} == {before["step"]}
    assert after[-1]["student/updates"] == report(run)["updates"]["student"] == 150
    assert not [row for row in rows if row.get("student/updates", 0) > 0 and row["step"] < 250]
    assert after[-1]["run/wall_seconds"] > before["run/wall_seconds"]
    found = snapshots(run)
    assert [s.path for s in found[: len(taken)]] == [s.path for s in taken]
    updates = [sum(s.updates.values()) for s in found]
    assert updates == sorted(set(updates))
    assert found[-1].updates["student"] == 150
