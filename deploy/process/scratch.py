"""A directory for what a command needs while it lives: sockets, Ray's session. Nothing of it is left, whatever happens.

    the command ends well            it closes its end of the guard's input; the guard removes all of it
    it is killed, at any moment      the kernel closes that end; the same
    the guard is killed as well      the lock of the directory is free; the next command's start removes it

The guard (`deploy.process.guard`) also ends processes that were started in sessions of their own.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from deploy.process import guard

PREFIX: Final = "twist-"
LOCK: Final = "lock"

LONGEST: Final = 38
"""Bytes of a directory's path. With `/ray/session_DATE_TIME_MICROSECONDS_PID/sockets/plasma_store` after it that is
107, the most that the kernel allows for a socket."""


class Scratch:
    """The directory, and its guard.

    Attributes:
        path: of the directory.
    """

    def __init__(self, path: Path, told: IO[str]) -> None:
        self.path = path
        self._told = told

    def end_with_us(self, session: int) -> None:
        """All processes of a session are killed when this one ends, or leaves the directory.

        Args:
            session: process id of its leader.
        """
        self._tell(f"session {session}")

    def _tell(self, line: str) -> None:
        with contextlib.suppress(OSError):  # somebody has killed the guard: the command does without
            print(line, file=self._told, flush=True)


@contextlib.contextmanager
def scratch() -> Iterator[Scratch]:
    """A new directory for the block; removes those of commands that have been killed.

    Raises:
        OSError: there is no place for one.
    """
    base = _base()
    sweep(base)
    path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
    try:
        with _locked(path), _guarded() as told:
            made = Scratch(path, told)
            made._tell(f"directory {path}")
            yield made
    finally:
        shutil.rmtree(path, ignore_errors=True)  # of a guard that was killed


def sweep(base: Path) -> None:
    """Removes directories of ours whose owner has ended."""
    for path in base.glob(f"{PREFIX}*"):
        # Of somebody else, or just gone, or in use. One that was never locked has no such file: see `_locked`.
        with contextlib.suppress(OSError), (path / LOCK).open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Nobody else takes the directory for one that has been left."""
    new = path / f"{LOCK}.new"
    with new.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        new.rename(path / LOCK)
        yield


@contextlib.contextmanager
def _guarded() -> Iterator[IO[str]]:
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", guard.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert process.stdin is not None
    try:
        yield process.stdin
    finally:
        with contextlib.suppress(OSError):
            process.stdin.close()
        process.wait()


def _base() -> Path:
    """Where temporary directories are, if their path leaves room for a socket's; else /tmp."""
    longest = LONGEST - len(f"/{PREFIX}") - 8  # as many characters `mkdtemp` adds
    given = Path(tempfile.gettempdir())
    return given if len(os.fsencode(given)) <= longest else Path("/tmp")
