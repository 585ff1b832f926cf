"""Checkpoints of a run: written whole or not at all, checked before they are read.

    checkpoints/step_000012000/weights.safetensors     and whatever else the writer puts there
    checkpoints/step_000012000/checkpoint.json         format, step, each file's size and SHA-256, the writer's words
    checkpoints/latest                                 the name of the one to continue from

A checkpoint appears by one rename, so a killed writer leaves at most a `.writing-*` directory, which the next writer
removes. A second one of the same step is `step_000012000-2`: none is ever replaced, so that what a name stands for does
not change under a reader, here or on remote storage. `latest` is followed when the directory it names is there;
otherwise (it was deleted, or the writer was killed between the two renames) the one with the highest step is taken.

A checkpoint that fails its check is refused, not skipped: going on from an older one throws away work and, in an
evaluation, gives figures of another policy, so a person decides. The message says how: delete the broken one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

from annotated_types import MaxLen
from pydantic import StringConstraints
from pydantic.dataclasses import dataclass

from deploy.errors import UserError
from deploy.runs.atomic import new_directory, write_json, write_text
from deploy.runs.documents import DOCUMENT, Count, DocumentError, FormatError, parse, plain, read_bounded, validate
from learner.methods.documents import updates_of

FORMAT = 1
"""Raised when an older reader could not understand what a newer writer writes."""

FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$")]
"""Below the checkpoint's directory: no absolute path, no `..`."""

_NAME = re.compile(r"step_(\d{9,})(?:-(\d+))?")
_DOCUMENT = "checkpoint.json"
_LOOKS = 3
"""A writer may delete the one that was the newest a moment ago."""


@dataclass(frozen=True, config=DOCUMENT)
class Fingerprint:
    """Of one file."""

    bytes: Count
    sha256: Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]


@dataclass(frozen=True, config=DOCUMENT)
class Seal:
    """What checkpoint.json says."""

    step: Count
    """Environment steps when it was written."""
    files: Annotated[dict[FileName, Fingerprint], MaxLen(1_000)]
    """Every other file below the directory."""
    document: dict[str, Any]
    """What the writer said: of a run, `learner` (see `LearnerDocument`), `metrics_offset` and, of the last one,
    `complete`."""


@dataclass(frozen=True, config=DOCUMENT)
class LearnerDocument:
    """What a run's checkpoint says of the learner, as far as it is read outside of the learner."""

    teacher_updates: Count | None = None
    """Of methods that have a teacher; each part of another has a key of its own."""
    student_updates: Count | None = None
    """Of methods that have a student."""
    format: Count = 0
    """Of the arrays; `learner.checkpoint` says which are read."""
    spec: Annotated[str, MaxLen(2**20)] = ""
    """What the networks see and do, JSON of `replay.schema.StreamSpec`."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose files have been checked, unless it was only peeked at."""

    path: Path
    step: int
    """Environment steps when it was written."""
    document: Mapping[str, Any]
    """What the writer gave to `Checkpoints.save`."""

    def learner(self) -> dict[str, Any]:
        """What a run's checkpoint says of the learner, with at least what `LearnerDocument` has.

        Raises:
            UserError: naming the file and what is wrong with it.
        """
        found = self.document.get("learner")
        try:
            if not isinstance(found, dict):
                raise DocumentError("has no 'document.learner'")
            validate(found, LearnerDocument)
            updates_of(found)
        except ValueError as error:
            raise UserError(str(_CorruptError(self.path / _DOCUMENT, str(error)))) from error
        return found

    def updates(self) -> dict[str, int]:
        """That each part of the learner's method has had, by its name.

        Raises:
            UserError: as `learner`.
        """
        return updates_of(self.learner())


class Checkpoints:
    """The checkpoints of one run."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def names(self) -> list[str]:
        """The complete checkpoints, oldest first."""
        if not self.directory.is_dir():
            return []
        found = [path.name for path in self.directory.iterdir() if path.is_dir() and _NAME.fullmatch(path.name)]
        return sorted(found, key=_place)

    def save(
        self, step: int, document: Mapping[str, Any], write: Callable[[Path], None], *, keep: int | None = None
    ) -> Checkpoint:
        """Writes a checkpoint and points `latest` at it.

        Args:
            step: environment steps so far.
            document: JSON-able; returned as `Checkpoint.document`.
            write: puts the checkpoint's files into the directory it is given.
            keep: how many of the newest stay; None keeps all.
        """
        path = self.directory / self._new_name(step)
        with new_directory(path) as unfinished:
            write(unfinished)
            seal(unfinished, step, document)
        write_text(self.directory / "latest", path.name + "\n")
        self._prune(path.name, keep)
        return Checkpoint(path, step, dict(document))

    def newest_name(self) -> str | None:
        """The name of the one to continue from, which has not been checked; None where there is none."""
        names = self.names()
        pointed_at = self._pointed_at()
        return pointed_at if pointed_at in names else next(reversed(names), None)

    def latest(self) -> Checkpoint | None:
        """The checkpoint to continue from, checked; None where there is none.

        Raises:
            UserError: naming the file and what is wrong with it.
        """
        name = self.newest_name()
        if name is None:
            return None
        try:
            return self._read(name)
        except _CorruptError as error:
            older = [other for other in self.names() if other != name]
            advice = f"delete {self.directory / name} to "
            advice += f"take {older[-1]} instead" if older else "begin without a checkpoint; there is no other one"
            raise UserError(f"{error}; {advice}") from error

    def peek(self) -> Checkpoint | None:
        """What `latest` gives, its files unchecked: quick, and safe while the next one is being written.

        Returns:
            None, too, where it is gone or broken; `latest` says how.

        Raises:
            UserError: it is of a newer format.
        """
        for _ in range(_LOOKS):
            name = self.newest_name()
            if name is None:
                return None
            path = self.directory / name
            with contextlib.suppress(_CorruptError):
                written = _read_document(path / _DOCUMENT)
                return Checkpoint(path, written.step, written.document)
        return None

    def _new_name(self, step: int) -> str:
        number = max((_place(name)[1] for name in self.names() if _place(name)[0] == step), default=0) + 1
        return f"step_{step:09d}" + (f"-{number}" if number > 1 else "")

    def _pointed_at(self) -> str:
        try:
            return (self.directory / "latest").read_text(encoding="utf-8").strip()
        except (FileNotFoundError, UnicodeDecodeError):
            return ""

    def _prune(self, written: str, keep: int | None) -> None:
        others = [name for name in self.names() if name != written]
        surplus = 0 if keep is None else len(others) + 1 - max(keep, 1)
        for name in others[: max(surplus, 0)]:
            shutil.rmtree(self.directory / name)

    def _read(self, name: str) -> Checkpoint:
        found = _read_sealed(self.directory / name)
        if found.step != _place(name)[0]:
            raise _CorruptError(found.path / _DOCUMENT, f"says step {found.step}")
        return found


def seal(directory: Path, step: int, document: Mapping[str, Any]) -> None:
    """Writes the checkpoint.json of what lies in a directory, which makes it a checkpoint."""
    files = {file.relative_to(directory).as_posix(): _fingerprint(file) for file in _files(directory)}
    write_json(directory / _DOCUMENT, {"format": FORMAT, **plain(Seal(step, files, dict(document)))})


def is_sealed(directory: Path) -> bool:
    """Whether there is a checkpoint.json."""
    return os.path.isfile(directory / _DOCUMENT)  # False, too, where we may not look


def read_sealed(directory: Path) -> Checkpoint:
    """Reads a checkpoint that lies by itself, and checks it.

    Raises:
        UserError: naming the file and what is wrong with it.
    """
    try:
        return _read_sealed(directory)
    except _CorruptError as error:
        raise UserError(str(error)) from error


def _read_sealed(path: Path) -> Checkpoint:
    written = _read_document(path / _DOCUMENT)
    for file, expected in written.files.items():
        _check_file(path / file, expected)
    return Checkpoint(path, written.step, written.document)


class _CorruptError(Exception):
    def __init__(self, file: Path, reason: str) -> None:
        super().__init__(f"corrupt checkpoint: {file}: {reason}")


def _place(name: str) -> tuple[int, int]:
    """Its step, and which one of that step it is."""
    step, _, number = name.removeprefix("step_").partition("-")
    return int(step), int(number or 1)


def _files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file())


def _fingerprint(file: Path) -> Fingerprint:
    with file.open("rb") as stream:
        return Fingerprint(file.stat().st_size, _sha256(stream))


def _sha256(stream: Any) -> str:
    digest = hashlib.sha256()
    while block := stream.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def _read_document(file: Path) -> Seal:
    try:
        return parse(read_bounded(file), Seal, FORMAT)
    except FileNotFoundError:
        raise _CorruptError(file, "is missing") from None
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}") from error
    except FormatError as error:
        raise UserError(f"{file}: {error}") from None
    except DocumentError as error:
        raise _CorruptError(file, str(error)) from None


def _check_file(file: Path, expected: Fingerprint) -> None:
    if not file.is_file():
        raise _CorruptError(file, "is missing")
    if file.stat().st_size != expected.bytes:
        raise _CorruptError(file, f"has {file.stat().st_size} bytes, {expected.bytes} were written")
    try:
        found = _fingerprint(file)
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}") from error
    if found != expected:
        raise _CorruptError(file, "does not match its SHA-256: its contents have changed")
