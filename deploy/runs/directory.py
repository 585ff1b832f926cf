"""The directory of a run: created or continued by one driver at a time, read by anyone.

    config.json      run id, task, versions and every setting            curves/*.png   learning curves
    metrics.jsonl    what happened (the truth)                           clips/*.gif    episodes to look at
    tensorboard/     the same for TensorBoard                            report.json    the run's result
    checkpoints/     see `deploy.runs.checkpoints`                            report.html    the same with pictures
    replay/          the embedded Redis server's files                   logs/          what else was said
    snapshots/       see `deploy.runs.snapshots`; not in every run            lock             who drives this run
    crashes/         see `deploy.training.crashes`; not in every run
    bundle/          see `deploy.robot.export`; not in every run

The same command with the same directory continues the run. Its settings must then be the run's own, except for those
in `MAY_CHANGE`, which say how long the run is, how it is watched and where it computes, not what is learned.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
import uuid
from dataclasses import field, replace
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from pydantic.dataclasses import dataclass

from deploy.errors import UserError
from deploy.runs.atomic import write_json
from deploy.runs.checkpoints import Checkpoint, Checkpoints, is_sealed
from deploy.runs.documents import DOCUMENT, DocumentError, Name, Text, parse, plain, read_bounded
from deploy.runs.versions import versions
from deploy.settings.config import RunConfig
from deploy.settings.overrides import flatten, from_dict, to_dict
from replay.address import redact
from replay.filesystem import filesystem_of

FORMAT = 1
"""Of config.json; raised when an older reader could not understand it."""

LOCK_SECONDS = 0.2
"""For which a driver tries to have the lock: who asks for the driver (`RunDirectory.driver`) has it for an instant."""

MAY_CHANGE = (
    "mode",
    "redis_url",
    "training.env_steps",
    "training.ahead_rows",
    "training.student_updates",
    "training.metrics_every_seconds",
    "training.metrics_every_updates",
    "training.weights_every_seconds",
    "training.checkpoint_every_seconds",
    "training.checkpoint_every_updates",
    "training.keep_checkpoints",
    "training.snapshot_every_seconds",
    "training.snapshot_every_updates",
    "training.export",
    "evaluation.",
    "actors.count",
    "actors.max",
    "actors.min",
    "actors.max_hours",
    "actors.resize_seconds",
    "actors.resource",
    "actors.num_cpus",
    "actors.start_seconds",
    "actors.hang_seconds",
    "replay.outage_seconds",
    "replay.delete_at_end",
    "learner.resource",
    "learner.device",
    "learner.threads",
)
"""Settings that may be others when a run is continued; one that ends in a dot is a whole group."""


@dataclass(frozen=True, kw_only=True, config=DOCUMENT)
class RunDocument:
    """What config.json says of a run."""

    run_id: Name
    task: Text = ""
    created: Text
    """When the run was begun, ISO 8601."""
    versions: dict[Text, Text] = field(default_factory=dict)
    """Of Python and the packages, when it was last driven."""
    config: dict[str, Any]
    """Every setting, nested as the packages nest them; `parse_config` reads them."""


@dataclass(frozen=True)
class Driver:
    """Who drives a run, or did last.

    Attributes:
        here: whether it is known to be alive: on this machine, whose locks can be seen, or by its signs of life.
        name: "process 12 on HOST"; empty where that is not known.
        elsewhere: whether it may be alive on another machine, whose locks cannot be seen from here.
    """

    here: bool
    name: str
    elsewhere: bool


class RunDirectory:
    """One run on disk. `claim` to drive it, `open` to read it."""

    def __init__(self, path: Path, config: RunConfig, run_id: str, *, resumed: bool, changed: dict[str, Any]) -> None:
        self.path = path
        self.config = config
        self.run_id = run_id
        self.resumed = resumed
        """Whether the run was there before."""
        self.changed = changed
        """Settings that are others than last time: key to (before, now)."""
        self.checkpoints = Checkpoints(path / "checkpoints")
        self._lock: IO[str] | None = None

    @classmethod
    def claim(cls, path: Path, config: RunConfig) -> RunDirectory:
        """Creates the run, or continues it, and locks it against other drivers until `close`.

        Raises:
            UserError: if the path is no directory or not ours to write, holds something else than a run or a run with
                other settings or a corrupt checkpoint, or is being driven by another process. Nothing is changed then.
        """
        check_claimable(path, config)
        if (where := filesystem_of(path)).locks_end_here:
            raise UserError(
                f"run directory {path}: lies on a {where}, where a lock holds for this machine alone: another could "
                "drive the same run; choose a directory elsewhere, or mount it with locks"
            )
        try:
            path.mkdir(parents=True, exist_ok=True)
            lock = take_lock(path / "lock")
        except OSError as error:
            raise UserError(f"run directory {path}: {error.strerror}") from error
        try:
            # Looked at again: another driver may have created the run before we had the lock. The checkpoint is
            # checked here so that a corrupt one leaves config.json as it was.
            found, changed = check_claimable(path, config)
            Checkpoints(path / "checkpoints").latest()
            note_driver(lock)
            run_id = found.run_id if found else uuid.uuid4().hex[:12]
            created = found.created if found else datetime.now(timezone.utc).isoformat(timespec="seconds")
            document = RunDocument(
                run_id=run_id,
                task=config.task,
                created=created,
                versions=versions(),
                config=to_dict(_printable(config)),
            )
            write_config(path, document)
            run = cls(path, config, run_id, resumed=bool(found), changed=changed)
            for directory in (run.tensorboard, run.clips, run.curves, run.logs):
                directory.mkdir(exist_ok=True)
        except BaseException:
            lock.close()
            raise
        run._lock = lock
        return run

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """Opens a run for reading, whether or not it is being driven.

        Raises:
            UserError: if there is no run, or its config.json cannot be read.
        """
        document = read_config(path)
        if document is None:
            reason = "has no config.json, so it is not a run" if path.is_dir() else "is not there"
            raise UserError(f"run directory {path}: {reason}")
        return cls(path, parse_config(path, document), document.run_id, resumed=True, changed={})

    @property
    def metrics(self) -> Path:
        """What happened, line by line."""
        return self.path / "metrics.jsonl"

    @property
    def snapshots(self) -> Path:
        """Weights on the way, for a learning curve."""
        return self.path / "snapshots"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard's event files."""
        return self.path / "tensorboard"

    @property
    def replay(self) -> Path:
        """The embedded Redis server's files."""
        return self.path / "replay"

    @property
    def clips(self) -> Path:
        """Episodes to look at."""
        return self.path / "clips"

    @property
    def curves(self) -> Path:
        """Learning curves."""
        return self.path / "curves"

    @property
    def crashes(self) -> Path:
        """Environments that crashed, see `deploy.training.crashes`; not in every run."""
        return self.path / "crashes"

    @property
    def logs(self) -> Path:
        """What else was said."""
        return self.path / "logs"

    @property
    def report_json(self) -> Path:
        """The run's result."""
        return self.path / "report.json"

    @property
    def report_html(self) -> Path:
        """The run's result with pictures."""
        return self.path / "report.html"

    def driver(self) -> Driver:
        """Who drives the run; asked without getting in a driver's way.

        Raises:
            UserError: the lock cannot be read.
        """
        try:
            with (self.path / "lock").open(encoding="utf-8") as file:
                try:
                    # Shared, and given back at once: drivers try again, and others who ask are not in the way.
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return Driver(here=True, name=file.read().strip() or "another process", elsewhere=False)
                name = file.read().strip()
        except FileNotFoundError:
            return Driver(here=False, name="", elsewhere=True)  # a copy that left it out
        except OSError as error:
            raise UserError(f"{self.path / 'lock'}: {error.strerror}") from error
        return Driver(here=False, name=name, elsewhere=name.rpartition(" on ")[2] != socket.gethostname())

    def newest_checkpoint(self) -> Checkpoint:
        """What the run has learned so far.

        Raises:
            UserError: there is no checkpoint yet, or it is corrupt.
        """
        found = self.checkpoints.latest()
        if found is None:
            raise UserError(f"run directory {self.path}: has no checkpoint yet; train it first")
        return found

    def close(self) -> None:
        """Lets other drivers have the run."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def check_claimable(path: Path, config: RunConfig) -> tuple[RunDocument | None, dict[str, Any]]:
    """Whether `RunDirectory.claim` would take this directory; touches nothing.

    Returns:
        The content of the config.json that is there, or None; and the settings that differ: key to (before, now).

    Raises:
        UserError: as `RunDirectory.claim`, except for the lock.
    """
    if path.exists() and not path.is_dir():
        raise UserError(f"run directory {path}: is a file")
    if is_sealed(path):
        raise UserError(f"run directory {path}: holds a packed policy, which cannot be trained on; give another one")
    document = read_config(path)
    if document is None:
        # `lock` alone is what a driver leaves that was killed before it wrote config.json.
        others = sorted(entry.name for entry in path.iterdir() if not _ours(entry.name)) if path.is_dir() else []
        if others:
            raise UserError(
                f"run directory {path}: holds {others[0]} and no config.json, so it is not a run; "
                "give an empty or a new directory"
            )
        return None, {}
    before, now = flatten(parse_config(path, document)), flatten(_printable(config))
    changed = {key: (before[key], now[key]) for key in now if before[key] != now[key]}
    for key, (old, new) in changed.items():
        if not _may_change(key):
            raise UserError(
                f"run directory {path}: is a run with {key} = {_show(old)}, not {_show(new)}; "
                "give another --run-dir, or the settings it was begun with"
            )
    return document, changed


def _printable(config: RunConfig) -> RunConfig:
    return config if config.redis_url is None else replace(config, redis_url=redact(config.redis_url))


def _may_change(key: str) -> bool:
    return any(key.startswith(allowed) if allowed.endswith(".") else key == allowed for allowed in MAY_CHANGE)


def _ours(name: str) -> bool:
    return name == "lock" or name.startswith(".config.json.")


def _show(value: Any) -> str:
    return json.dumps(value) if not isinstance(value, str) else value


def read_config(path: Path) -> RunDocument | None:
    """What config.json in this directory says; None where there is none.

    Raises:
        UserError: naming the file and what is wrong with it.
    """
    file = path / "config.json"
    try:
        return parse(read_bounded(file), RunDocument, FORMAT)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}") from error
    except DocumentError as error:
        raise UserError(f"{file}: {error}") from error


def write_config(path: Path, document: RunDocument) -> None:
    """Replaces config.json in this directory."""
    write_json(path / "config.json", {"format": FORMAT, **plain(document)})


def parse_config(path: Path, document: RunDocument) -> RunConfig:
    """The settings in what `read_config` gave for this directory; those that it does not have take their defaults.

    Raises:
        UserError: naming the file, for a setting that is not known (any more) or has an impossible value.
    """
    try:
        return from_dict(RunConfig, document.config)
    except ValueError as error:
        raise UserError(f"{path / 'config.json'}: {error}") from error


def take_lock(path: Path) -> IO[str]:
    """Takes the lock of a run, which ends with the process however that ends.

    Args:
        path: of the file to lock, in the run's directory.

    Returns:
        The file; closing it lets others have the lock.

    Raises:
        UserError: if a driver that is alive has it.
    """
    file = path.open("a+", encoding="utf-8")
    patience = time.monotonic() + LOCK_SECONDS
    try:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return file
            except BlockingIOError:
                if time.monotonic() > patience:
                    file.seek(0)
                    holder = file.read().strip() or "another process"
                    raise UserError(f"run directory {path.parent}: is being driven by {holder}") from None
            time.sleep(0.02)
    except BaseException:
        file.close()
        raise


def note_driver(lock: IO[str]) -> None:
    """Writes down who has the lock, for the message to others."""
    with contextlib.suppress(OSError):
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {socket.gethostname()}")
        lock.flush()
