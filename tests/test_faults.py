"""What goes wrong in a run and what becomes of it: kills, damage and bad input, each done to the real thing."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from continued import assert_counters_go_on, is_past_a_checkpoint
from running import DEBUG, LOCAL, Running, completed, instead, lines, of_kind, report, twist

import sim
from deploy.runs.directory import RunDirectory
from deploy.settings.specification import stream_spec
from replay import Chunk, EmbeddedServer, ReplayStore, connect

PASSWORD = "hunter2"
NOWHERE = "redis://127.0.0.1:1/0"


def opened_replay(path: Path, url: str) -> ReplayStore:
    run = RunDirectory.open(path)
    return ReplayStore(connect(url), run.run_id, stream_spec(run.config), run.config.replay)


# --- everything killed ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [pytest.param(DEBUG, marks=pytest.mark.long), LOCAL], ids=["debug", "local"])
def test_a_run_that_is_killed_goes_on_from_its_checkpoint_with_the_replay_it_had(
    mode: Sequence[str], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    same = ("train", "reach", *mode, "training.env_steps=900", "--run-dir", str(run))
    with Running(tmp_path / "log", *same) as first:
        first.wait_until(lambda: is_past_a_checkpoint(run))
        first.kill()
    before = lines(run)
    assert not (run / "report.json").exists()
    checkpoint = RunDirectory.open(run).checkpoints.latest()
    assert checkpoint is not None

    said = completed(*same)

    after, found = lines(run), report(run)
    resumed = [row for row in after if row.get("event") == "resumed"]
    assert f"checkpoint {checkpoint.path.name}; {int(resumed[0]['rows_in_replay']):,} rows in replay, none lost" in said
    assert (len(resumed), found["resumed"], found["lost_rows"]) == (1, 1, 0)
    assert resumed[0]["rows_in_replay"] >= of_kind("train", before)[-1]["replay/rows"]
    assert_counters_go_on(before, after, kept_bytes=int(checkpoint.document["metrics_offset"]), run=run)
    last = of_kind("train", after)[-1]
    assert last["step"] == last["replay/env_steps"] == found["env_steps"] >= 900
    assert found["wall_seconds"] > of_kind("train", before)[-1]["run/wall_seconds"]
    for name in ("teacher", "student"):
        assert found["updates"][name] > checkpoint.document["learner"][f"{name}_updates"]


# --- the learner killed -----------------------------------------------------------------------------------------------


def test_a_learner_that_is_killed_begins_again_from_the_newest_checkpoint_and_actors_go_on(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with Running(
        tmp_path / "log", "train", "reach", *LOCAL, "training.env_steps=900", "--run-dir", str(run)
    ) as running:
        running.wait_until(lambda: is_past_a_checkpoint(run))
        (victim,) = running.processes("ray::LearnerActor")
        at_kill = of_kind("train", lines(run))[-1]
        os.kill(victim, signal.SIGKILL)
        running.wait()

    found = report(run)
    assert (found["learner_restarts"], found["restarts"], found["resumed"], found["lost_rows"]) == (1, {}, 0, 0)
    assert found["learner_losses"] == {"died": 1}
    assert found["env_steps"] >= 900
    last = of_kind("train", lines(run))[-1]
    assert last["teacher/updates"] == found["updates"]["teacher"] > at_kill["teacher/updates"]
    # What was lost with it was made again, and not a batch more than the rows ask for.
    config = RunDirectory.open(run).config
    asked, batch = (
        config.learner.teacher_samples_per_insert,
        config.learner.batch_size * stream_spec(config).chunk_length,
    )
    asking = last["replay/inserted_rows"] - config.training.prefill_rows
    assert asked <= found["replay_ratios"]["teacher"] <= asked + batch / asking


# --- hung -------------------------------------------------------------------------------------------------------------


def test_a_learner_and_an_actor_that_hang_are_killed_and_replaced(tmp_path: Path) -> None:
    run = tmp_path / "run"
    impatient = ("actors.rows_per_call=8", "actors.hang_seconds=2", "training.learner_hang_seconds=4")
    train = (*instead(LOCAL, *impatient), "replay.retry_seconds=1", "training.env_steps=900", "--run-dir", str(run))
    with Running(tmp_path / "log", "train", "reach", *train) as running:
        running.wait_until(lambda: is_past_a_checkpoint(run))
        for title in ("ray::RolloutActor", "ray::LearnerActor"):
            (victim,) = running.processes(title)
            os.kill(victim, signal.SIGSTOP)
        running.wait()

    found = report(run)
    assert (found["restarts"], found["learner_losses"]) == ({"hung": 1}, {"hung": 1})
    assert found["env_steps"] >= 900
    (learner,) = [row for row in of_kind("event", lines(run)) if row["event"] == "learner_restart"]
    assert "it did not answer to " in learner["reason"]


# --- too little memory ------------------------------------------------------------------------------------------------


def test_a_learner_that_ray_kills_for_want_of_memory_ends_the_run_in_one_line_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_memory_usage_threshold", "0.02")  # of this machine's memory: more is in use already
    train = ("train", "reach", *LOCAL, "training.max_learner_losses=2", "--run-dir", str(tmp_path / "run"))
    done = twist(*train)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert re.search(r"lost 3 times .* its node was short of memory: \S+ of \S+ in use, Ray's limit is ", done.stderr)
    assert "or lower actors.count, actors.envs_per_actor, replay.capacity_steps or learner.batch_size" in done.stderr
    events = of_kind("event", lines(tmp_path / "run"))
    assert [(row["event"], row["cause"]) for row in events] == [("learner_restart", "out_of_memory")] * 2


# --- Redis killed -----------------------------------------------------------------------------------------------------


def test_a_redis_server_that_is_killed_is_waited_for_and_started_again(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with Running(
        tmp_path / "log", "train", "reach", *LOCAL, "training.env_steps=900", "--run-dir", str(run)
    ) as running:
        running.wait_until(lambda: any(row["teacher/updates"] > 0 for row in of_kind("train", lines(run))))
        os.kill(json.loads((run / "replay" / "server.json").read_text())["server_pid"], signal.SIGKILL)
        running.wait()

    found = report(run)
    assert (found["replay_outages"], found["lost_rows"], found["restarts"], found["learner_restarts"]) == (1, 0, {}, 0)
    events = [row["event"] for row in of_kind("event", lines(run))]
    assert events == ["replay_away", "replay_back"]
    assert found["env_steps"] >= 900
    assert of_kind("train", lines(run))[-1]["replay/env_steps"] == found["env_steps"]


# --- a pool that follows the learner ----------------------------------------------------------------------------------


def test_the_pool_grows_while_the_learner_waits_and_says_why(tmp_path: Path) -> None:
    """An update asks for so many rows that actors are what is lacking."""
    run = tmp_path / "run"
    hungry = ("learner.teacher_samples_per_insert=0.2", "learner.student_samples_per_insert=0")
    elastic = ("actors.max=2", "actors.resize_seconds=1", "training.env_steps=3000")
    completed("train", "reach", *instead(LOCAL, *hungry, *elastic), "--run-dir", str(run))
    resized = [row for row in lines(run) if row.get("event") == "pool_resized"]
    assert resized
    assert "actors' time" in resized[0]["reason"]
    assert max(row["actors/running"] for row in of_kind("train", lines(run))) <= 2


def test_spent_actor_hours_end_the_collecting_and_not_the_run(tmp_path: Path) -> None:
    run = tmp_path / "run"
    completed("train", "reach", *LOCAL, "training.env_steps=100000", "actors.max_hours=0.001", "--run-dir", str(run))
    found = report(run)
    assert 150 <= found["env_steps"] < 50_000
    assert of_kind("train", lines(run))[-1]["actors/hours"] >= 0.001


# --- an actor killed --------------------------------------------------------------------------------------------------


def test_an_actor_that_is_killed_is_replaced_and_no_step_is_invented(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with Running(tmp_path / "log", "train", "reach", *LOCAL, "--run-dir", str(run)) as running:
        running.wait_until(lambda: any(row["replay/rows"] > 0 for row in of_kind("train", lines(run))))
        (victim,) = running.processes("ray::RolloutActor")
        os.kill(victim, signal.SIGKILL)
        running.wait()

    found = report(run)
    assert found["restarts"] == {"died": 1}
    assert (found["resumed"], found["lost_rows"]) == (0, 0)
    assert found["env_steps"] >= 600
    config = RunDirectory.open(run).config
    with EmbeddedServer(run / "replay", max_bytes=config.replay.memory_bytes) as server:
        store = opened_replay(run, server.url)
        chunks = store.read_pairs(store.image_ids())
        counted = store.stats()
    streams: dict[str, list[Chunk]] = {}
    for chunk in chunks:
        streams.setdefault(chunk.meta.stream_id, []).append(chunk)
    assert set(streams) == {f"actor0.{incarnation}.{world}" for incarnation in (0, 1) for world in (0, 1)}
    assert counted["quarantined_chunks"] == counted["evicted_chunks"] == 0
    assert sum(chunk.rows for chunk in chunks) == counted["rows"] == counted["inserted_rows"]
    assert sum(chunk.env_steps for chunk in chunks) == counted["env_steps"] == found["env_steps"]
    world = sim.make_env(config.task, config.sim, views=0)
    for stream_id, stream in streams.items():
        assert_happened(world, stream)
        # What was killed had no time to end its episodes, and nobody ended them for it.
        assert stream[-1].is_last[-1] or stream_id.startswith("actor0.0.")
    world.close()


def assert_happened(world: Any, stream: list[Chunk]) -> None:
    """The rows are one life of one world, without a gap, and its simulation from seeds and actions gives the same."""
    assert [chunk.meta.first_step for chunk in stream] == [
        sum(chunk.rows for chunk in stream[:number]) for number in range(len(stream))
    ]
    ended = True
    for chunk in stream:
        seeds = {episode.row: episode.seed for episode in chunk.meta.episodes if chunk.is_first[episode.row]}
        for row in range(chunk.rows):
            assert chunk.is_first[row] == ended
            if chunk.is_first[row]:
                state, reward = world.reset(seed=seeds[row])[0]["state"], 0.0
            else:
                observation, reward, _, truncated, _ = world.step(chunk.action[row])
                state = observation["state"]
                # The actor cuts a stream's first chunk to a length of its own, and ends with the last one.
                may_be_cut = (chunk is stream[0] or chunk is stream[-1]) and row == chunk.rows - 1
                assert truncated == chunk.is_last[row] or may_be_cut
            np.testing.assert_array_equal(chunk.state[row], state)
            assert chunk.reward[row] == np.float32(reward)
            ended = bool(chunk.is_last[row])


# --- a damaged replay -------------------------------------------------------------------------------------------------


@pytest.fixture
def guarded_server(tmp_path: Path) -> Iterator[str]:
    """A Redis server of somebody else's that wants a password; its URL."""
    with EmbeddedServer(tmp_path / "redis", max_bytes=2**32) as server:
        with connect(server.url) as client:
            client.config_set("requirepass", PASSWORD)
        yield f"{server.url}?password={PASSWORD}"


def test_corrupt_chunks_are_set_aside_and_counted_and_the_run_ends_well(
    tmp_path: Path, guarded_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    monkeypatch.setenv("TWIST_REDIS_URL", guarded_server)
    train = ("train", "reach", *LOCAL, "--run-dir", str(run))
    with Running(tmp_path / "log", *train) as running:
        running.wait_until(lambda: any(row["teacher/updates"] > 0 for row in of_kind("train", lines(run))))
        store = opened_replay(run, guarded_server)
        oldest = store.image_ids()[:8]
        damaged = {chunk_id: ("states", "images")[number % 2] for number, chunk_id in enumerate(oldest)}
        for chunk_id, part in damaged.items():
            flip_a_byte_in_redis(store, store.key(part), chunk_id)
        said = running.wait()

    found, refused = report(run), store.quarantined()
    assert 1 <= found["quarantined"] == len(refused) <= len(damaged)
    for chunk in refused:
        assert chunk.reason.startswith({"states": "state: ", "images": "image: "}[damaged[chunk.chunk_id]])
    assert found["env_steps"] >= 600
    assert found["updates"]["student"] >= 10
    assert f"chunks quarantined: {found['quarantined']}" in said
    assert PASSWORD not in said
    for file in filter(Path.is_file, run.rglob("*")):
        assert PASSWORD.encode() not in file.read_bytes(), file


def flip_a_byte_in_redis(store: ReplayStore, key: str, chunk_id: str) -> None:
    value = bytearray(store.client.hget(key, chunk_id) or b"")
    value[len(value) // 2] ^= 0x10
    store.client.hset(key, chunk_id, bytes(value))


# --- bad input on a run that is there ---------------------------------------------------------------------------------


def snapshot(path: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file and directory."""
    return {str(entry): (entry.stat().st_size, entry.stat().st_mtime_ns) for entry in [path, *path.rglob("*")]}


def refusal(run: Path, *arguments: str) -> str:
    """The line with which a command is refused that must touch nothing."""
    before = snapshot(run)
    done = twist(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert snapshot(run) == before
    assert done.stderr.startswith("twist: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.mark.parametrize("command", ["train", "eval"])
def test_a_corrupt_checkpoint_is_refused_with_its_name_and_a_way_out(
    command: str, finished: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    weights = run / "checkpoints" / RunDirectory.open(run).checkpoints.names()[-1] / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    given = {"train": ("train", "reach", *LOCAL, "--run-dir", str(run)), "eval": ("eval", str(run))}
    said = refusal(run, *given[command])
    assert f"corrupt checkpoint: {weights}: does not match its SHA-256" in said
    assert f"; delete {weights.parent} to" in said


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (("push", *LOCAL), "is a run with task = reach, not push; give another --run-dir"),
        (("reach", *LOCAL, "--seed", "5"), "is a run with seed = 0, not 5; give another --run-dir"),
        (("reach", *LOCAL, "--redis-url", NOWHERE), "Redis at redis://127.0.0.1:1/0 does not answer"),
        (
            ("reach", *LOCAL, "--redis-url", f"redis://me:{PASSWORD}@127.0.0.1"),
            "redis://***@127.0.0.1 holds a password",
        ),
        (
            ("reach", *LOCAL, "training.prefill_rows=601"),
            "training.prefill_rows is 601: allowed are 1 to training.env_",
        ),
        (("reach", *LOCAL, "actors.state_only_envs=2"), "actors.state_only_envs is 2: it must be below"),
    ],
    ids=[
        "another task",
        "another seed",
        "no Redis there",
        "a password for all to see",
        "nothing to learn from",
        "no images",
    ],
)
def test_a_run_is_not_touched_by_what_cannot_be(finished: Path, changes: Sequence[str], message: str) -> None:
    said = refusal(finished, "train", *changes, "--run-dir", str(finished))
    assert message in said
    assert PASSWORD not in said


def test_a_wrong_password_is_refused_and_not_printed(
    finished: Path, guarded_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWIST_REDIS_URL", guarded_server.replace(PASSWORD, "letmein"))
    said = refusal(finished, "train", "reach", *LOCAL, "--run-dir", str(finished))
    assert "?password=*** refuses user or password" in said
    assert "letmein" not in said
