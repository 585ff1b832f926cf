"""Terminals, pipes, disks and pictures that fail, and commands that go on all the same."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from running import CHECKOUT, SECONDS, lines, of_kind, report
from training_here import SMALLEST, train_here

from deploy.cli import main
from deploy.process.shown import GuardedStream, shown

TRAIN = ("-m", "deploy", "train", "reach", "--mode", "debug", "--preset", "debug", *SMALLEST, "--run-dir")


@contextlib.contextmanager
def stdout_of(kind: str) -> Iterator[int | None]:
    """A stdout that fails in one way; None for a process that is started without one."""
    if kind == "none":
        yield None
        return
    if kind == "full disk":
        descriptor = os.open("/dev/full", os.O_WRONLY)
    elif kind == "terminal without width":
        reader, descriptor = pty.openpty()
        fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", 0, 0, 0, 0))
    else:
        reader, descriptor = os.pipe()
    if kind == "nobody reads":
        os.close(reader)
    yield descriptor
    os.close(descriptor)


def run(*arguments: str, kind: str = "", **environment: str) -> subprocess.CompletedProcess[bytes]:
    # It must be drained where somebody reads: a terminal takes some kilobytes.
    with stdout_of(kind) as stdout:
        return subprocess.run(
            [sys.executable, *arguments]
            if stdout is not None
            else ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, *arguments],
            stdout=stdout,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT), "PYTHONWARNINGS": "ignore", "TERM": "xterm", **environment},
            timeout=SECONDS,
            check=False,
        )


@pytest.mark.parametrize("kind", ["full disk", "nobody reads", "none", "terminal without width"])
def test_a_training_does_not_depend_on_who_looks(kind: str, tmp_path: Path) -> None:
    done = run(*TRAIN, str(tmp_path / "run"), kind=kind)
    assert (done.returncode, done.stderr) == (0, b"")
    assert report(tmp_path / "run")["env_steps"] >= 48
    log = (tmp_path / "run" / "logs" / "driver.log").read_text()
    assert log.count("stdout cannot be shown") == (kind in ("full disk", "nobody reads"))


def test_a_training_does_not_depend_on_what_the_terminal_can_spell(tmp_path: Path) -> None:
    said = subprocess.run(
        [sys.executable, *TRAIN, str(tmp_path / "run")],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), "PYTHONWARNINGS": "ignore", "PYTHONIOENCODING": "latin-1"},
        timeout=SECONDS,
        check=False,
    )
    assert (said.returncode, said.stderr) == (0, b"")
    assert "success: teacher ?" in said.stdout.decode("latin-1")
    assert report(tmp_path / "run")["env_steps"] >= 48


def test_pictures_that_fail_cost_nothing_else_and_are_told_once(tmp_path: Path) -> None:
    run = tmp_path / "run"
    full = OSError(28, "No space left on device")
    with (
        mock.patch("deploy.reporting.metrics.TensorBoardFile", side_effect=full),
        mock.patch("deploy.evaluation.conclusion.print_report", side_effect=full),
    ):
        train_here(run, pictures_fail=full)
    found = report(run)
    assert of_kind("evaluation", lines(run))
    assert found["updates"]["teacher"] == of_kind("train", lines(run))[-1]["teacher/updates"]
    log = (run / "logs" / "driver.log").read_text()
    for what in ("TensorBoard", "clips/", "curves/", "worlds.png", "report.html", "the closing table"):
        assert log.count(f"{what} cannot be shown, and no more is said of it: OSError: [Errno 28] No space") == 1


def test_a_checkpoint_is_no_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    full = OSError(28, "No space left on device", "checkpoints/x")
    with (
        mock.patch("deploy.runs.checkpoints.Checkpoints.save", side_effect=full),
        pytest.raises(AssertionError),  # of `train_here`, which expects the exit code 0
    ):
        train_here(tmp_path / "run")
    said = capsys.readouterr().err
    assert said == "twist: checkpoints/x: No space left on device; there is no checkpoint yet\n"


def test_what_only_shows_is_told_once_and_a_signal_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        with shown("the weather"):
            raise ZeroDivisionError("0 columns")
    assert (
        caplog.text.count("the weather cannot be shown, and no more is said of it: ZeroDivisionError: 0 columns") == 1
    )
    with pytest.raises(KeyboardInterrupt), shown("the weather"):
        raise KeyboardInterrupt


def test_who_stops_reading_ends_nothing_and_a_full_disk_is_an_error_of_what_only_prints() -> None:
    done = run("-m", "deploy", "redis-users", kind="nobody reads")
    assert (done.returncode, done.stderr) == (0, b"")
    done = run("-m", "deploy", "redis-users", kind="full disk")
    assert (done.returncode, done.stderr) == (
        1,
        b"twist: what was to be said could not be written: No space left on device\n",
    )


def test_a_guarded_stream_writes_what_it_can(tmp_path: Path) -> None:
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    stream = GuardedStream(file, "a file")
    print("3 – 4", file=stream, flush=True)
    assert file.buffer.getvalue() == b"3 ? 4\n"
    file.close()
    print("5", file=stream, flush=True)
    assert stream.error is not None
    assert not stream.isatty()


def test_streams_are_as_before_when_a_command_is_over(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout, sys.stderr
    assert main(["redis-users"]) == 0
    assert (sys.stdout, sys.stderr) == before
    assert "ACL SETUSER" in capsys.readouterr().out
