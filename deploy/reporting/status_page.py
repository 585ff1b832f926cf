"""A run's status for a person at a terminal, in 80 columns and about 25 lines."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from deploy.reporting.formats import format_duration, format_number, format_percent
from deploy.reporting.progress import EPISODES_IN_MEAN, progress_table
from deploy.reporting.status import ELSEWHERE, FINISHED, PRESENT_SECONDS, RUNNING, STOPPED, Event, RunStatus

LATE_LINES, LATE_SECONDS = 5, 30.0
"""A line of metrics is late after so many of its periods, and so many seconds more."""

_STYLES = {RUNNING: "bold green", FINISHED: "bold green", STOPPED: "bold yellow", ELSEWHERE: "bold yellow"}


def print_status(status: RunStatus, console: Console) -> None:
    """Prints it.

    Args:
        status: what to print.
        console: where.
    """
    console.print(Text(f"{status.task}, seed {status.seed}, mode {status.mode}, run {status.run_id}", style="bold"))
    console.print(Text(_state(status), style=_STYLES[status.state]))
    console.print()
    console.print(progress_table(status.env_steps, status.values, status.goals))
    over = "the whole run" if status.state == FINISHED else f"the last {PRESENT_SECONDS:.0f} s"
    note = f"success: of each driver's last {EPISODES_IN_MEAN} episodes; waiting: share of {over}"
    console.print(Text(note, style="dim"))
    console.print()
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="bold", no_wrap=True, min_width=11)
    grid.add_column(overflow="fold")
    for name, text in _rows(status):
        grid.add_row(name, Text(text))
    console.print(grid)
    if status.events:
        console.print()
        console.print(_events(status))


def _state(status: RunStatus) -> str:
    age = "no line of metrics yet"
    if status.age_seconds is not None:
        age = f"last line of metrics {format_duration(status.age_seconds)} ago"
    if status.state == RUNNING:
        doing = "trained, now evaluated" if status.evaluating else "running"
        return f"{doing}, by {status.driver}; {age}{'' if status.evaluating else _late(status)}"
    if status.state == FINISHED:
        return f"finished; {age}"
    if status.state == STOPPED:
        return f"stopped, the same command continues it; {age}"
    by = status.driver or "a process that left no name"
    return f"driven by {by} when seen last: its lock cannot be seen from here; {age}"


def _late(status: RunStatus) -> str:
    every = status.line_every_seconds
    if every is None or status.age_seconds is None or status.age_seconds < LATE_LINES * every + LATE_SECONDS:
        return ""
    return f", though one is due every {every:g} s"


def _rows(status: RunStatus) -> Iterator[tuple[str, str]]:
    if status.report is not None:
        shown = (f"{x.policy} {format_percent(x.success)} ({x.seen})" for x in status.report.headline())
        yield "result", ", ".join(shown)
    yield "time", _time(status)
    if status.checkpoint is None:
        yield "checkpoint", "none"
    else:
        age = status.checkpoint_age_seconds
        ago = "" if age is None else f", written {format_duration(age)} ago"
        yield "checkpoint", f"at {status.checkpoint_step or 0:,} steps{ago}"
    if status.bottleneck:
        yield "waiting", status.bottleneck
    yield "actors", _actors(status)
    yield "replay", _replay(status)
    faults = ", ".join(f"{what}: {count:,}" for what, count in status.faults.described() if count)
    yield "faults", faults or "none"


def _time(status: RunStatus) -> str:
    spent = format_duration(status.wall_seconds)
    if status.state == FINISHED:
        return spent
    if status.state == STOPPED or status.evaluating:
        return f"{spent} so far"
    if status.seconds_left is None:
        return f"{spent} so far, not known how much is left"
    return f"{spent} so far, about {format_duration(status.seconds_left)} left"


def _actors(status: RunStatus) -> str:
    least, most = status.actors_allowed
    allowed = f"{most}" if least == most else f"{least} to {most}"
    text = f"{format_number(status.values.get('actors/running', math.nan))} running of {allowed}"
    if status.decision is not None:
        age = format_duration(status.decision.age_seconds)
        text += f"; last decision {age} ago: {status.decision.details.get('reason', 'not written down')}"
    return text


def _replay(status: RunStatus) -> str:
    def value(name: str) -> float:
        return status.values.get(f"replay/{name}", math.nan)

    mib = 2.0**20
    rows = f"{format_number(value('rows'))} of {status.capacity['rows']:,} rows"
    held = f"{format_number(value('bytes') / mib)} of {status.capacity['bytes'] / mib:,.0f} MiB"
    evicted = value("evicted_rows")
    text = f"{rows}, {held}; " + (f"{evicted:,.0f} rows evicted" if evicted > 0 else "nothing evicted")
    if status.replay_away:
        text += "; Redis is away" if status.state == RUNNING else "; Redis was away when it was seen last"
    return text


def _events(status: RunStatus) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(justify="right", no_wrap=True, min_width=11)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for event in status.events:
        ago = f"{format_duration(event.age_seconds)} ago"
        table.add_row(Text(ago, style="dim"), Text(_words(event.name)), Text(_details(event)))
    return table


def _details(event: Event) -> str:
    # Sentences need no name.
    shown = (
        f"{value}" if key in ("reason", "cause") else f"{_words(key)}: {_plain(value)}"
        for key, value in event.details.items()
    )
    return ", ".join(shown)


def _plain(value: object) -> str:
    return f"{value:,g}" if isinstance(value, int | float) else str(value)


def _words(name: str) -> str:
    return name.replace("_", " ")
