"""The main job from the command line to the report: `python -m deploy`, real processes, the smallest real run."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from running import DEBUG, LOCAL, command, completed, lines, of_kind, report

from deploy.cli import main
from deploy.runs.directory import RunDirectory

OF_THE_CLOCK = ("time", "run/wall_seconds", "run/stalled_seconds", "actors/hours", "rate/", "wait/")
OF_THE_RUN_ID = ("replay/bytes",)
"""Each chunk carries the run's random id in its compressed metadata: a few bytes more or less."""

FROM_INSIDE = """
import json, sys, threading
started, start = [], threading.Thread.start
threading.Thread.start = lambda thread: (started.append(thread.name), start(thread))[1]
from deploy.cli import main
code = main(sys.argv[1:])
ray = sorted(name for name in sys.modules if name.split(".")[0] == "ray")
print(json.dumps({"code": code, "ray": ray, "started": started, "active": threading.active_count()}))
"""


def told(run: Path) -> list[dict[str, Any]]:
    """What metrics.jsonl says, without what depends on the clock or on the run's id."""
    return [
        {key: value for key, value in row.items() if not key.startswith((*OF_THE_CLOCK, *OF_THE_RUN_ID))}
        for row in lines(run)
    ]


def test_debug_mode_gives_the_same_numbers_from_the_same_seed_without_ray_and_threads(tmp_path: Path) -> None:
    train = ("train", "reach", *DEBUG, "training.env_steps=300")
    completed(*train, "--seed", "3", "--run-dir", str(tmp_path / "one"))
    completed(*train, "--seed", "4", "--run-dir", str(tmp_path / "other seed"))
    inside = command(*train, "--seed", "3", "--run-dir", str(tmp_path / "two"))
    inside["args"][1:3] = ["-c", FROM_INSIDE]
    seen = subprocess.run(**inside, capture_output=True, check=True).stdout.splitlines()[-1]
    assert json.loads(seen) == {"code": 0, "ray": [], "started": [], "active": 1}

    one, two, other = (told(tmp_path / name) for name in ("one", "two", "other seed"))
    assert one == two
    losses = [key for row in of_kind("train", one) for key in row if key.startswith(("teacher/loss", "student/loss"))]
    assert len(set(losses)) >= 10
    assert len(losses) >= 10 * len(of_kind("train", one))
    pairs = list(zip(of_kind("train", one), of_kind("train", other), strict=False))
    assert len(pairs) >= 5
    assert all(a["teacher/loss_state"] != b["teacher/loss_state"] for a, b in pairs)
    steps = [(row["step"], row["teacher/updates"], row["student/updates"]) for row in of_kind("train", one)]
    assert len(set(steps)) == len(steps)


def test_a_finished_run_has_everything_that_it_should(finished: Path) -> None:
    found = report(finished)
    assert {
        "task",
        "env_steps",
        "wall_seconds",
        "teacher_success",
        "student_success_train",
        "student_success_held_out",
        "episodes",
        "intervals",
        "updates",
        "versions",
    } <= found.keys()
    assert (found["task"], found["mode"], found["episodes"]) == ("reach", "local", 2)
    assert found["env_steps"] >= 600
    assert found["intervals"].keys() == {"teacher_success", "student_success_train", "student_success_held_out"}
    quiet = {"resumed": 0, "restarts": {}, "crashes": 0, "quarantined": 0, "lost_rows": 0}
    assert {key: found[key] for key in quiet} == quiet

    checkpoint = RunDirectory.open(finished).checkpoints.latest()
    assert checkpoint is not None
    assert checkpoint.step == found["env_steps"]
    learner = checkpoint.document["learner"]
    assert found["updates"] == {name: learner[f"{name}_updates"] for name in ("teacher", "student")}
    assert found["updates"]["student"] >= 10
    assert json.loads((finished / "config.json").read_text())["task"] == "reach"
    assert "student" in (finished / "report.html").read_text()
    for name in ("teacher", "student_train", "student_held_out", "teacher_imagined", "student_imagined"):
        with Image.open(finished / "clips" / f"{name}.gif") as clip:
            assert clip.n_frames > 10
    assert {path.name for path in (finished / "curves").iterdir()} >= {"losses.png", "rates.png", "success.png"}
    assert {row["kind"] for row in lines(finished)} == {"train", "episode", "evaluation"}
    assert list((finished / "tensorboard").iterdir())


def test_the_metrics_tell_every_update_once_and_both_loops_learn_at_the_same_time(finished: Path) -> None:
    rows = of_kind("train", lines(finished))
    for name in ("teacher", "student"):
        told_of = [row[f"{name}/updates"] for row in rows if f"{name}/gradient_norm" in row]
        assert len(told_of) > 1
        assert told_of == sorted(set(told_of))
        assert told_of[-1] == report(finished)["updates"][name]
    assert any("teacher/gradient_norm" in row and "student/gradient_norm" in row for row in rows)


def test_eval_says_in_one_line_of_json_what_the_policy_can_do_and_says_it_again(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["eval", str(finished), "--domain", "held_out", "--episodes", "4", "--seed", "7", "--json"]
    said = completed(*arguments)
    result = json.loads(said)
    assert said.count("\n") == 1
    asked = {"episodes": 4, "domain": "held_out", "policy": "student", "task": "reach", "seed": 7}
    assert {key: result[key] for key in asked} == asked
    low, high = result["interval"]
    assert 0 <= low <= result["success"] <= high <= 1
    assert main(arguments) == 0
    assert capsys.readouterr().out == said
    assert main([*arguments[:-2], "8", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["mean_return"] != result["mean_return"]


def test_eval_drives_with_the_teacher_too_and_films_it(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = tmp_path / "teacher.gif"
    assert main(["eval", str(finished), "--policy", "teacher", "--episodes", "3", "--clip", str(clip)]) == 0
    assert capsys.readouterr().out.startswith("teacher on reach in held_out visuals: ")
    with Image.open(clip) as film:
        assert (film.format, film.n_frames > 10) == ("GIF", True)


def test_a_student_is_distilled_from_a_finished_run_while_two_processes_play_its_episodes(
    finished: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    said = completed("distil", str(finished), "--out", str(out), "actors.count=2", "sim.image_size=64")
    found, source = report(out), report(finished)
    assert f"New student for the teacher of run {source['run_id']}" in said
    assert found["env_steps"] >= source["env_steps"] >= 600
    assert found["updates"] == {"teacher": source["updates"]["teacher"], "student": 10}
    again = found["distilled"]
    assert again["episodes"] >= source["env_steps"] // 16
    assert (again["differing"], again["drifted"], again["largest_drift"]) == (0, 0, 0.0)
    assert {row["actor"] for row in of_kind("episode", lines(out))} == {"actor0", "actor1"}
    result = json.loads(completed("eval", str(out), "--episodes", "2", "--json"))
    assert (result["task"], result["policy"]) == ("reach", "student")


def test_the_same_command_on_a_finished_run_trains_no_more(finished: Path) -> None:
    before, rows = report(finished), lines(finished)
    said = completed("train", "reach", *LOCAL, "--run-dir", str(finished))
    assert "is complete" in said
    assert report(finished) == before
    assert of_kind("train", lines(finished)) == of_kind("train", rows)
    assert [row["kind"] for row in lines(finished)] == [row["kind"] for row in rows]
