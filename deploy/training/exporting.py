"""`training.export=true`: a bundle of the newest checkpoint, written beside the training in a process of its own.

An export drives episodes and must not hold up the driver: a checkpoint that comes while one is under way is left to the
next. At the end of the run there is one of its last checkpoint, with its report.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from deploy.process.extras import EXPORTER, require_extra

LOGGER = logging.getLogger(__name__)

BUNDLE = "bundle"
"""In the run's directory."""

_EPISODES = 10
"""To calibrate surprise by on the way; `twist export` takes more."""

_NICE = 10
"""Training comes first."""


def require_exporter() -> None:
    """Refuses a run that asks for bundles where they cannot be written.

    Raises:
        UserError: naming what is missing.
    """
    require_extra("training.export=true", *EXPORTER)


class BundleWriter:
    """Writes a run's `BUNDLE` anew from its newest checkpoint; a context manager, which leaves no process behind."""

    def __init__(self, run: Path, log: Path) -> None:
        command = [sys.executable, "-m", "deploy", "export", str(run), str(run / BUNDLE)]
        self._command = [*command, "--episodes", str(_EPISODES)]
        self._log = log
        self._child: subprocess.Popen[bytes] | None = None

    def checkpoint_written(self) -> None:
        """There is a new checkpoint."""
        if self._child is None or self._finished(self._child):
            self._child = self._started()

    def finish(self) -> None:
        """The run is at its end: waits for what is under way, and writes the last one."""
        if self._child is not None:
            self._child.wait()
        self._child = self._started()
        self._child.wait()
        self._finished(self._child)

    def __enter__(self) -> BundleWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._child is not None and self._child.poll() is None:
            self._child.kill()
            self._child.wait()

    def _started(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            # A session of its own: Ctrl-C in a terminal is for the driver, which ends this.
            child = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        os.setpriority(os.PRIO_PROCESS, child.pid, _NICE)
        return child

    def _finished(self, child: subprocess.Popen[bytes]) -> bool:
        code = child.poll()
        if code:
            LOGGER.warning("the bundle could not be written (exit code %d); %s says why", code, self._log)
        return code is not None
