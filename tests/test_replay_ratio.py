"""Whole runs replay each row as often as they were asked to, and begin with as many random rows and no more."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from redis_servers import Server, redis_server
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


@pytest.mark.parametrize("mode", ["local", pytest.param("debug", marks=pytest.mark.long)])
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


@pytest.mark.parametrize(
    "seconds",
    [3600, pytest.param(1, marks=pytest.mark.long)],
    ids=["before its first checkpoint", "between two checkpoints"],
)
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


def under_way(run: Path) -> bool:
    return any(row["teacher/updates"] > 10 for row in of_kind("train", lines(run)))


@pytest.fixture
def given_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with redis_server(tmp_path / "redis", appendonly="yes") as server:
        monkeypatch.setenv("TWIST_REDIS_URL", server.url())
        yield server


SMALL = (
    *("--preset", "debug", "training.student_updates=1000", "replay.retry_seconds=1"),
    *("training.metrics_every_seconds=0.3", "training.metrics_every_updates=2"),
)


@pytest.mark.parametrize("mode", ["local", pytest.param("debug", marks=pytest.mark.long)])
def test_a_server_that_refuses_writes_for_a_while_costs_nothing(
    given_server: Server, mode: str, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    started = ("train", "reach", "--mode", mode, *SMALL, "--run-dir", str(run))
    with Running(tmp_path / "log", *started) as running, given_server.admin as admin:
        running.wait_until(lambda: under_way(run))
        admin.config_set("maxmemory", "3mb")
        running.wait_until(lambda: any(row.get("event") == "replay_away" for row in lines(run)))
        time.sleep(12.0)
        admin.config_set("maxmemory", 0)
        running.wait()
    found = report(run)
    assert (found["replay_outages"], found["lost_rows"], found["restarts"], found["learner_restarts"]) == (1, 0, {}, 0)
    events = of_kind("event", lines(run))
    assert [event["event"] for event in events] == ["replay_away", "replay_back"]
    assert "maxmemory" in events[0]["reason"]
    assert_ratio_kept(run)


def test_a_server_that_refuses_for_too_long_ends_the_run_in_one_line_with_a_checkpoint(
    given_server: Server, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    patience = ("replay.outage_seconds=3", "training.checkpoint_every_seconds=3600")
    started = ("train", "reach", "--mode", "local", *SMALL, *patience, "--run-dir", str(run))
    with Running(tmp_path / "log", *started) as running, given_server.admin as admin:
        running.wait_until(lambda: under_way(run))
        admin.config_set("maxmemory", "3mb")
        said = running.wait_for_end(1)
        admin.config_set("maxmemory", 0)
    assert said.splitlines()[-1].startswith("twist: Redis at redis://127.0.0.1:")
    assert "has been away for" in said.splitlines()[-1] and "maxmemory" in said.splitlines()[-1]
    assert "Traceback" not in said
    checkpoint = RunDirectory.open(run).checkpoints.latest()
    assert checkpoint is not None and checkpoint.document["learner"]["teacher_updates"] > 10
    completed(*started)
    assert report(run)["resumed"] == 1
    assert_ratio_kept(run)
