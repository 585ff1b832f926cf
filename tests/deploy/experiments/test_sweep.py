"""`twist sweep`: the whole file is checked first; every run has a process; what is finished is left alone."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import made_up_run
import pytest
from running import SECONDS, command, report

from deploy.cli import main
from deploy.errors import UserError
from deploy.experiments.sweep import FINISHED_BEFORE, check_directories, read_record
from deploy.experiments.sweep_file import read_sweep
from deploy.runs.directory import RunDirectory
from deploy.runs.finished import finished_report
from deploy.runs.report import write_report
from deploy.runs.results import EvaluationResult
from deploy.settings.lengths import lengths
from deploy.settings.presets import resolve

RESULTS = Path(__file__).parents[3] / "docs" / "results"

SMALL = """
name = "Two variants"
tasks = ["reach"]
seeds = [0, 1]
preset = "debug"
mode = "debug"
settings = ["training.env_steps=200", "training.student_updates=4", "evaluation.episodes=2"]
[variants]
default = []
"No imagination!" = ["learner.student.imagination_scale=0", "training.env_steps=210"]
"""


def written(directory: Path, text: str = SMALL) -> Path:
    file = directory / "sweep.toml"
    file.write_text(text)
    return file


def changed(**lines: str) -> str:
    """`SMALL` with other values of these keys."""
    out = []
    for line in SMALL.splitlines():
        key = line.partition(" = ")[0]
        out.append(f"{key} = {lines[key]}" if key in lines else line)
    return "\n".join(out)


def test_every_variant_is_trained_on_every_task_with_every_seed(tmp_path: Path) -> None:
    sweep = read_sweep(written(tmp_path, changed(tasks='["reach", "push"]')))
    assert sweep.slug == "two-variants"
    assert sweep.variants == {"default": "default", "no-imagination": "No imagination!"}
    assert [run.name for run in sweep.runs] == [
        *("default/reach-0", "no-imagination/reach-0", "default/push-0", "no-imagination/push-0"),
        *("default/reach-1", "no-imagination/reach-1", "default/push-1", "no-imagination/push-1"),
    ]
    run = sweep.runs[1]
    assert run.config.learner.student.imagination_scale == 0
    assert run.config.training.env_steps == 210, "a variant's setting is laid over the one for all"
    assert run.config.mode == "debug"


def test_a_variant_may_have_seeds_of_its_own(tmp_path: Path) -> None:
    """The same settings with other seeds: what chance does."""
    sweep = read_sweep(written(tmp_path, SMALL + "again = { settings = [], seeds = [7, 8] }\n"))
    assert [run.name for run in sweep.runs if run.variant == "again"] == ["again/reach-7", "again/reach-8"]
    assert len(sweep.runs) == 6


def test_students_of_teachers_that_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "reach", "--run-dir", "taught", "--mode", "debug", "--preset", "debug", "--seed", "3"]) == 0
    text = SMALL.replace('tasks = ["reach"]', 'teachers = ["taught"]').replace('preset = "debug"\n', "")
    text = text.replace("training.env_steps=200", "training.env_steps=170").replace("=210", "=160")
    text = text.replace("[0, 1]", "[4]") + 'regression = ["learner.method=state_regression"]\n'
    sweep = read_sweep(written(tmp_path, text))
    assert [run.name for run in sweep.runs] == [
        f"{variant}/reach-4" for variant in ("default", "no-imagination", "regression")
    ]
    first = sweep.runs[0]
    assert first.command(Path("out"))[:6] == ["distil", "taught", "--seed", "4", "--out", "out/default/reach-4"]
    assert first.config.distilled.student == "new"
    assert main(["sweep", "sweep.toml"]) == 0
    regression = finished_report(RunDirectory.open(Path("runs/two-variants/regression/reach-4")), sweep.runs[2].config)
    assert regression is not None and regression.updates["student"] == 4

    text = (RESULTS / "students.toml").read_text().replace("runs/teachers/reach-0", "taught")
    assert len(read_sweep(written(tmp_path, text)).runs) == 9 * 5, "the sweep of the results can still be run"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tasks": 'tasks = ["reach"]\nteachers = ["nowhere"]'}, "tasks = ['reach'] is not allowed beside teachers"),
        ({"tasks": 'teachers = ["nowhere"]', "preset": ""}, "nowhere"),
        ({"tasks": "teachers = [3]", "preset": ""}, "teachers = [3] is not allowed: a list of finished runs"),
    ],
)
def test_teachers_that_cannot_be_are_refused(tmp_path: Path, change: Mapping[str, str], message: str) -> None:
    text = "\n".join(change.get(line.partition(" = ")[0], line) for line in SMALL.splitlines())
    with pytest.raises(UserError) as error:
        read_sweep(written(tmp_path, text))
    assert message in str(error.value)


def test_a_dry_run_prints_the_commands_and_does_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path)
    assert main(["sweep", "sweep.toml", "--dry-run"]) == 0
    commands = capsys.readouterr().out.splitlines()
    assert len(commands) == 4
    assert commands[0] == (
        "twist train reach --seed 0 --run-dir runs/two-variants/default/reach-0 --mode debug --preset debug "
        "training.env_steps=200 training.student_updates=4 evaluation.episodes=2"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.toml"]


BAD_FILES = {
    "no TOML": ("name =", "sweep.toml: is not TOML: "),
    "unknown key": (
        "task = 1\n" + SMALL,
        "unknown key 'task': did you mean tasks? There are name, tasks, teachers, seeds, ",
    ),
    "no name": (SMALL.replace('name = "Two variants"', ""), "name is missing: a text with a letter or a digit"),
    "name of signs": (changed(name='"?!"'), "name = '?!' is not allowed: a text with a letter or a digit"),
    "no tasks": (changed(tasks="[]"), "tasks = [] is not allowed: a list of tasks"),
    "unknown task": (changed(tasks='["raech"]'), "unknown task 'raech': did you mean reach?"),
    "task twice": (changed(tasks='["reach", "reach"]'), "tasks: reach is given twice"),
    "seeds no list": (changed(seeds="2"), "seeds = 2 is not allowed: a list of whole numbers, like [0, 1]"),
    "seed no number": (changed(seeds="[true]"), "seeds = [True] is not allowed: a list of whole numbers"),
    "negative seed": (changed(seeds="[-1]"), "seed = -1 is not allowed: a whole number, at least 0"),
    "unknown preset": (changed(preset='"big"'), "unknown preset 'big': there are debug"),
    "cluster": (changed(mode='"cluster"'), "mode = 'cluster' is not allowed: one of local, debug"),
    "unknown setting": (
        changed(default='["learner.batch=1"]'),
        "variant 'default', task reach, seed 0: unknown setting 'learner.batch'",
    ),
    "impossible setting": (changed(settings='["learner.batch_size=0"]'), "learner.batch_size = 0 is not allowed"),
    "setting twice": (changed(default='["learner.threads=1", "learner.threads=2"]'), "learner.threads is given twice"),
    "seed as setting": (changed(settings='["seed=3"]'), "seed is not set by key=value but by --seed"),
    "key behind variants": (SMALL + 'extra = "x"', "variant 'extra' = 'x' is not allowed: a list of texts"),
    "no variants": (changed().partition("[variants]")[0] + "[variants]", "variants = {} is not allowed: a table"),
    "one directory for two": (SMALL + '"no  imagination" = []', "would both have the directory no-imagination"),
    "variant of signs": (SMALL + '"?" = []', "variant '?': a name needs a letter or a digit"),
    "twins": (
        SMALL + 'twin = ["training.env_steps=200"]',
        "variants 'default' and 'twin' have the same settings throughout",
    ),
}


@pytest.mark.parametrize("case", BAD_FILES, ids=str)
def test_a_file_with_a_mistake_starts_nothing(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text, message = BAD_FILES[case]
    written(tmp_path, text)
    monkeypatch.chdir(tmp_path)
    assert main(["sweep", "sweep.toml"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 1
    assert shown.err.startswith("twist: sweep.toml: ")
    assert message in shown.err
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.toml"]


def in_the_way(path: Path, case: str) -> str:
    """Puts something where the sweep's runs are to be, and gives what is then said."""
    if case == "a run with other settings":
        RunDirectory.claim(
            path / "default" / "reach-1", resolve("reach", "debug", ["learner.batch_size=2"], seed=1)
        ).close()
        return "is a run with learner.batch_size = 2, not 4; give another --out"
    if case == "something else":
        (path / "default" / "reach-0").mkdir(parents=True)
        (path / "default" / "reach-0" / "notes.txt").write_text("mine")
        return "holds notes.txt and no config.json"
    if case == "a run":
        RunDirectory.claim(path, resolve("reach", "debug", [])).close()
        return "is a run; a sweep needs a directory of its own"
    path.mkdir()
    if case == "a file":
        (path / "default").write_text("mine")
        return "default: is a file, a directory is wanted"
    (path / "sweep.json").write_text("{}")
    return "sweep.json: is not a sweep's record of format 1"


@pytest.mark.parametrize("case", ["a run with other settings", "something else", "a run", "a file", "no record"])
def test_what_is_in_the_way_is_found_before_anything_starts(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = in_the_way(tmp_path / "out", case)
    before = sorted(tmp_path.rglob("*"))
    file = written(tmp_path)
    assert main(["sweep", str(file), "--out", str(tmp_path / "out")]) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert len(shown.err.splitlines()) == 1
    file.unlink()
    assert sorted(tmp_path.rglob("*")) == before


def made_up_report(run: RunDirectory, *, episodes: int = 2, env_steps: int = 200) -> None:
    results = tuple(
        EvaluationResult.from_counts(policy, domain, episodes=episodes, successes=1, mean_return=0.0, seed=0)
        for policy, domain in (("teacher", "train"), ("student", "train"), ("student", "held_out"))
    )
    written = made_up_run.report(run_id=run.run_id, env_steps=env_steps, evaluations=results)
    write_report(run.report_json, written)


def save_checkpoint(run: RunDirectory, complete: Mapping[str, int] | None) -> None:
    run.checkpoints.save(200, {"complete": complete}, lambda path: (path / "weights").touch())


def test_a_run_is_finished_when_its_report_belongs_to_what_is_asked_for(tmp_path: Path) -> None:
    sweep = read_sweep(written(tmp_path))
    planned = sweep.runs[0]
    assert check_directories(sweep, tmp_path) == {}
    with RunDirectory.claim(planned.directory(tmp_path), planned.config) as run:
        assert finished_report(run, planned.config) is None
        for wrong in ({"episodes": 1}, {"env_steps": 190}):
            made_up_report(run, **wrong)
            assert finished_report(run, planned.config) is None
        made_up_report(run)
        assert finished_report(run, planned.config) is not None
        save_checkpoint(run, {"env_steps": 150, "student_updates": 4})
        assert finished_report(run, planned.config) is None, "it was continued and has not got there yet"
        save_checkpoint(run, lengths(planned.config))
    found = check_directories(sweep, tmp_path)
    assert {run.name: outcome.state for run, outcome in found.items()} == {"default/reach-0": FINISHED_BEFORE}


def test_variants_that_left_the_file_keep_their_names(tmp_path: Path) -> None:
    assert read_record(tmp_path) == {}
    (tmp_path / "sweep.json").write_text(json.dumps({"format": 1, "variants": {"old": "Old!"}}))
    assert read_record(tmp_path) == {"old": "Old!"}
    (tmp_path / "sweep.json").write_text("{")
    with pytest.raises(UserError, match="is not JSON"):
        read_record(tmp_path)


def test_a_sweep_runs_goes_on_and_is_compared(tmp_path: Path) -> None:
    """Real runs: one is interrupted and goes on, one cannot be and does not stop the others."""
    file, out = written(tmp_path, changed(seeds="[0]")), tmp_path / "out"
    arguments = ("sweep", str(file), "--out", str(out))
    first, second = read_sweep(file).runs
    with (tmp_path / "log").open("w") as log:
        interrupted = subprocess.Popen(**command(*arguments), stdout=log, stderr=subprocess.STDOUT)
    while not (out / "default" / "reach-0" / "config.json").exists():
        assert interrupted.poll() is None, (tmp_path / "log").read_text()
        time.sleep(0.02)
    interrupted.send_signal(signal.SIGTERM)
    assert interrupted.wait(SECONDS) == 143
    said = (tmp_path / "log").read_text()
    assert "SIGTERM: ending what runs; the same command continues" in said
    assert "not started" in said
    assert "Traceback" not in said
    RunDirectory.claim(first.directory(out), first.config).close()  # nobody drives it any more

    with RunDirectory.claim(second.directory(out), second.config):
        done = subprocess.run(**command(*arguments), capture_output=True, timeout=SECONDS, check=False)
    assert done.returncode == 1, done.stderr
    assert "no-imagination/reach-0: failed" in done.stdout
    assert "(exit code 2): twist: run directory" in done.stdout
    assert f"failed, see {out / 'no-imagination-reach-0.log'}" in done.stdout
    assert report(out / "default" / "reach-0")["env_steps"] >= 200

    done = subprocess.run(**command(*arguments), capture_output=True, timeout=SECONDS, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "default/reach-0: was finished" in done.stdout
    assert "no-imagination/reach-0: finished after" in done.stdout
    assert done.stdout.splitlines()[-1] == f"twist compare {out}/*/*"

    runs = [str(path) for path in sorted(out.glob("*/*"))]
    assert len(runs) == 2
    assert main(["compare", *runs]) == 0
    page = (out / "compare.md").read_text()
    assert "| No imagination! |" in page


@pytest.mark.parametrize("name", sorted({path.name for path in RESULTS.glob("*.toml")} - {"students.toml"}))
def test_the_sweeps_of_the_results_can_still_be_run(name: str) -> None:
    assert read_sweep(RESULTS / name).runs


def test_there_are_sweeps_of_the_results() -> None:
    assert {path.stem for path in RESULTS.glob("*.toml")} >= {"ablations", "asynchronous", "push_and_lift"}
