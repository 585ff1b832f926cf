"""A run of every method, in mode debug: it trains, goes on, is evaluated, and its documents tell of its own parts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from training_here import SMALLEST, run_here, train_here

from deploy.cli import main
from deploy.errors import UserError
from deploy.evaluation.factors import evaluate_factors
from deploy.reporting.metrics import read_metrics
from deploy.reporting.page import write_page
from deploy.reporting.status import read_status
from deploy.runs.directory import RunDirectory
from deploy.runs.kept_episodes import load_episodes
from deploy.runs.packed_policy import pack
from deploy.runs.report import read_report
from deploy.runs.results import headline, result_name
from deploy.settings.presets import resolve
from deploy.settings.specification import stream_spec
from learner.methods import METHODS
from replay import EmbeddedServer, ReplayStore, connect


@pytest.fixture(scope="module", params=[name for name in METHODS if name != "twist"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that ended, and went on at another length."""
    path: Path = tmp_path_factory.mktemp("runs") / request.param
    settings = [f"learner.method={request.param}"]
    train_here(path, settings)
    first = read_report(path / "report.json")
    train_here(path, [*settings, "training.env_steps=132", "training.student_updates=4"])
    second = read_report(path / "report.json")
    assert second.env_steps > first.env_steps
    assert all(second.updates[name] > count > 0 for name, count in first.updates.items())
    return path


def test_a_run_tells_of_the_parts_and_the_drivers_that_its_method_has(run: Path) -> None:
    method = METHODS[run.name]
    parts = [part.name for part in method.parts]
    report = read_report(run / "report.json")
    assert report.method == method.name
    assert list(report.updates) == list(report.replay_ratios) == parts
    assert list(report.waiting) == [*parts, "actors"]
    assert [result.name for result in report.headline()] == [result_name(*row) for row in headline(method)]
    lines = list(read_metrics(run / "metrics.jsonl", "train"))
    assert {key.partition("/")[0] for key in lines[-1] if key.endswith("/updates")} == {*parts}
    assert all(lines[-1][f"{part}/updates"] == report.updates[part] for part in parts)
    status = read_status(run).to_json()
    assert list(status["updates"]) == list(status["success"]) == parts
    assert ("student_updates" in status["goals"]) == bool(method.following)
    assert status["result"] == {result.name: result.success for result in report.headline()}


def test_its_policies_are_evaluated_and_packed(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    method = METHODS[run.name]
    assert pack(run, tmp_path / "packed") > 0
    for where in (run, tmp_path / "packed"):
        told = []
        for asked in ([], *(["--policy", driver.name] for driver in method.drivers)):
            assert main(["eval", str(where), "--episodes", "1", "--json", *asked]) == 0
            told.append(json.loads(capsys.readouterr().out)["policy"])
        best = (method.driver("image") or method.drivers[0]).name
        assert told == [best, *(driver.name for driver in method.drivers)]


def test_its_page_is_written(run: Path) -> None:
    text = write_page(run).read_text()
    method = METHODS[run.name]
    assert f"method {method.name}: {method.says}".replace("'", "&#39;") in text
    assert ("From camera images" in text) == (method.driver("image") is not None)


def test_a_run_of_another_method_is_not_gone_on_with(run: Path) -> None:
    other = next(name for name in METHODS if name != run.name)
    config = resolve("reach", "debug", [*SMALLEST, f"learner.method={other}"], mode="debug")
    with pytest.raises(UserError, match="is a run with learner.method ="):
        RunDirectory.claim(run, config)


def test_a_policy_that_the_method_lacks_is_refused_in_one_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = {driver.name for driver in METHODS[run.name].drivers}
    lacking = {driver.name for method in METHODS.values() for driver in method.drivers} - names
    for name in lacking:
        assert main(["eval", str(run), "--episodes", "1", "--policy", name]) == 2
        assert f"method {run.name} has no policy '{name}'" in capsys.readouterr().err
    if METHODS[run.name].driver("image") is None:
        with pytest.raises(UserError, match="has no policy that sees images"):
            evaluate_factors(RunDirectory.open(run), episodes=1, seed=0, parallel=False)


def test_a_student_is_distilled_of_a_run_whose_method_has_a_teacher_and_of_no_other(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    method, out = METHODS[run.name], tmp_path / "out"
    given = ["training.student_updates=1", "learner.method=policy_distillation"]
    ended = run_here("distil", str(run), "--out", str(out), "--mode", "debug", *given)
    if method.leading != METHODS["twist"].leading:
        assert ended == 2
        assert f"{run}: is of method {run.name}, which has no teacher for a student" in capsys.readouterr().err
        assert not out.exists()
        return
    assert ended == 0
    assert read_report(out / "report.json").method == "policy_distillation"
    every = load_episodes(RunDirectory.open(run))
    assert len(every.all) > 4
    if not method.following:
        assert run_here("distil", str(run), "--out", str(tmp_path / "other"), "--mode", "debug") == 2
        assert f"learner.method is {run.name}, which has no student for the teacher of {run}" in capsys.readouterr().err


def test_images_are_drawn_only_where_the_method_looks_at_them(run: Path) -> None:
    opened = RunDirectory.open(run)
    with EmbeddedServer(opened.replay, max_bytes=2**30) as server:
        store = ReplayStore(connect(server.url), opened.run_id, stream_spec(opened.config), opened.config.replay)
        assert (store.stats()["image_chunks"] > 0) == METHODS[run.name].needs_images
