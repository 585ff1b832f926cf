"""What a command needs while it lives is gone when it is, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from running import CHECKOUT, is_alive

from deploy.process import scratch as module
from deploy.process.guard import members
from deploy.process.scratch import LOCK, LONGEST, PREFIX, scratch, sweep

OWNER = """
import subprocess, sys, time
from deploy.process.scratch import scratch

with scratch() as place:
    (place.path / "socket").touch()
    kept = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    place.end_with_us(kept.pid)
    print(place.path, kept.pid, flush=True)
    time.sleep(1000)
"""
"""A command with a directory, something in it, and a process in a session of its own."""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Temporary directories are made in the test's own, whose path may be long."""
    monkeypatch.setattr(module, "_base", lambda: tmp_path)
    return tmp_path


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30.0
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Owner:
    """`OWNER` as a process."""

    def __init__(self, directory: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", OWNER],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(directory), "PYTHONPATH": str(CHECKOUT)},
        )
        assert self.process.stdout is not None
        path, pid = self.process.stdout.readline().split()
        self.path, self.kept = Path(path), int(pid)
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as file:
            self.guard = next(pid for pid in map(int, file.read().split()) if pid != self.kept)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


def test_it_is_there_for_the_block_and_gone_with_all_that_is_in_it(here: Path) -> None:
    with scratch() as place:
        (place.path / "ray").mkdir()
        (place.path / "ray" / "socket").touch()
        process = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        place.end_with_us(process.pid)
        assert members({process.pid}) == [process.pid]
    assert process.wait() == -signal.SIGKILL
    assert list(here.iterdir()) == []


def test_after_an_error_too(here: Path) -> None:
    with pytest.raises(ZeroDivisionError), scratch():
        raise ZeroDivisionError
    assert list(here.iterdir()) == []


@pytest.fixture
def short() -> Path:
    return Path(tempfile.mkdtemp(prefix="s", dir="/tmp"))


def test_of_a_command_that_is_killed_nothing_is_left_not_even_what_is_stopped(short: Path) -> None:
    owner = Owner(short)
    os.kill(owner.kept, signal.SIGSTOP)
    owner.kill()
    until(lambda: not owner.path.exists())
    assert not is_alive(owner.kept)
    until(lambda: not is_alive(owner.guard))
    short.rmdir()


def test_what_is_left_of_one_that_is_killed_with_its_guard_goes_with_the_next_start(short: Path) -> None:
    killed, alive = Owner(short), Owner(short)
    stranger = short / f"{PREFIX}of-somebody-else"
    stranger.mkdir()
    os.kill(killed.guard, signal.SIGKILL)
    killed.kill()
    assert killed.path.exists()
    sweep(short)
    assert not killed.path.exists()
    assert (alive.path / "socket").exists()
    assert stranger.exists(), "it has no lock"
    os.kill(killed.kept, signal.SIGKILL)
    alive.kill()
    until(lambda: not alive.path.exists())
    stranger.rmdir()
    short.rmdir()


def test_a_guard_that_somebody_kills_does_not_end_the_command(here: Path) -> None:
    with scratch() as place:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            for pid in map(int, file.read().split()):
                if "guard.py" in Path(f"/proc/{pid}/cmdline").read_text():
                    os.kill(pid, signal.SIGKILL)
                    until(lambda pid=pid: not is_alive(pid))
        place.end_with_us(1)
        place.end_with_us(1)
    assert list(here.iterdir()) == []


def test_it_is_where_a_socket_of_rays_has_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    longest = "/ray/session_2026-11-25_08-41-17_438432_4194304/sockets/plasma_store"
    assert LONGEST + len(longest) <= 107
    monkeypatch.setattr(tempfile, "tempdir", "/" + "x" * 103)
    with scratch() as place:
        assert place.path.parent == Path("/tmp")
        assert len(str(place.path)) <= LONGEST
        assert (place.path / LOCK).exists()
