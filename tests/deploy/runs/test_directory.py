"""A run's directory: created, continued, refused; one driver at a time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.errors import UserError
from deploy.runs.directory import RunDirectory
from deploy.settings.config import RunConfig
from deploy.settings.presets import resolve
from replay.filesystem import FileSystem

REACH = resolve("reach", "debug", [])


def content(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


def write_weights(directory: Path) -> None:
    (directory / "weights").write_text("weights")


def claim_and_leave(path: Path, config: RunConfig = REACH) -> str:
    with RunDirectory.claim(path, config) as run:
        return run.run_id


def test_a_new_run_records_everything_about_itself(tmp_path: Path) -> None:
    with RunDirectory.claim(tmp_path / "deep" / "run", REACH) as run:
        document = json.loads((run.path / "config.json").read_text())
    assert not run.resumed
    assert document["run_id"] == run.run_id
    assert document["task"] == "reach"
    assert document["versions"]["python"].startswith("3.")
    assert document["config"]["training"]["env_steps"] == REACH.training.env_steps


def test_the_same_settings_continue_the_run(tmp_path: Path) -> None:
    run_id = claim_and_leave(tmp_path)
    created = json.loads((tmp_path / "config.json").read_text())["created"]
    with RunDirectory.claim(tmp_path, REACH) as run:
        assert run.resumed
        assert run.run_id == run_id
        assert run.changed == {}
    assert json.loads((tmp_path / "config.json").read_text())["created"] == created


def test_a_run_can_be_read_while_it_is_driven(tmp_path: Path) -> None:
    with RunDirectory.claim(tmp_path, REACH) as driven:
        read = RunDirectory.open(tmp_path)
    assert (read.run_id, read.config) == (driven.run_id, REACH)


def test_lengths_may_change_and_are_recorded(tmp_path: Path) -> None:
    claim_and_leave(tmp_path)
    longer = replace(REACH, training=replace(REACH.training, env_steps=999))
    with RunDirectory.claim(tmp_path, longer) as run:
        assert run.changed == {"training.env_steps": (REACH.training.env_steps, 999)}
    assert RunDirectory.open(tmp_path).config == longer


@pytest.mark.parametrize(
    ("config", "difference"),
    [
        (resolve("push", "debug", []), "task = reach, not push"),
        (replace(REACH, seed=5), "seed = 0, not 5"),
        (
            resolve("reach", "debug", ["learner.batch_size=3"]),
            f"learner.batch_size = {REACH.learner.batch_size}, not 3",
        ),
        (resolve("reach", "debug", ["sim.randomisation.visual.textures=off"]), "textures = true, not false"),
    ],
)
def test_a_run_of_another_task_or_settings_is_refused_untouched(
    tmp_path: Path, config: RunConfig, difference: str
) -> None:
    claim_and_leave(tmp_path)
    before = content(tmp_path)
    with pytest.raises(UserError, match=difference):
        RunDirectory.claim(tmp_path, config)
    assert content(tmp_path) == before


def test_a_run_with_a_corrupt_checkpoint_is_refused_untouched(tmp_path: Path) -> None:
    with RunDirectory.claim(tmp_path, REACH) as run:
        run.checkpoints.save(100, {}, write_weights)
    (tmp_path / "checkpoints" / "step_000000100" / "weights").write_text("weighty")
    before = content(tmp_path)
    longer = replace(REACH, training=replace(REACH.training, env_steps=999))
    with pytest.raises(UserError, match=r"corrupt checkpoint: .*step_000000100/weights: does not match its SHA-256"):
        RunDirectory.claim(tmp_path, longer)
    assert content(tmp_path) == before


def test_a_directory_that_is_no_run_is_refused_untouched(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match=r"holds thesis\.tex and no config\.json, so it is not a run"):
        RunDirectory.claim(tmp_path, REACH)
    assert content(tmp_path) == {"thesis.tex": b"years of work"}


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        RunDirectory.claim(tmp_path / "file", REACH)
    with pytest.raises(UserError, match=r"run directory .*below: Not a directory"):
        RunDirectory.claim(tmp_path / "file" / "below", REACH)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "is not JSON"),
        ("[]", "is no JSON object"),
        ('{"format": 1, "run_id": "x", "created": "", "config": {"task": "reach", "sea": 1}}', "unknown setting 'sea'"),
        (
            '{"format": 2, "run_id": "x", "created": "", "config": {}}',
            "has format 2; this version of twist reads format 1",
        ),
    ],
)
def test_a_config_that_cannot_be_read_is_refused_untouched(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "config.json").write_text(text)
    for attempt in (lambda: RunDirectory.open(tmp_path), lambda: RunDirectory.claim(tmp_path, REACH)):
        with pytest.raises(UserError, match=rf"config\.json: {reason}"):
            attempt()
    assert (tmp_path / "config.json").read_text() == text


def test_what_is_not_there_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not there"):
        RunDirectory.open(tmp_path / "nothing")
    with pytest.raises(UserError, match="is not a run"):
        RunDirectory.open(tmp_path)


def test_two_drivers_are_refused_until_the_first_leaves(tmp_path: Path) -> None:
    first = RunDirectory.claim(tmp_path, REACH)
    with pytest.raises(UserError, match=f"is being driven by process {os.getpid()}"):
        RunDirectory.claim(tmp_path, REACH)
    first.close()
    claim_and_leave(tmp_path)


def test_the_lock_of_a_killed_driver_is_taken_over(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from deploy.settings.presets import resolve;"
        "from deploy.runs.directory import RunDirectory;"
        "run = RunDirectory.claim(Path(sys.argv[1]), resolve('reach', 'debug', [])); print(run.run_id, flush=True);"
        "time.sleep(600)"
    )
    driver = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    run_id = driver.stdout.readline().strip()
    try:
        with pytest.raises(UserError, match=f"is being driven by process {driver.pid} on "):
            RunDirectory.claim(tmp_path, REACH)
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        driver.stdout.close()
    assert claim_and_leave(tmp_path) == run_id


@pytest.mark.parametrize(
    ("url", "stored"),
    [
        ("redis://127.0.0.1:6380/0", "redis://127.0.0.1:6380/0"),
        ("rediss://me:secret@host/0?ssl_cert_reqs=none", "rediss://***@host/0?ssl_cert_reqs=none"),
        ("redis://:sec/secret@host", "redis://***@host"),
        ("unix:///run/redis.sock?password=secret", "unix:///run/redis.sock?password=***"),
    ],
)
def test_passwords_are_neither_stored_nor_compared(tmp_path: Path, url: str, stored: str) -> None:
    claim_and_leave(tmp_path, replace(REACH, redis_url=url))
    assert RunDirectory.open(tmp_path).config.redis_url == stored
    assert "secret" not in (tmp_path / "config.json").read_text()
    with RunDirectory.claim(tmp_path, replace(REACH, redis_url=url)) as run:
        assert run.changed == {}
        assert run.config.redis_url == url


def test_a_directory_where_a_lock_holds_for_this_machine_alone_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_locks = FileSystem("nfs", "/old", frozenset({"nolock"}))
    monkeypatch.setattr("deploy.runs.directory.filesystem_of", lambda path: without_locks)
    with pytest.raises(UserError, match="lies on a nfs file system at /old, where a lock holds for this machine alone"):
        RunDirectory.claim(tmp_path / "run", RunConfig(task="reach"))
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr("deploy.runs.directory.filesystem_of", lambda path: FileSystem("nfs", "/new", frozenset()))
    RunDirectory.claim(tmp_path / "run", RunConfig(task="reach")).close()
