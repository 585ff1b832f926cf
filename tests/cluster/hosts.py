"""Several hosts on this machine: network namespaces with cables between them, each with its own Ray or Redis.

    host ── eth0 ═══ cable ═══ hub (a bridge) ═══ cable ═══ eth0 ── host

A host has its own network, shared memory and Ray directory; files and processes are this machine's. Cutting a cable is
what a failing switch does: packets vanish, and nobody is told. Needs root, and `ip`, `unshare` and `nsenter`.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

NEEDED = ("ip", "unshare", "nsenter")
_SECONDS = 30.0


def missing() -> str:
    """What this machine lacks for hosts of its own; empty if nothing."""
    lacking = [name for name in NEEDED if shutil.which(name) is None]
    if lacking:
        return f"{', '.join(lacking)}: not on the PATH"
    return "" if os.geteuid() == 0 else "network namespaces need root"


class Host:
    """One host. Its processes end with the `Lan`.

    Attributes:
        address: in the network.
        pid: of the first process that was started here, in whose view of the file system `run_inside` runs commands.
    """

    def __init__(self, lan: Lan, name: str, address: str) -> None:
        self.address = address
        self.pid = 0
        self._lan, self._name = lan, name
        self._namespace = f"{lan.prefix}-{name}"

    def start(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Starts a process on this host, with shared memory and a Ray directory that no other host sees."""
        private = 'mount -t tmpfs tmpfs /dev/shm && mount -t tmpfs tmpfs "$0" && exec "$@"'
        inside = ["ip", "netns", "exec", self._namespace, "unshare", "-m", "sh", "-c", private, str(self._lan.ray)]
        process = self._started([*inside, *command], log, environment)
        self.pid = self.pid or process.pid
        return process

    def run_inside(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Starts a process beside the first one, which it can talk to as a neighbour."""
        return self._started(["nsenter", "-t", str(self.pid), "-m", "-n", *command], log, environment)

    def processes(self, title: str = "") -> list[int]:
        """All processes here whose command line has that in it."""
        listed = _ip("netns", "pids", self._namespace).split()
        found = []
        for pid in map(int, listed):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if title in Path(f"/proc/{pid}/cmdline").read_text():
                    found.append(pid)
        return found

    def kill(self) -> None:
        """SIGKILL for all that runs here; the network stays."""
        deadline = time.monotonic() + _SECONDS
        while (pids := self.processes()) and time.monotonic() < deadline:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._lan.reap()
            time.sleep(0.05)
        self.pid = 0

    def cut(self) -> None:
        """Pulls the cable out."""
        _ip("-n", self._lan.hub, "link", "set", self._cable, "down")

    def mend(self) -> None:
        """Puts it in again."""
        _ip("-n", self._lan.hub, "link", "set", self._cable, "up")

    def connect(self) -> None:
        """Makes the host's namespace and its cable."""
        hub, here = self._lan.hub, self._namespace
        _ip("netns", "add", here)
        _ip("-n", hub, "link", "add", self._cable, "type", "veth", "peer", "name", "eth0", "netns", here)
        _ip("-n", hub, "link", "set", self._cable, "master", "br0", "up")
        _ip("-n", here, "link", "set", "lo", "up")
        _ip("-n", here, "addr", "add", f"{self.address}/24", "dev", "eth0")
        _ip("-n", here, "link", "set", "eth0", "up")

    def remove(self) -> None:
        """Ends what runs here, and the namespace."""
        self.kill()
        _ip("netns", "delete", self._namespace)

    @property
    def _cable(self) -> str:
        return f"to-{self._name}"

    def _started(self, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        with log.open("ab") as file:
            process = subprocess.Popen(command, env=dict(environment), stdout=file, stderr=subprocess.STDOUT)
        self._lan.children.append(process)
        return process


class Lan:
    """A network of hosts; use it as a context manager.

    Attributes:
        hosts: by name.
        ray: Ray's directory, on every host another one.
    """

    def __init__(self, names: Sequence[str]) -> None:
        """Nothing is made yet; a name has at most 12 characters."""
        self.prefix = f"twist-{secrets.token_hex(3)}"
        self.hub = f"{self.prefix}-hub"
        self.children: list[subprocess.Popen[bytes]] = []
        self.hosts = {name: Host(self, name, f"10.77.0.{10 + number}") for number, name in enumerate(names)}

    def __enter__(self) -> Lan:
        # Below /tmp, as the paths of Ray's sockets may have 107 characters.
        self.ray = Path(tempfile.mkdtemp(prefix="twist-ray-", dir="/tmp"))
        self._made: list[Host] = []
        _ip("netns", "add", self.hub)
        try:
            _ip("-n", self.hub, "link", "add", "br0", "type", "bridge")
            _ip("-n", self.hub, "link", "set", "br0", "up")
            for host in self.hosts.values():
                self._made.append(host)
                host.connect()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()

    def remove(self) -> None:
        """Ends all hosts; nothing of them is left."""
        for host in self._made:
            with contextlib.suppress(subprocess.CalledProcessError):
                host.remove()
        with contextlib.suppress(subprocess.CalledProcessError):
            _ip("netns", "delete", self.hub)
        for process in self.children:
            process.wait()
        shutil.rmtree(self.ray, ignore_errors=True)

    def reap(self) -> None:
        """Takes note of children that have ended, so that they are processes no more."""
        for process in self.children:
            process.poll()


def python(*arguments: str) -> list[str]:
    """A command of this interpreter."""
    return [sys.executable, *arguments]


def _ip(*arguments: str) -> str:
    return subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True, timeout=_SECONDS).stdout
