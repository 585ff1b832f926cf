"""Runs `python -m deploy` as a user does, in a process of its own, and ends it as a power cut would."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from deploy.reporting.metrics import read_metrics

CHECKOUT = Path(__file__).resolve().parents[1]
SECONDS = 240.0
"""No run takes so long; it only keeps one that hangs from hanging the tests."""

SMALL = (
    *("--preset", "debug", "training.student_updates=10"),
    *("learner.teacher_samples_per_insert=4", "learner.student_samples_per_insert=2", "evaluation.episodes=2"),
)
DEBUG = ("--mode", "debug", *SMALL, "training.metrics_every_updates=2", "training.checkpoint_every_updates=10")
LOCAL = ("--mode", "local", *SMALL, "training.metrics_every_seconds=0.5", "training.checkpoint_every_seconds=1")


def instead(arguments: Sequence[str], *settings: str) -> tuple[str, ...]:
    """The arguments with these settings in place of those of the same keys, as no setting may be given twice."""
    keys = {setting.partition("=")[0] for setting in settings}
    return (*(argument for argument in arguments if argument.partition("=")[0] not in keys), *settings)


def command(*arguments: str) -> dict[str, Any]:
    """What `subprocess` needs to run one command of ours."""
    path = os.pathsep.join(filter(None, [str(CHECKOUT), os.environ.get("PYTHONPATH", "")]))
    return {
        "args": [sys.executable, "-m", "deploy", *arguments],
        # What torch thinks of optional packages that happen to be installed is no line of ours.
        "env": {**os.environ, "PYTHONPATH": path, "PYTHONWARNINGS": "ignore::FutureWarning", "COLUMNS": "250"},
        "text": True,
    }


def twist(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(**command(*arguments), capture_output=True, timeout=SECONDS, check=False)


def completed(*arguments: str) -> str:
    """The output of a command that must succeed."""
    done = twist(*arguments)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def lines(run: Path) -> list[dict[str, Any]]:
    """metrics.jsonl so far."""
    return list(read_metrics(run / "metrics.jsonl"))


def of_kind(kind: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["kind"] == kind]


def report(run: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((run / "report.json").read_text())
    return document


class Running:
    """A command under way, with whatever processes it starts; leaving the context kills what is left of it."""

    def __init__(self, log: Path, *arguments: str) -> None:
        self._log = log
        self._arguments = arguments

    def __enter__(self) -> Running:
        with self._log.open("w") as log:
            self._process = subprocess.Popen(**command(*self._arguments), stdout=log, stderr=subprocess.STDOUT)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self.kill()

    def wait_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + SECONDS
        while not condition():
            assert self._process.poll() is None, f"it ended:\n{self._log.read_text()}"
            assert time.monotonic() < deadline, f"it hangs:\n{self._log.read_text()}"
            time.sleep(0.02)

    def wait(self) -> str:
        """The output, once it has ended well."""
        return self.wait_for_end(0)

    def wait_for_end(self, code: int) -> str:
        """The output, once it has ended with this exit code."""
        assert self._process.wait(SECONDS) == code, self._log.read_text()
        return self._log.read_text()

    def processes(self, title: str = "") -> list[int]:
        """Its own process and all those below it whose title begins so."""
        return [pid for pid in tree(self._process.pid) if _title(pid).startswith(title)]

    def kill(self) -> None:
        """SIGKILL for it and all below it, and none of them lives when this returns."""
        self._process.send_signal(signal.SIGSTOP)  # so that it starts no other one meanwhile
        doomed = tree(self._process.pid)
        for pid in doomed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        while any(map(is_alive, doomed)):
            time.sleep(0.02)


def tree(root: int) -> list[int]:
    """A process and its descendants, parents first."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (stat := _stat(int(entry.name))) is not None:
            children.setdefault(int(stat[1]), []).append(int(entry.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def _stat(pid: int) -> list[str] | None:
    """Fields of /proc/PID/stat from the third on: state, parent, ...; None for a process that is no more."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    stat = _stat(pid)
    return stat is not None and stat[0] not in "ZX"


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
