"""Shows how a run goes: a table that is redrawn on a terminal, a line now and then anywhere else.

It reads the same values that go to metrics.jsonl, and has no thread: it is redrawn when it is told something new.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from deploy.process.shown import shown
from deploy.settings.config import RunConfig
from learner.methods import METHODS

LINE_EVERY_SECONDS = 10.0
"""Time between two lines where the output is not a terminal."""

EPISODES_IN_MEAN = 100
"""Success and return that are shown are means over so many last episodes of each driver."""

_UNKNOWN = "–"
_BAR_WIDTH = 10
"""So that the table of a run of millions of steps fits into 80 columns."""


class ProgressDisplay:
    """The display of one run; use it as a context manager."""

    def __init__(
        self,
        title: str,
        goals: Goals,
        *,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is shown before the first `update`.

        Args:
            title: names the run.
            goals: how long it will be.
            stream: where to show it, stdout by default; a terminal gets the live table, anything else plain lines.
            clock: seconds, from anywhere.
        """
        self._title = title
        self._goals = goals
        self._stream = stream or sys.stdout
        self._clock = clock
        self._begun = clock()
        self._next_line = self._begun
        self._values: dict[str, float] = {}
        self._env_steps = 0
        console = Console(file=self._stream)
        # A dumb terminal can move no cursor: it gets lines as well.
        self._live = (
            Live(console=console, auto_refresh=False, transient=False)
            if console.is_terminal and not console.is_dumb_terminal
            else None
        )

    def update(self, env_steps: int, values: Mapping[str, object]) -> None:
        """Shows new values; those that are not given keep their last one.

        Args:
            env_steps: environment steps so far.
            values: keys as in metrics.jsonl: `rate/env_steps`, `teacher/updates`, `actors/success_teacher`, ...
        """
        self._env_steps = env_steps
        numbers = {key: float(value) for key, value in values.items() if isinstance(value, int | float)}
        self._values.update({key: value for key, value in numbers.items() if math.isfinite(value)})
        with shown("progress"):
            if self._live is not None:
                self._live.update(self._table(), refresh=True)
            elif self._clock() >= self._next_line:
                self._next_line = self._clock() + LINE_EVERY_SECONDS
                self._print(self.line())

    def message(self, text: str) -> None:
        """Says something that stays on the screen, above the table."""
        with shown("progress"):
            if self._live is not None:
                self._live.console.print(Text(text))
            else:
                self._print(text)

    def seconds_left(self) -> float | None:
        """Until all goals are reached at the present rates; None while a rate is not known."""
        return seconds_left(self._env_steps, self._values, self._goals)

    def line(self) -> str:
        """Everything in one line."""
        parts = self._goals.updates
        updates = (f"{x} {self._number(f'{x}/updates')} ({self._number(f'rate/{x}_updates', 1)}/s)" for x in parts)
        success = (f"{x} {self._percent(f'actors/success_{x}')}" for x in parts)
        waiting = (f"{x} {self._percent(f'wait/{x}')}" for x in (*parts, "actors"))
        return " | ".join(
            (
                f"{self._title} {_duration(self._clock() - self._begun)}",
                f"{self._env_steps:,}/{self._goals.env_steps:,} steps ({self._number('rate/env_steps')}/s)",
                f"updates: {', '.join(updates)}",
                f"success: {', '.join(success)}",
                f"waiting: {', '.join(waiting)}",
                f"left {_duration(self.seconds_left())}",
            )
        )

    def __enter__(self) -> ProgressDisplay:
        with shown("progress"):
            if self._live is not None:
                self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with shown("progress"):
            if self._live is not None:
                self._live.stop()
            elif self._values:
                self._print(self.line())

    def _print(self, text: str) -> None:
        print(text, file=self._stream, flush=True)

    def _table(self) -> Table:
        table = progress_table(self._env_steps, self._values, self._goals)
        table.title, table.title_justify = self._title, "left"
        table.caption = f"{_duration(self._clock() - self._begun)} so far, {_duration(self.seconds_left())} left"
        table.caption_justify = "left"
        return table

    def _number(self, key: str, digits: int = 0) -> str:
        return _number(self._values, key, digits)

    def _percent(self, key: str) -> str:
        return _percent(self._values, key)


@dataclass(frozen=True)
class Goals:
    """How long a run is.

    Attributes:
        env_steps: environment steps.
        updates: of each part of the method, by its name; None for one that has no number of its own, and is done when
            it has used the rows that are in.
    """

    env_steps: int
    updates: Mapping[str, int | None]

    def to_json(self) -> dict[str, int]:
        """Those there are: `env_steps`, `student_updates`."""
        counted = {f"{name}_updates": count for name, count in self.updates.items() if count is not None}
        return {"env_steps": self.env_steps, **counted}


def goals_of(config: RunConfig) -> Goals:
    """How long a run with these settings is."""
    parts = METHODS[config.learner.method].parts
    updates = {part.name: config.training.student_updates if part.follows else None for part in parts}
    return Goals(config.training.env_steps, updates)


def seconds_left(env_steps: int, values: Mapping[str, float], goals: Goals) -> float | None:
    """Until all goals are reached at the present rates.

    Args:
        env_steps: so far.
        values: keys as in metrics.jsonl.
        goals: of the run.

    Returns:
        Seconds; None while a rate is not known.
    """
    needed = [(float(goals.env_steps - env_steps), "rate/env_steps")]
    for name, count in goals.updates.items():
        if count is not None:
            needed.append((count - values.get(f"{name}/updates", 0.0), f"rate/{name}_updates"))
    longest = 0.0
    for missing, rate in needed:
        if missing <= 0:
            continue
        if values.get(rate, 0.0) <= 0:
            return None
        longest = max(longest, missing / values[rate])
    return longest


def progress_table(env_steps: int, values: Mapping[str, float], goals: Goals) -> Table:
    """How far the environment and each part are, how fast they are, and how long they wait.

    Args:
        env_steps: so far.
        values: keys as in metrics.jsonl; a dash stands where one is not known.
        goals: of the run.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("", style="bold", min_width=11)
    for name in ("done", "", "per second", "success", "waiting"):
        table.add_column(name, justify="left" if name == "" else "right", no_wrap=True)
    table.add_row(
        "environment",
        f"{env_steps:,} / {goals.env_steps:,}",
        ProgressBar(total=goals.env_steps, completed=env_steps, width=_BAR_WIDTH),
        _number(values, "rate/env_steps"),
        "",
        _percent(values, "wait/actors"),
    )
    for name, goal in goals.updates.items():
        done: tuple[str, ProgressBar | str] = (_number(values, f"{name}/updates"), "")
        if goal is not None:
            made = values.get(f"{name}/updates", 0.0)
            bar = ProgressBar(total=max(goal, 1), completed=made if goal else 1, width=_BAR_WIDTH)
            done = f"{made:,.0f} / {goal:,}", bar
        table.add_row(
            name,
            *done,
            _number(values, f"rate/{name}_updates", 1),
            _percent(values, f"actors/success_{name}"),
            _percent(values, f"wait/{name}"),
        )
    return table


def _number(values: Mapping[str, float], key: str, digits: int = 0) -> str:
    return f"{values[key]:,.{digits}f}" if key in values else _UNKNOWN


def _percent(values: Mapping[str, float], key: str) -> str:
    return f"{100 * values[key]:.0f} %" if key in values else _UNKNOWN


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
