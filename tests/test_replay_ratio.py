"""Whole runs replay each row as often as they were asked to, and begin with as many random rows and no more."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from running import Running, completed, lines, of_kind, report

from deploy.runs.directory import RunDirectory
from deploy.settings.specification import stream_spec
from replay import EmbeddedServer, ReplayStore, connect

ASKED = {"teacher": 8.0, "student": 4.0}
LARGE_POOL = ("--preset", "debug", "actors.count=3", "actors.envs_per_actor=12", "training.student_updates=1000")


def rows_by_driver(run: Path) -> Counter[str]:
    """How many rows of a finished run's replay are of episodes that each of the drivers drove."""
    opened = RunDirectory.open(run)
    drivers: Counter[str] = Counter()
    with EmbeddedServer(run / "replay", max_bytes=opened.config.replay.memory_bytes) as server:
        store = ReplayStore(connect(server.url), opened.run_id, stream_spec(opened.config), opened.config.replay)
        for chunk in store.read_states(store.state_ids()):
            begins = [episode.row for episode in chunk.meta.episodes]
            ends = [*begins[1:], chunk.rows]
            for episode, begin, end in zip(chunk.meta.episodes, begins, ends, strict=True):
                drivers[episode.driver] += end - begin
    return drivers


def assert_ratio_kept(run: Path) -> None:
    """Each loop has sampled what the rows ask for, and at most a batch more."""
    config = RunDirectory.open(run).config
    asking = of_kind("train", lines(run))[-1]["replay/inserted_rows"] - config.training.prefill_rows
    length = stream_spec(config).chunk_length
    batches = {"teacher": config.learner.batch_size * length, "student": config.learner.student.batch_size * length}
    for name, batch in batches.items():
        assert ASKED[name] <= report(run)["replay_ratios"][name] <= ASKED[name] + batch / asking


@pytest.mark.parametrize("mode", ["local", "debug"])
def test_a_pool_that_is_large_for_its_run_learns_from_what_its_policy_did(mode: str, tmp_path: Path) -> None:
    """36 environments for 600 steps: there is hardly more than one chunk for each of them."""
    run = tmp_path / "run"
    completed("train", "reach", "--mode", mode, *LARGE_POOL, "--run-dir", str(run))
    config = RunDirectory.open(run).config
    assert_ratio_kept(run)
    length = stream_spec(config).chunk_length
    drivers = rows_by_driver(run)
    assert config.training.prefill_rows <= drivers["random"] <= config.training.prefill_rows + length
    assert config.training.env_steps <= report(run)["env_steps"] < config.training.env_steps + length
    # Steps came as updates were made, and not all of them before: the tolerance is a quarter of the run.
    told = of_kind("train", lines(run))
    halfway = [row for row in told if 0 < row["teacher/updates"] < told[-1]["teacher/updates"] / 2]
    assert halfway
    assert all(row["step"] < config.training.env_steps for row in halfway)


@pytest.mark.parametrize("seconds", [3600, 1], ids=["before its first checkpoint", "between two checkpoints"])
def test_a_learner_that_is_killed_makes_the_updates_that_the_rows_ask_for(seconds: int, tmp_path: Path) -> None:
    run = tmp_path / "run"
    often = ("training.metrics_every_seconds=0.3", f"training.checkpoint_every_seconds={seconds}")
    settings: Sequence[str] = ("--preset", "debug", "training.student_updates=1000", *often)
    with Running(tmp_path / "log", "train", "reach", "--mode", "local", *settings, "--run-dir", str(run)) as running:
        running.wait_until(lambda: any(row["teacher/updates"] > 25 for row in of_kind("train", lines(run))))
        (victim,) = running.processes("ray::LearnerActor")
        os.kill(victim, signal.SIGKILL)
        running.wait()
    assert report(run)["learner_restarts"] == 1
    assert_ratio_kept(run)
