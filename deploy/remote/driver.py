"""Who drives a run whose directory lies on remote storage: driver.json beside the run's files.

    {"id": "the working copy", "host": "head", "boot": "5f3c...", "pid": 12, "time": 1764000000.0, "released": false}

Storage has no locks, so a driver writes this file when it begins, again and again while it lives, and once more when it
ends. Two that begin within the same second may both believe that they are alone: each looks before it writes, so the
one whose entry is gone finds that out within `HEARTBEAT_SECONDS` and ends. Clocks of the machines that drive runs have
to agree within a minute or so.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Le
from pydantic.dataclasses import dataclass

from deploy.errors import UserError
from deploy.remote.storage import Storage
from deploy.runs.directory import Driver
from deploy.runs.documents import DOCUMENT, DocumentError, Text, parse, plain

FILE = "driver.json"

HEARTBEAT_SECONDS = 20.0
"""Between two signs of life."""

STALE_SECONDS = 120.0
"""A driver that has given none for so long is taken to be dead."""


@dataclass(frozen=True, config=DOCUMENT)
class DriverDocument:
    """What driver.json says."""

    id: Text
    """Of the working copy, which has one driver at a time."""
    host: Text
    boot: Text
    """Tells machines of one name apart."""
    pid: Annotated[int, Ge(1), Le(2**31)]
    time: Annotated[float, Ge(0)]
    """Of this sign of life, unix seconds."""
    released: bool
    """Whether the driver has ended and lets others have the run."""


class TakenOverError(Exception):
    """Another driver has the run now; one line."""


class DriverEntry:
    """This driver's entry in driver.json."""

    def __init__(self, storage: Storage, copy: str, *, clock: Callable[[], float] = time.time) -> None:
        """Reads nothing yet.

        Args:
            storage: of the run.
            copy: id of the working copy, which has one driver at a time.
            clock: gives unix seconds.
        """
        self._storage, self._clock = storage, clock
        self._released = False
        self._writing = threading.Lock()
        self.copy = copy

    def read(self) -> DriverDocument | None:
        """Who drives the run, or drove it last; None where nobody has, or the file says nothing of the kind.

        Raises:
            StorageError: the storage does not answer.
        """
        try:
            return parse(self._storage.read(FILE) or b"null", DriverDocument, None)
        except DocumentError:
            return None

    def refuse_other(self, found: DriverDocument | None) -> None:
        """Refuses to drive the run where another driver lives.

        Args:
            found: what `read` gave. An entry of this working copy is left by a driver that is gone: there is a lock.

        Raises:
            UserError: naming the other driver.
        """
        if found is None or found.released or found.id == self.copy or _has_ended(found):
            return
        silent = self._clock() - found.time
        if silent < STALE_SECONDS:
            raise UserError(
                f"run directory {self._storage.url}: is being driven by process {found.pid} on {found.host}, "
                f"heard of {max(silent, 0.0):.0f} s ago; one not heard of for {STALE_SECONDS:.0f} s is taken to be dead"
            )

    def driver(self) -> Driver:
        """Who drives the run, as far as its signs of life tell.

        Raises:
            StorageError: the storage does not answer.
        """
        found = self.read()
        if found is None:
            return Driver(here=False, name="", elsewhere=True)
        lives = not found.released and not _has_ended(found) and self._clock() - found.time < STALE_SECONDS
        return Driver(here=lives, name=f"process {found.pid} on {found.host}", elsewhere=False)

    def claim(self) -> None:
        """Makes the entry this driver's, whoever had it.

        Raises:
            StorageError: it cannot be written.
        """
        self._write(released=False)

    def refresh(self) -> None:
        """Gives a sign of life.

        Raises:
            TakenOverError: the entry is another driver's.
            StorageError: the storage does not answer.
        """
        with self._writing:
            found = self.read()
            if found is not None and found.id != self.copy:
                raise TakenOverError(f"process {found.pid} on {found.host} drives it now")
            if not self._released:
                self._write(released=False)

    def release(self) -> None:
        """Lets others have the run; the entry stays, as it says whose working copy is the newest.

        Raises:
            StorageError: the storage does not answer.
        """
        with self._writing:
            self._released = True
            found = self.read()
            if found is not None and found.id == self.copy:
                self._write(released=True)

    def _write(self, *, released: bool) -> None:
        moment = round(self._clock(), 3)
        entry = DriverDocument(self.copy, socket.gethostname(), _boot(), os.getpid(), moment, released)
        self._storage.write(FILE, json.dumps(plain(entry)).encode() + b"\n")


def _has_ended(found: DriverDocument) -> bool:
    """Whether it is known to be gone: a process of this machine that is no more, or has our own number."""
    if (found.host, found.boot) != (socket.gethostname(), _boot()):
        return False
    if found.pid == os.getpid():
        return True
    try:
        os.kill(found.pid, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        pass
    return False


def _boot() -> str:
    """Tells machines of one name apart: two private networks may both have an `ip-10-0-0-5`."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
