"""A run whose directory is a URL: driven in a local working copy, which is mirrored to remote storage.

Locks, TensorBoard's files, metrics that grow line by line and the embedded Redis need a real file system, so the driver
works in one, below the cache directory (see `deploy.remote.run`), and a thread copies it. In each pass, in this order:

1. the files of the newest checkpoint, its checkpoint.json last
2. every other file that has changed; metrics.jsonl, which grows, is sent whole
3. checkpoints/latest
4. checkpoints that are gone here are removed there

So `latest` never names a checkpoint that is not whole, and the metrics are never behind it: whoever goes on from there
finds all of its lines, and takes out those that are too many. A pass follows each checkpoint, and the end of the run.
One that fails is written down (event `mirror_failed`), disturbs nobody, and is made good by the next one.

Never sent: replay/, lock, hidden files.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from deploy.errors import RunEndedError, UserError, user_errors
from deploy.process import signals
from deploy.remote.driver import HEARTBEAT_SECONDS, DriverEntry, TakenOverError
from deploy.remote.run import (
    LATEST,
    cache_place,
    fetch_all,
    named_by_url,
    read_record,
    require_run,
    sent_files,
    version_here,
)
from deploy.remote.storage import Storage, StorageError
from deploy.runs.atomic import write_json
from deploy.runs.checkpoints import Checkpoints
from deploy.runs.directory import note_driver, take_lock

LOGGER = logging.getLogger(__name__)

FINISH_SECONDS = 300.0
"""For so long the last pass is tried again."""

RETRY_SECONDS = 10.0
"""Between two attempts then."""

_NEVER_SENT = ("replay", "lock")
"""At the top of the run directory."""


class Mirror:
    """A working copy and its URL. Made by `mirrored`; `driven` while the run is; then `send` and `finish`."""

    def __init__(self, storage: Storage, place: Path) -> None:
        """Takes over what an earlier driver left in the cache."""
        self.url = storage.url
        self.directory = place / "run"
        """The run directory to work in."""
        self._storage, self._place = storage, place
        record = read_record(place / "mirror.json")
        self._sent: dict[str, list[int]] = record.get("sent", {})
        """What was sent: name to size in bytes and time of change in ns."""
        self._driver = DriverEntry(storage, record.get("copy") or uuid.uuid4().hex)
        self._failures: deque[str] = deque()
        self._taken_over: str | None = None
        self._wanted, self._ended = threading.Event(), threading.Event()
        self._passing = threading.Lock()

    def prepare(self) -> str:
        """Makes the working copy what the URL says, unless this working copy was the last that was driven.

        Returns:
            What was done, in words.

        Raises:
            UserError: another driver lives, or the URL holds something that is no run.
            StorageError: the storage does not answer.
        """
        last = self._driver.read()
        self._driver.refuse_other(last)
        here = (self.directory / "config.json").is_file()
        if here and last is not None and last.id == self._driver.copy:
            return f"{self.url}: driven in {self.directory}, as before"
        files = self._storage.list()
        require_run(self._storage, files)
        if not files:
            self._storage.require_bucket()
        fetched = self._place / "fetching"
        shutil.rmtree(fetched, ignore_errors=True)
        fetched.mkdir()
        fetch_all(self._storage, fetched)
        note = f"{self.url}: driven in {self.directory}"
        if self.directory.exists():
            # What another driver has done since counts. What this copy did beside it is kept once, for a person.
            aside = self._place / "replaced"
            shutil.rmtree(aside, ignore_errors=True)
            self.directory.rename(aside)
            note += f"; what was there is older, or of another driver, and now in {aside}"
        fetched.rename(self.directory)
        self._driver.copy = uuid.uuid4().hex
        self._sent = {name: version_here(path) for name, path in sent_files(self.directory)}
        self._write_record()
        return note

    @contextlib.contextmanager
    def driven(self) -> Iterator[None]:
        """Has the URL for this driver, and sends what there is, until the end of the block.

        Raises:
            UserError: the storage cannot be written.
        """
        try:
            self._driver.refuse_other(self._driver.read())
            self._driver.claim()
        except StorageError as error:
            raise UserError(f"run directory {error}") from error
        for work in (self._send_when_wanted, self._give_signs_of_life):
            threading.Thread(target=work, name=f"mirror-{work.__name__}", daemon=True).start()
        self._wanted.set()
        try:
            yield
        except BaseException:
            self._stop()
            signals.within_grace(self._pass)  # the run ends too early: what it has is worth one attempt
            raise
        finally:
            self._stop()
            if self._taken_over is None:
                signals.within_grace(self._release)

    def send(self, event: Callable[..., None]) -> None:
        """Begins a pass, and does not wait for it.

        Args:
            event: told of each pass that has failed since the last call; `RunMonitor.event`.

        Raises:
            RunEndedError: another driver has taken the run over.
        """
        self._require_ours()
        while self._failures:
            event("mirror_failed", reason=self._failures.popleft())
        self._wanted.set()

    def finish(self) -> None:
        """Makes the last pass, and tries for `FINISH_SECONDS`.

        Raises:
            RunEndedError: it failed, or another driver has taken the run over; the working copy stays.
        """
        deadline = time.monotonic() + FINISH_SECONDS
        kept = f"everything is in the working copy at {self._place}, and the same command sends it from this machine"
        with signals.saying(f"the last upload was cut short; {kept}"):
            while (failure := self._pass()) is not None:
                self._require_ours()
                if time.monotonic() > deadline:
                    raise RunEndedError(f"the last upload failed: {failure}; {kept}")
                time.sleep(RETRY_SECONDS)

    def _release(self) -> None:
        with contextlib.suppress(StorageError):
            self._driver.release()

    def _require_ours(self) -> None:
        if self._taken_over is not None:
            raise RunEndedError(f"another driver has taken the run over: {self._taken_over}")

    def _stop(self) -> None:
        self._ended.set()
        self._wanted.set()

    def _send_when_wanted(self) -> None:
        while True:
            self._wanted.wait()
            self._wanted.clear()
            if self._ended.is_set():
                return
            self._pass()

    def _give_signs_of_life(self) -> None:
        # In a thread of its own, as a pass may take minutes.
        while not self._ended.wait(HEARTBEAT_SECONDS):
            try:
                self._driver.refresh()
            except TakenOverError as error:
                self._taken_over = str(error)
                return
            except StorageError as error:
                LOGGER.warning("no sign of life for other drivers: %s", error)

    def _pass(self) -> str | None:
        """Sends what has changed; why it failed, or None."""
        with self._passing:
            try:
                if self._taken_over is None:
                    self._driver.refresh()
                    self._send_changes()
                return self._taken_over
            except TakenOverError as error:
                self._taken_over = failure = str(error)
            except (StorageError, OSError) as error:
                failure = str(error)
                self._failures.append(failure)
            finally:
                self._write_record()
        LOGGER.warning("mirroring failed: %s", failure)
        return failure

    def _send_changes(self) -> None:
        with tempfile.TemporaryDirectory(prefix="sending-", dir=self._place) as temporary:
            held = _hold_newest(Checkpoints(self.directory / "checkpoints"), Path(temporary))
            if held is not None:
                for name, path in sent_files(held):
                    self._put(f"checkpoints/{held.name}/{name}", path)
        for name, path in sent_files(self.directory, without=(*_NEVER_SENT, "checkpoints")):
            self._put(name, path)
        if held is None:
            return
        there = {name.split("/")[1] for name in self._storage.list("checkpoints") if name.count("/") > 1}
        if held.name not in there:
            self._sent.clear()
            raise StorageError(self.url, f"checkpoints/{held.name} is gone from there")
        self._driver.refresh()  # sending may have taken so long that another driver thinks us dead
        self._storage.write(LATEST, f"{held.name}\n".encode())
        for gone in there - {held.name, *Checkpoints(self.directory / "checkpoints").names()}:
            self._storage.remove(f"checkpoints/{gone}")
            for name in [name for name in self._sent if name.startswith(f"checkpoints/{gone}/")]:
                del self._sent[name]

    def _put(self, name: str, path: Path) -> None:
        with contextlib.suppress(FileNotFoundError):  # gone since it was listed
            version = version_here(path)
            if self._sent.get(name) != version:
                self._storage.put(path, name)
                self._sent[name] = version

    def _write_record(self) -> None:
        with contextlib.suppress(OSError):  # more than needed is sent next time
            write_json(self._place / "mirror.json", {"url": self.url, "copy": self._driver.copy, "sent": self._sent})


@contextlib.contextmanager
def mirrored(url: str, say: Callable[[str], None]) -> Iterator[Mirror]:
    """A working copy of the run at a URL, up to date, and ours as far as this machine goes.

    Args:
        url: of the run directory; nothing need be there.
        say: told in a line where the working copy is.

    Raises:
        UserError: the URL is not allowed, its storage does not answer or holds something else, or the run is being
            driven by another process. Nothing is changed there.
    """
    storage = Storage(url)
    place = cache_place("driven", storage.url)
    with named_by_url(place / "run", storage.url), contextlib.ExitStack() as stack:
        with user_errors():
            place.mkdir(parents=True, exist_ok=True)
        with named_by_url(place, storage.url):
            lock = stack.enter_context(take_lock(place / "lock"))
        note_driver(lock)
        mirror = Mirror(storage, place)
        try:
            with user_errors():
                note = mirror.prepare()
        except StorageError as error:
            raise UserError(f"run directory {error}") from error
        say(note)
        yield mirror


def _hold_newest(checkpoints: Checkpoints, target: Path) -> Path | None:
    """Links the newest checkpoint's files, so that they stay while they are sent, however long that takes."""
    while (name := checkpoints.newest_name()) is not None:
        error: OSError | None = None
        try:
            shutil.copytree(checkpoints.directory / name, target / name, copy_function=os.link)
        except OSError as failure:
            error = failure
        # One that is still the newest has not begun to be pruned: all of it was there. Otherwise a newer one is taken.
        if checkpoints.newest_name() == name:
            if error is not None:
                raise error
            return target / name
        shutil.rmtree(target / name, ignore_errors=True)
    return None
