"""RUN/learning_curve.csv: what the snapshots of a run could do, one evaluation a line, in the order they were made."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deploy.errors import UserError
from deploy.runs.atomic import write_text
from deploy.runs.intervals import wilson

NAME = "learning_curve.csv"
"""In the run's directory."""


@dataclass(frozen=True)
class CurvePoint:
    """One policy's success at one moment of a run; the fields are the file's columns.

    Attributes:
        seconds: for which the run had run.
        env_steps: environment steps so far.
        teacher_updates: so far, of parts that follow no other: the teacher, in methods that have one.
        student_updates: so far, of parts that follow.
        policy: a driver of the method, such as "teacher" or "student".
        domain: of the worlds that it was evaluated in.
        episodes: of the evaluation.
        successes: of these.
    """

    seconds: float
    env_steps: int
    teacher_updates: int
    student_updates: int
    policy: str
    domain: str
    episodes: int
    successes: int


COLUMNS = tuple(field.name for field in dataclasses.fields(CurvePoint))
_KINDS: dict[str, Callable[[str], object]] = {"seconds": float, "policy": str, "domain": str}


class CurveFile:
    """The file, which grows line by line: whoever is interrupted goes on after the last whole one."""

    def __init__(self, path: Path) -> None:
        """Opens or begins the file; a line that was cut off is removed.

        Raises:
            UserError: it is something else.
        """
        self.path = path
        if not path.exists():
            write_text(path, ",".join(COLUMNS) + "\n")
        whole = _whole_lines(path)
        self.points = _parse(path, whole.decode(errors="replace"))
        if len(whole) < path.stat().st_size:
            write_text(path, whole.decode())

    def add(self, point: CurvePoint) -> None:
        """Appends one line, which is with the operating system when this returns."""
        with self.path.open("a", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(getattr(point, column) for column in COLUMNS)
        self.points.append(point)


def read_points(path: Path) -> list[CurvePoint]:
    """The whole lines of the file, also while another process adds to it; none where it is not there.

    Raises:
        UserError: it is something else; naming file and line.
    """
    return _parse(path, _whole_lines(path).decode(errors="replace")) if path.exists() else []


def _whole_lines(path: Path) -> bytes:
    content = path.read_bytes()
    return content[: content.rfind(b"\n") + 1]


def _parse(path: Path, text: str) -> list[CurvePoint]:
    rows = list(csv.reader(text.splitlines()))
    if not rows or tuple(rows[0]) != COLUMNS:
        raise UserError(f"{path}: does not begin with {','.join(COLUMNS)}; put it out of the way")
    points = []
    for number, row in enumerate(rows[1:], start=2):
        try:
            values = {name: _KINDS.get(name, int)(text) for name, text in zip(COLUMNS, row, strict=True)}
            point = CurvePoint(**values)  # type: ignore[arg-type]
            wilson(point.successes, point.episodes)  # refuses more successes than episodes
        except ValueError as error:
            raise UserError(f"{path}, line {number}: {error}") from error
        points.append(point)
    return points
