"""A Ray head of the tests' own, with dashboard and job server, beside whatever else runs on this machine.

It has other ports than Ray's defaults, its own directory, and a token that keeps others out and what is its own in. It
is ended by its processes' ids: `ray stop` would end every Ray process of the machine.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType

from running import is_alive, tree

START_SECONDS = 300.0
STOP_SECONDS = 30.0
FLAGS = (
    *("--head", "--block", "--disable-usage-stats", "--include-log-monitor=false", "--include-dashboard=true"),
    *("--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1", "--min-worker-port=0", "--max-worker-port=0"),
    *("--num-cpus=4", "--object-store-memory=200000000"),
)
PATIENCE = {
    "RAY_DASHBOARD_STARTUP_TIMEOUT_S": "250",
    "RAY_agent_register_timeout_ms": "250000",
    "RAY_worker_register_timeout_seconds": "250",
}
"""On a busy machine Ray's own limits are too tight."""
PORTS = ("--port", "--dashboard-port", "--dashboard-agent-listen-port", "--ray-client-server-port")


def inherited_environment() -> dict[str, str]:
    """Ours, without what would lead Ray or `twist` to servers of somebody else's."""
    kept = ("RAY_worker_niceness",)
    others = ("RAY_", "TWIST_")
    return {name: value for name, value in os.environ.items() if name in kept or not name.startswith(others)}


class PrivateHead:
    """Use it as a context manager.

    Attributes:
        address: URL of its dashboard.
        books: HOST:PORT of Ray's own books, which drivers ask for (RAY_ADDRESS).
        directory: where it unpacks what jobs bring, and more.
        environment: for commands that talk to it.
    """

    def __init__(self, **variables: str) -> None:
        """Nothing is started yet.

        Args:
            variables: more environment for the head and, as they inherit it, its jobs.
        """
        self.environment = {
            **inherited_environment(),
            # A job says `python`, which has to be this one.
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        self._variables = {**PATIENCE, **variables}

    def __enter__(self) -> PrivateHead:
        # Below /tmp, as the paths of Ray's sockets may have 107 characters.
        self.directory = Path(tempfile.mkdtemp(prefix="twist-ray-", dir="/tmp"))
        ports = _free_ports(len(PORTS))
        self.address = f"http://127.0.0.1:{ports[PORTS.index('--dashboard-port')]}"
        self.books = f"127.0.0.1:{ports[PORTS.index('--port')]}"
        flags = [*FLAGS, *(f"{flag}={port}" for flag, port in zip(PORTS, ports, strict=True))]
        self._log = self.directory / "ray-start.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [str(Path(sys.executable).parent / "ray"), "start", *flags, f"--temp-dir={self.directory}"],
                env={**self.environment, **self._variables},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends it and all that it started; nothing of it lives when this returns."""
        started = tree(self._process.pid)
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS)
        for pid in started:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        while any(map(is_alive, started)):
            time.sleep(0.05)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        asked = urllib.request.Request(
            f"{self.address}/api/version", headers={"Authorization": f"Bearer {self.environment['RAY_AUTH_TOKEN']}"}
        )
        while True:
            assert self._process.poll() is None, f"the head ended:\n{self._log.read_text()}"
            assert time.monotonic() < deadline, f"the head does not start:\n{self._log.read_text()}"
            with contextlib.suppress(OSError), urllib.request.urlopen(asked, timeout=10.0) as answer:
                if answer.status == 200:
                    return
            time.sleep(0.5)


def _free_ports(count: int) -> list[int]:
    """Free now; nothing keeps them free, but the kernel gives them to nobody else soon."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
