"""A run that cannot go on ends in one line, with its story in the log and what it has on disk."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import time
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest
import redis
from ray.exceptions import RaySystemError, RayTaskError
from running import LOCAL, Running, instead, is_alive, lines, of_kind, twist
from training_here import train_here

from actors.slot import ActorFailedError
from actors.stream_worker import CrashBudgetError
from actors.worker import PolicyError, RolloutWorker
from deploy.errors import RunEndedError, UserError
from deploy.process import signals
from deploy.runs.directory import RunDirectory
from deploy.training import ray_session as session
from deploy.training.endings import told_in_one_line
from deploy.training.monitor import RunMonitor
from learner.checkpoint import LearnerState
from learner.loops import LoopEndedError


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60.0
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def commands(running: Running) -> list[str]:
    """Of all its processes."""
    found = []
    for pid in running.processes():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found.append(Path(f"/proc/{pid}/cmdline").read_text())
    return found


def from_a_call(cause: Exception) -> RayTaskError:
    """As Ray raises here what was raised in another process: with its traceback for a text."""
    text = f"ray::LearnerActor.status()\n  File x\n{type(cause).__name__}: {cause}"
    error: RayTaskError = RayTaskError("status", text, cause, proctitle="x", pid=1, ip="1").as_instanceof_cause()
    return error


class _Run:
    """As much of a run as is asked for its newest checkpoint."""

    checkpoints = property(lambda self: self)

    def latest(self) -> None:
        return None


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            RunEndedError("Redis is away; the same command continues the run"),
            "Redis is away; the same command continues",
        ),
        (ActorFailedError("actor0 cannot be built: no"), "actor0 cannot be built: no; there is no checkpoint yet"),
        (CrashBudgetError("4 environment crashes"), "4 environment crashes; there is no checkpoint yet"),
        (PolicyError("the policy's actions are not finite"), "the policy's actions are not finite; there is no checkp"),
        (
            from_a_call(LoopEndedError("the teacher loop ended: x")),
            "the teacher loop ended: x; there is no checkpoint yet",
        ),
        (
            OSError(28, "No space left on device", "/run/x"),
            "/run/x: No space left on device; there is no checkpoint yet",
        ),
        (redis.ResponseError("WRONGTYPE of key"), "ResponseError: WRONGTYPE of key (more in LOG); there is no"),
        (RaySystemError("broken\npipe"), "RaySystemError: System error: broken (more in LOG); there is no"),
        (BrokenProcessPool("A process in"), "a process that evaluates was killed, maybe for want of memory; there"),
        (KeyError("wall"), "a fault of ours, KeyError: 'wall' (its story is in LOG; please report it); there is no"),
        (from_a_call(KeyError("wall")), "a fault of ours, KeyError: 'wall' (its story is in LOG; please report it)"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_each_kind_of_error_is_one_line_and_its_traceback_is_in_the_log(
    error: Exception, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    run: Any = _Run()
    with pytest.raises(RunEndedError) as caught, told_in_one_line(run, Path("LOG")):
        raise error
    assert str(caught.value).startswith(line)
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[1] is error
    assert caught.value is error or caught.value.__cause__ is error


@pytest.mark.parametrize("error", [UserError("--run-dir: no"), KeyboardInterrupt(), signals.Ended("saved")])
def test_what_has_a_line_of_its_own_passes(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    run: Any = _Run()
    with pytest.raises(type(error)) as caught, told_in_one_line(run, Path("LOG")):
        raise error
    assert caught.value is error
    assert caplog.records == []


def ended(run: Path, capsys: pytest.CaptureFixture[str], *settings: str) -> str:
    """The one line with which a training in this process ends."""
    with pytest.raises(AssertionError):  # its exit code is not 0
        train_here(run, settings)
    said = capsys.readouterr().err
    assert said.count("\n") == 1, said
    return said


def test_a_fault_of_ours_points_to_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def line(*_: object, **__: object) -> None:
        raise KeyError("not foreseen")

    monkeypatch.setattr(RunMonitor, "line", line)
    run = tmp_path / "run"
    said = ended(run, capsys)
    log = run / "logs" / "driver.log"
    assert said.startswith(
        f"twist: a fault of ours, KeyError: 'not foreseen' (its story is in {log}; please report it)"
    )
    assert "Traceback (most recent call last)" in log.read_text()
    assert 'raise KeyError("not foreseen")' in log.read_text()


def test_a_run_that_its_environments_end_has_a_last_checkpoint_and_goes_on_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    collect, calls = RolloutWorker.collect, []

    def fails_in_the_third(worker: RolloutWorker, *arguments: Any, **more: Any) -> Any:
        calls.append(None)
        if len(calls) == 3:
            raise CrashBudgetError("4 environment crashes in 1 finished episodes")
        return collect(worker, *arguments, **more)

    monkeypatch.setattr(RolloutWorker, "collect", fails_in_the_third)
    run = tmp_path / "run"
    said = ended(run, capsys)
    newest = RunDirectory.open(run).checkpoints.latest()
    assert newest is not None, "none was due before"
    assert said == (
        f"twist: 4 environment crashes in 1 finished episodes; the same command goes on from checkpoint "
        f"{newest.path.name}\n"
    )
    train_here(run)
    assert (run / "report.json").exists()


def test_a_checkpoint_that_cannot_be_saved_does_not_hide_why_the_run_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise CrashBudgetError("4 environment crashes")

    def no_state(*_: object) -> LearnerState:
        raise RuntimeError("it is broken too")

    monkeypatch.setattr(RolloutWorker, "collect", fails)
    monkeypatch.setattr("learner.process.LearnerProcess.capture", no_state)
    run = tmp_path / "run"
    assert ended(run, capsys) == "twist: 4 environment crashes; there is no checkpoint yet\n"
    assert "it is broken too" in (run / "logs" / "driver.log").read_text()


# --- with Ray ---------------------------------------------------------------------------------------------------------


def test_whatever_ray_raises_while_it_starts_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as its plain `Exception` for a start-up that takes too long."""
    import ray

    def init(**given: Any) -> None:
        logs = Path(given["_temp_dir"]) / "session_latest" / "logs"
        logs.mkdir(parents=True)
        (logs / "raylet.err").write_text("no room")
        raise Exception("The current node timed out during startup.\nThis could happen because ...")

    monkeypatch.setattr(ray, "init", init)
    place: Any = type("Place", (), {"path": tmp_path, "end_with_us": print})
    told = re.escape(
        f"Ray does not start: The current node timed out during startup. (its own logs: {tmp_path}/logs/ray)"
    )
    with pytest.raises(RunEndedError, match=told), session.ray_session("local", place, tmp_path / "logs"):
        pass
    assert (tmp_path / "logs" / "ray" / "raylet.err").read_text() == "no room"


def test_an_actor_that_fails_ends_the_run_in_one_line_with_a_checkpoint(tmp_path: Path) -> None:
    """Under a directory for temporary files of 104 characters, in which no socket has room."""
    run, temporary = tmp_path / "run", Path("/tmp") / ("x" * 99)
    temporary.mkdir(exist_ok=True)
    os.environ["TMPDIR"] = str(temporary)
    try:
        done = twist("train", "reach", *LOCAL, "actors.max_memory_mb=260", "--run-dir", str(run))
    finally:
        del os.environ["TMPDIR"]
        left = [path.name for path in temporary.iterdir() if not path.name.startswith("torchinductor_")]  # torch's own
        shutil.rmtree(temporary)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    told = (
        r"twist: max_memory_mb=260: actor0 takes \d+ MB as soon as it starts; the same command goes on from checkpoint "
    )
    assert re.match(told, done.stderr), done.stderr
    assert done.stderr.split()[-1] == RunDirectory.open(run).checkpoints.newest_name()
    assert "ActorFailedError" in (run / "logs" / "driver.log").read_text()
    assert left == []


@pytest.mark.parametrize("moment", ["training", pytest.param("evaluation", marks=pytest.mark.long)])
def test_nothing_is_left_of_a_driver_that_is_killed(tmp_path: Path, moment: str) -> None:
    run = tmp_path / "run"
    episodes = "evaluation.episodes=1000" if moment == "evaluation" else "training.env_steps=1000000"
    with Running(tmp_path / "log", "train", "reach", *instead(LOCAL, episodes), "--run-dir", str(run)) as running:
        if moment == "training":
            running.wait_until(lambda: any(row["teacher/updates"] > 0 for row in of_kind("train", lines(run))))
            os.kill(running.processes("ray::RolloutActor")[0], signal.SIGSTOP)
        else:
            running.wait_until(lambda: "evaluating" in (tmp_path / "log").read_text())
            running.wait_until(lambda: sum("--multiprocessing-fork" in text for text in commands(running)) == 2)
        driver, *below = running.processes()
        (place,) = {match for text in commands(running) for match in re.findall(r"/tmp/twist-\w+", text)}
        assert Path(place).is_dir()
        os.kill(driver, signal.SIGKILL)
        until(lambda: not any(map(is_alive, below)))
    until(lambda: not Path(place).exists())
