"""`twist distil`: the teacher of a run as it is, its episodes played again, and a student that begins."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training_here import run_here, train_here

from actors.rerendering import RerenderingWorker
from actors.stream_worker import CrashBudgetError
from deploy.reporting.metrics import read_metrics
from deploy.runs.directory import RunDirectory
from deploy.runs.kept_episodes import load_episodes
from deploy.settings.specification import stream_spec
from learner import checkpoint
from replay import Chunk, EmbeddedServer, Episode, ReplayStore, connect, read_episodes


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, which every test leaves as it is."""
    run = tmp_path_factory.mktemp("taught") / "run"
    train_here(run)
    return run


def distil(run: Path, out: Path, *more: str) -> int:
    return run_here("distil", str(run), "--out", str(out), "--mode", "debug", *more)


def report(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "report.json").read_text())
    return found


def newest(run: Path) -> dict[str, np.ndarray]:
    """Weights of the newest checkpoint."""
    return checkpoint.read_weights(RunDirectory.open(run).newest_checkpoint().path)


def replayed(run: Path) -> tuple[list[Chunk], dict[int, Episode]]:
    """What the run's replay holds."""
    opened = RunDirectory.open(run)
    with EmbeddedServer(opened.replay, max_bytes=2**30) as server:
        store = ReplayStore(connect(server.url), opened.run_id, stream_spec(opened.config), opened.config.replay)
        return store.read_pairs(store.image_ids()), {one.seed: one for one in read_episodes(store).all}


def images(chunks: list[Chunk]) -> dict[tuple[int, int], np.ndarray]:
    """By the episode's seed and the row in it; here every chunk is an episode, or its beginning."""
    return {
        (chunk.meta.episodes[0].seed, row): image
        for chunk in chunks
        if chunk.is_first[0]
        for row, image in enumerate(chunk.image[: 1 + int(np.argmax(chunk.is_last))])
    }


def test_with_nothing_changed_the_very_same_steps_and_pictures_come_back_and_the_teacher_stays(
    taught: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert distil(taught, out) == 0
    said = report(out)
    source, kept = RunDirectory.open(taught), load_episodes(RunDirectory.open(taught))
    assert said["distilled"] == {
        "run": source.run_id,
        "place": str(taught),
        "checkpoint": source.newest_checkpoint().path.name,
        "student": "new",
        "episodes": len(kept.all),
        "differing": 0,
        "drifted": 0,
        "largest_drift": 0.0,
    }
    assert "played again, all of them the same to the last bit" in " ".join(capsys.readouterr().out.split())
    assert report(taught)["distilled"] is None
    assert said["env_steps"] == kept.env_steps
    assert said["updates"] == {"teacher": report(taught)["updates"]["teacher"], "student": 3}

    (chunks, episodes), (chunks_then, episodes_then) = replayed(out), replayed(taught)
    assert episodes.keys() == episodes_then.keys() == {one.seed for one in kept.all}
    for seed, one in episodes.items():
        np.testing.assert_array_equal(one.state, episodes_then[seed].state)
        np.testing.assert_array_equal(one.action, episodes_then[seed].action)
    now, then = images(chunks), images(chunks_then)
    assert now.keys() == then.keys()
    assert len(now) > 50
    for place, image in now.items():
        np.testing.assert_array_equal(image, then[place])

    weights, weights_then = newest(out), newest(taught)
    for name, array in weights_then.items():
        same = np.array_equal(weights[name], array)
        assert same or name.startswith("student"), name
    assert not np.array_equal(weights["student/readout.weight"], weights_then["student/readout.weight"])
    assert all("wait/teacher" not in row for row in read_metrics(out / "metrics.jsonl", "train"))


def test_the_same_episodes_can_be_seen_in_larger_pictures_of_another_renderer_by_two_cameras(
    taught: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    seen = ("sim.renderer=pybullet", "sim.randomisation.visual.camera_roll_deg=0.5", "sim.image_size=48", "sim.views=2")
    assert distil(taught, out, *seen, "--seed", "4", "training.student_updates=2") == 0
    said = report(out)
    assert (said["seed"], said["updates"]["student"], said["distilled"]["differing"]) == (4, 2, 0)
    chunks, episodes = replayed(out)
    assert {chunk.image.shape[1:] for chunk in chunks} == {(2, 48, 48, 3)}
    assert {chunk.meta.renderer for chunk in chunks}.isdisjoint(chunk.meta.renderer for chunk in replayed(taught)[0])
    assert episodes.keys() == {one.seed for one in load_episodes(RunDirectory.open(taught)).all}
    again = tmp_path / "again"  # a distilled run has teacher and episodes, too
    assert distil(out, again, "training.student_updates=1") == 0
    assert report(again)["distilled"]["run"] == said["run_id"]


def test_a_student_is_continued_where_that_is_asked_for(taught: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert distil(taught, out, "--from-student", "training.student_updates=1", "training.keep_checkpoints=9") == 0
    assert report(out)["distilled"]["student"] == "continued"
    run = RunDirectory.open(out)
    first = run.checkpoints.names()[0]
    assert first == "step_000000000"
    begun, then = checkpoint.read_weights(run.checkpoints.directory / first), newest(taught)
    for name in [name for name in then if name.startswith("student_average/")]:
        np.testing.assert_array_equal(begun[name], then[name])


def test_a_run_that_ended_early_goes_on_with_the_same_command(
    taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, collect, calls = tmp_path / "out", RerenderingWorker.collect, []

    def fails_in_the_fourth(worker: RerenderingWorker, *arguments: Any, **more: Any) -> Any:
        calls.append(None)
        if len(calls) == 4:
            raise CrashBudgetError("that was the fourth")
        return collect(worker, *arguments, **more)

    with monkeypatch.context() as patched:
        patched.setattr(RerenderingWorker, "collect", fails_in_the_fourth)
        assert distil(taught, out) == 1
    assert "that was the fourth; the same command goes on from checkpoint" in capsys.readouterr().err
    assert distil(taught, out) == 0
    said, kept = report(out), load_episodes(RunDirectory.open(taught))
    assert (said["resumed"], said["updates"]["student"]) == (1, 3)
    assert kept.env_steps <= said["env_steps"] <= kept.env_steps + 6  # the episode that was under way comes once more
    assert distil(taught, out) == 0
    assert "is complete" in " ".join(capsys.readouterr().out.split())
    assert run_here("status", str(out)) == 0
    assert "finished" in capsys.readouterr().out


def test_a_world_that_moves_otherwise_is_refused_before_there_is_anything_of_the_run(
    taught: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert distil(taught, tmp_path / "out", "sim.max_step_m=0.01") == 2
    said = capsys.readouterr().err
    assert "go another way here: 8 of 8 that were tried" in said
    assert "sim.max_step_m is 0.01, was" in said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["learner.rssm.deter=64"], "learner.rssm.deter is not to be changed"),
        (["actors.student_fraction=0.1"], "actors.student_fraction is not to be changed"),
        (["training.env_steps=97000"], "training.env_steps is 97000: the episodes of"),
        (["--mode", "cluster"], "--mode cluster: a student is distilled on one machine"),
        (["distilled.run=other"], "distilled.run is not set by key=value but by twist distil"),
        (["sim.imagesize=64"], "unknown setting 'sim.imagesize'"),
        (["--from-student", "sim.image_size=48"], "student/encoder"),
        (["sim.episode_steps=5"], "episode_steps"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    taught: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], given: list[str], said: str
) -> None:
    assert distil(taught, tmp_path / "out", *given) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_episodes_and_one_whose_episodes_are_damaged_are_refused(
    taught: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(taught, copy)
    (copy / "episodes").write_bytes((copy / "episodes").read_bytes()[:-1])
    assert distil(copy, tmp_path / "out") == 2
    assert f"{copy}/episodes: not a run's episodes" in capsys.readouterr().err
    (copy / "episodes").unlink()
    assert distil(copy, tmp_path / "out") == 2
    assert "the same command that trained it writes it" in capsys.readouterr().err
    assert distil(Path("pretrained/reach"), tmp_path / "out") == 2
    assert not (tmp_path / "out").exists()


def test_a_finished_run_of_an_earlier_version_gets_its_episodes_by_the_same_command(
    taught: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(taught, copy)
    before = (copy / "episodes").read_bytes()
    (copy / "episodes").unlink()
    train_here(copy)
    assert (copy / "episodes").read_bytes() == before


def test_a_distilled_run_is_not_trained_on(taught: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert distil(taught, out, "training.student_updates=1") == 0
    assert run_here("train", "reach", "--mode", "debug", "--preset", "debug", "--run-dir", str(out)) == 2
    assert "is a run with" in capsys.readouterr().err
