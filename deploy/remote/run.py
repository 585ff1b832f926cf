"""Runs whose directories lie on remote storage: where their files lie here, and how those are fetched to be read.

    CACHE/remote-runs/driven/NAME-HASH/run/    the working copy of a driver; see `deploy.remote.mirror`
    CACHE/remote-runs/read/NAME-HASH/run/      what commands that read the run have fetched; what they write goes back

CACHE is, as for the simulator's files, `$TWIST_CACHE`, else `$XDG_CACHE_HOME/twist`, else `~/.cache/twist`. All of it
may be deleted when no command runs, but for a working copy whose last upload failed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from deploy.errors import RunEndedError, UserError, user_errors
from deploy.process import signals
from deploy.process.places import is_url
from deploy.remote.driver import FILE as DRIVER
from deploy.remote.driver import DriverEntry
from deploy.remote.storage import Storage, StorageError
from deploy.runs.atomic import write_json, write_text
from deploy.runs.directory import Driver

VARIABLE: Final = "TWIST_CACHE"

SEALED_BY: Final = "checkpoint.json"
"""Written last into a checkpoint or a snapshot: without it, the directory is not whole."""

LATEST: Final = "checkpoints/latest"

_NOT_READ: Final = ("tensorboard/", "logs/")
"""No command that reads a run needs these."""

_SELDOM_READ: Final = ("snapshots/", "episodes")
"""Some do; others leave what is here of them."""

_ATTEMPTS: Final = 5
"""To read a run whose checkpoint is replaced by a newer one meanwhile."""


def cache_place(use: str, url: str) -> Path:
    """The directory for one run.

    Args:
        use: "driven" or "read".
        url: of the run, without slashes at its end.
    """
    base = os.environ.get(VARIABLE) or os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "twist")
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", url.rpartition("/")[2])[:60].lstrip(".") or "run"
    digest = hashlib.sha256(url.encode()).hexdigest()[:12]
    return Path(base).expanduser().absolute() / "remote-runs" / use / f"{name}-{digest}"


def whole_files(files: Mapping[str, str]) -> dict[str, str]:
    """Those of a run's files that can be taken: not of a checkpoint or a snapshot that is being written.

    Args:
        files: `Storage.list()` of the run's directory.
    """

    def whole(name: str) -> bool:
        parts = name.split("/")
        sealed = parts[0] in ("checkpoints", "snapshots") and len(parts) > 2
        return not sealed or "/".join([*parts[:2], SEALED_BY]) in files

    def of_a_run(name: str) -> bool:
        return name not in (DRIVER, LATEST) and not any(part.startswith(".") for part in name.split("/"))

    return {name: version for name, version in files.items() if of_a_run(name) and whole(name)}


def sent_files(directory: Path, *, without: Collection[str] = ()) -> list[tuple[str, Path]]:
    """What goes to the storage of a directory here; what makes a checkpoint or a snapshot whole comes last.

    Args:
        directory: a run's, or one below it. Hidden files in it are being written.
        without: files and directories at its top that are left out.

    Returns:
        Name, with slashes, and path of each file.
    """
    found = []
    for parent, directories, names in os.walk(directory):
        at_top = without if Path(parent) == directory else ()
        directories[:] = [name for name in directories if not name.startswith(".") and name not in at_top]
        paths = [Path(parent, name) for name in names if not name.startswith(".") and name not in at_top]
        found += [(path.relative_to(directory).as_posix(), path) for path in paths]
    return sorted(found, key=lambda one: (one[1].name == SEALED_BY, one[0]))


def version_here(path: Path) -> list[int]:
    """What changes when a local file does: its size in bytes and its time of change in ns.

    Raises:
        OSError: it is not there.
    """
    about = path.stat()
    return [about.st_size, about.st_mtime_ns]


def require_run(storage: Storage, files: Mapping[str, str]) -> None:
    """Refuses a directory that holds something, but no run.

    Raises:
        UserError: naming what it holds.
    """
    foreign = sorted(set(files) - {DRIVER})
    if foreign and "config.json" not in files:
        raise UserError(f"run directory {storage.url}: holds {foreign[0]} and no config.json, so it is not a run")


def fetch_all(storage: Storage, target: Path) -> None:
    """Fetches all that a driver needs to continue a run.

    Args:
        storage: of the run, which nobody drives.
        target: a new directory.

    Raises:
        StorageError: the storage does not answer.
    """
    files = storage.list()
    for name in (*whole_files(files), LATEST):
        if name in files:
            storage.get(name, target / name)


@contextlib.contextmanager
def named_by_url(path: Path, url: str) -> Iterator[None]:
    """In the block, errors that name the local files of a run name its URL instead."""
    try:
        yield
    except (UserError, RunEndedError) as error:
        if str(path) not in str(error):
            raise
        raise type(error)(str(error).replace(str(path), url)) from error


@contextlib.contextmanager
def local_run(name: str, *, snapshots: bool = False, episodes: bool = False, written: bool = False) -> Iterator[str]:
    """A run to read, on this machine: fetched, if it lies on remote storage, as far as it has changed.

    What is written into the run directory in the block goes to the storage at its end.

    Args:
        name: URL of a run or of a packed policy; anything else is left to whoever opens it.
        snapshots: whether the run's snapshots are needed.
        episodes: whether its episodes are.
        written: whether something will be written: then the storage is asked for that first.

    Yields:
        The path of the run directory; `name` if it is no URL.

    Raises:
        UserError: the URL is not allowed, there is no run, or the storage does not answer.
        RunEndedError: what was written could not be sent.
    """
    if not is_url(name):
        yield name
        return
    storage = Storage(name)
    place = cache_place("read", storage.url)
    run = place / "run"
    with user_errors():
        place.mkdir(parents=True, exist_ok=True)
    with named_by_url(run, storage.url):
        try:
            if written:
                storage.require_writable()
            with user_errors(), _alone(place / "lock"):
                wanted = {"snapshots/": snapshots, "episodes": episodes}
                not_read = tuple(part for part in _SELDOM_READ if not wanted[part])
                _fetch_changed(storage, run, place / "fetched.json", (*_NOT_READ, *not_read))
        except StorageError as error:
            raise UserError(f"run directory {error}") from error
        before = _versions(run)
        try:
            yield str(run)
        finally:
            changed = [file for file, now in _versions(run).items() if before.get(file) != now]
            signals.within_grace(lambda: _send(storage, run, changed))


def remote_driver(name: str) -> Driver | None:
    """Who drives a run that lies on remote storage; None for a path, where the directory's lock tells.

    Raises:
        UserError: the storage does not answer.
    """
    if not is_url(name):
        return None
    try:
        return DriverEntry(Storage(name), copy="").driver()
    except StorageError as error:
        raise UserError(f"run directory {error}") from error


def _fetch_changed(storage: Storage, run: Path, record: Path, not_read: tuple[str, ...]) -> None:
    """Brings the local files up to date; of the checkpoints, the one that `latest` names is taken.

    Args:
        storage: of the run.
        run: its directory here.
        record: what has been fetched.
        not_read: beginnings of the names that are left out.

    Raises:
        UserError: there is no run, or it changes faster than it can be read.
        StorageError: the storage does not answer.
    """
    for _ in range(_ATTEMPTS):
        files = storage.list()
        require_run(storage, files)
        if "config.json" not in files:
            raise UserError(f"run directory {storage.url}: is not there")
        latest = (storage.read(LATEST) or b"").decode("utf-8", "replace").strip()
        newest = f"checkpoints/{latest}/"
        wanted = {
            name: version
            for name, version in whole_files(files).items()
            if not name.startswith(not_read) and (not name.startswith("checkpoints/") or name.startswith(newest))
        }
        if latest and newest + SEALED_BY not in wanted:
            continue  # it was replaced between the two questions
        if _get(storage, run, record, wanted):
            break
    else:
        raise UserError(f"run directory {storage.url}: changes while it is read; try again")
    checkpoints = run / "checkpoints"
    if latest:
        write_text(checkpoints / "latest", latest + "\n")
    for directory in checkpoints.iterdir() if checkpoints.is_dir() else ():
        if directory.is_dir() and directory.name != latest:
            shutil.rmtree(directory, ignore_errors=True)


def _get(storage: Storage, run: Path, record: Path, wanted: Mapping[str, str]) -> bool:
    """Fetches what is another version than last time; whether all of it was there."""
    fetched = read_record(record)
    for name in fetched.keys() - wanted.keys():
        if not name.startswith(_SELDOM_READ):  # which only some commands want
            (run / name).unlink(missing_ok=True)
            del fetched[name]
    try:
        for name, version in wanted.items():
            if fetched.get(name) == version and (run / name).is_file():
                continue
            fetched.pop(name, None)
            if not storage.get(name, run / name):
                return False
            fetched[name] = version
    finally:
        write_json(record, fetched)
    return True


def read_record(record: Path) -> dict[str, Any]:
    """What was sent or fetched; nothing where that is not known (any more): then all of it is once more."""
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return dict(found) if isinstance(found, dict) else {}


def _versions(run: Path) -> dict[str, list[int]]:
    """Of the files that commands may write."""
    return {name: version_here(path) for name, path in sent_files(run, without=("checkpoints",))}


def _send(storage: Storage, run: Path, names: list[str]) -> None:
    try:
        for name in names:
            storage.put(run / name, name)
    except StorageError as error:
        raise RunEndedError(f"run directory {error}; what was written stays in {run.parent}") from error


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Waits for other commands of this machine that fetch the same run."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
