"""What happened in a run, line by line: metrics.jsonl is the truth, TensorBoard's files are made from the same calls.

Each line is one JSON object with `time` (unix seconds), `step` (environment steps), `kind` ("train", "episode",
"evaluation" or "event") and flat values such as `teacher/loss_state`. A value that is not finite is written as null.

There is one writer. It has no thread: every line is with the operating system when `write` returns, so that SIGKILL
loses none of them, and a line cut off by a power failure is removed when the file is next opened.

Continuing a run (`rewind`). The checkpoint records how long the file was when it was written. What the learner did
after that is lost with the learner's weights (and is made again from the replay, see `replay.limiter`), so its lines
("train", "evaluation") are taken out: update counters never run backwards and nothing is counted twice. What the
environments did is not lost, as the replay outlives the learner: lines of kind "episode" stay, up to the step from
which the run goes on (all of them, if the replay is whole). "event" lines always stay. The lines taken out are kept in
logs/.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Literal

from deploy.process.shown import shown
from deploy.reporting.tensorboard_file import TensorBoardFile

Kind = Literal["train", "episode", "evaluation", "event"]
Value = float | int | str | bool | None

_BLOCK_BYTES = 2**18
"""Read at a time from the end of a file; a few dozen lines."""


class MetricsWriter:
    """Appends to metrics.jsonl and TensorBoard's files."""

    def __init__(self, path: Path, tensorboard: Path | None = None, *, clock: Callable[[], float] = time.time) -> None:
        """Opens or continues the file.

        Args:
            path: metrics.jsonl; created if it is not there.
            tensorboard: directory for TensorBoard's files; None writes none.
            clock: gives `time`, in unix seconds.
        """
        self._path = path
        self._clock = clock
        _remove_partial_line(path)
        self._file = path.open("ab")
        self._tensorboard_directory = tensorboard
        self._tensorboard: TensorBoardFile | None = None

    @property
    def offset(self) -> int:
        """Bytes written so far: what a checkpoint records for `rewind`."""
        return self._file.tell()

    def write(self, kind: Kind, step: int, values: Mapping[str, Value]) -> None:
        """Appends one line.

        Args:
            kind: what the line is about.
            step: environment steps so far.
            values: flat, keys with slashes; numbers also go to TensorBoard.

        Raises:
            OSError: the file cannot be written.
        """
        now = self._clock()
        row: dict[str, Any] = {"time": now, "step": step, "kind": kind}
        row.update({key: _finite(value) for key, value in values.items()})
        with self._errors():
            self._file.write(json.dumps(row, allow_nan=False).encode() + b"\n")
            self._file.flush()
        self._to_tensorboard(row)

    def rewind(self, offset: int, step: int, taken_out: Path) -> int:
        """Goes back to a checkpoint; see the top of this file for what stays.

        Args:
            offset: the file's length that the checkpoint recorded; 0 when a run goes on without a checkpoint.
            step: environment steps from which the run goes on.
            taken_out: JSONL file to which the lines taken out are appended.

        Returns:
            How many lines were taken out.
        """
        before: list[bytes] = []
        stay: list[bytes] = []
        out: list[bytes] = []
        end = 0
        for number, line in enumerate(self._path.read_bytes().splitlines(keepends=True), start=1):
            end += len(line)
            if end <= offset:
                before.append(line)
                continue
            row = _parse(self._path, number, line)
            stays = row["kind"] == "event" or (row["kind"] == "episode" and row["step"] <= step)
            (stay if stays else out).append(line)
        if out:
            with taken_out.open("ab") as file:
                file.writelines(out)
            self._replace(before + stay)
            self._restart_tensorboard(out, stay)
        return len(out)

    def sync(self) -> None:
        """Forces the lines to disk, as before a checkpoint that counts on them."""
        with self._errors():
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Closes the files."""
        self._file.close()
        if self._tensorboard is not None:
            with shown("TensorBoard"):
                self._tensorboard.close()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from error  # with the file's name

    def _replace(self, lines: list[bytes]) -> None:
        temporary = self._path.with_name(f".{self._path.name}.rewound")
        with temporary.open("wb") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        self._file.close()
        os.replace(temporary, self._path)
        self._file = self._path.open("ab")

    def _restart_tensorboard(self, out: list[bytes], stay: list[bytes]) -> None:
        # TensorBoard drops all points from a step on, so those that stay are written once more behind the mark.
        if self._tensorboard_directory is None:
            return
        first = min(int(json.loads(line)["step"]) for line in out)
        with shown("TensorBoard"):
            if self._tensorboard is not None:
                self._tensorboard.close()
            self._tensorboard = TensorBoardFile(self._tensorboard_directory, from_step=first)
        for line in stay:
            row = json.loads(line)
            if row["step"] >= first:
                self._to_tensorboard(row)

    def _to_tensorboard(self, row: Mapping[str, Any]) -> None:
        if self._tensorboard_directory is None:
            return
        numbers = {
            key: float(value)
            for key, value in row.items()
            if key not in ("time", "step", "kind") and isinstance(value, int | float)
        }
        with shown("TensorBoard"):
            if self._tensorboard is None:
                self._tensorboard = TensorBoardFile(self._tensorboard_directory)
            if numbers:
                self._tensorboard.write(row["step"], numbers, row["time"])


def read_metrics(path: Path, kind: Kind | None = None) -> Iterator[dict[str, Any]]:
    """The lines of a metrics.jsonl, also of one that is being written; null comes back as NaN.

    Args:
        path: the file; without one there are no lines.
        kind: only lines of this kind; the others are hardly looked at, so that few lines of a long file come quickly.

    Raises:
        ValueError: naming file and line, if a line that is complete and may be of that kind is not a JSON object.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return  # still being written
            if _may_be(kind, line):
                row = _parse(path, number, line)
                if kind is None or row["kind"] == kind:
                    yield _restored(row)


def read_last(path: Path, count: int, kind: Kind | None = None, *, before: int | None = None) -> list[dict[str, Any]]:
    """The last lines of a metrics.jsonl, read from its end: of a long file, only as much as is needed.

    Args:
        path: the file; without one there are no lines.
        count: how many, at most.
        kind: only lines of this kind.
        before: only lines that end within so many bytes from the file's beginning; None: all.

    Returns:
        As `read_metrics`, oldest first.

    Raises:
        ValueError: naming the file, if a line that is complete and may be of that kind is not a JSON object.
    """
    if not path.exists():
        return []
    found: list[dict[str, Any]] = []
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        for line in _backwards(file, end if before is None else min(before, end)):
            if len(found) == count:
                break
            if _may_be(kind, line):
                row = _parse(path, None, line)
                if kind is None or row["kind"] == kind:
                    found.append(_restored(row))
    return found[::-1]


def _backwards(file: BinaryIO, end: int) -> Iterator[bytes]:
    """The complete lines that end within the first `end` bytes, last one first."""
    rest, whole = b"", False
    while end > 0:
        begin = max(end - _BLOCK_BYTES, 0)
        file.seek(begin)
        rest, *lines = (file.read(end - begin) + rest).split(b"\n")
        if lines and not whole:
            lines.pop()  # nothing, or a line that is still being written
            whole = True
        yield from reversed(lines)
        end = begin
    if whole:
        yield rest


def _may_be(kind: Kind | None, line: bytes) -> bool:
    return kind is None or b'"%s"' % kind.encode() in line


def _restored(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: math.nan if value is None else value for key, value in row.items()}


def _parse(path: Path, number: int | None, line: bytes) -> dict[str, Any]:
    where = f"{path}, a line near the end" if number is None else f"{path}, line {number}"
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{where}: is not JSON: {error}") from None
    if not isinstance(row, dict) or not {"time", "step", "kind"} <= row.keys():
        raise ValueError(f"{where}: is not an object with time, step and kind")
    return row


def _finite(value: Value) -> Value:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _remove_partial_line(path: Path) -> None:
    if not path.exists():
        return
    with path.open("r+b") as file:
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole != len(content):
            file.truncate(whole)
