"""The table that closes a run on the terminal, and where everything was written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from deploy.reporting.formats import format_duration, format_interval, format_number, format_percent
from deploy.reporting.motion import MOTION_TITLES, format_motion
from deploy.runs.report import Report


def print_report(report: Report, paths: Mapping[str, Path], console: Console) -> None:
    """The closing table, the run in three lines, and where things were written.

    Args:
        report: what to show.
        paths: what was written, by what to call it; those that are not there are left out.
        console: where to print.
    """
    console.print()
    tables = [_results_table(report)]
    if any(result.motion is not None for result in report.headline()):
        tables.append(_motion_table(report))
    console.print(Group(*tables, Text(""), *_summary(report)))
    present = {name: path for name, path in paths.items() if path.exists()}
    if present:
        width = max(map(len, present))
        console.print()
        for name, path in present.items():
            # A path must survive copying from a narrow terminal, so it is never wrapped.
            console.print(f"{escape(name):<{width}}  [cyan]{escape(str(path))}[/]", soft_wrap=True, highlight=False)


def _results_table(report: Report) -> Table:
    table = Table(
        title=f"{report.task}, seed {report.seed}",
        title_justify="left",
        title_style="bold",
        header_style="dim",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("policy")
    table.add_column("sees")
    for heading in ("success", "95 % interval", "episodes", "mean return"):
        table.add_column(heading, justify="right")
    for result in report.headline():
        last = (result.sees, result.domain) == ("image", "held_out")
        table.add_row(
            result.policy,
            result.seen,
            format_percent(result.success, 1),
            format_interval(result.interval),
            f"{result.episodes}",
            f"{result.mean_return:.1f}",
            style="bold" if last else "",
        )
    return table


def _motion_table(report: Report) -> Table:
    table = Table(
        title="motion: at the goal, beyond the joints' limits, and at contact",
        title_justify="left",
        header_style="dim",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("policy")
    table.add_column("sees")
    for heading in MOTION_TITLES:
        table.add_column(heading, justify="right")
    for result in report.headline():
        if result.motion is not None:
            table.add_row(result.policy, result.seen, *format_motion(result.motion))
    return table


def _summary(report: Report) -> Sequence[Text]:
    updates = ", ".join(f"{name} {count:,}" for name, count in report.updates.items())
    ratios = ", ".join(f"{name} {format_number(ratio, 2)}" for name, ratio in report.replay_ratios.items())
    waiting = ", ".join(f"{name} {format_percent(share)}" for name, share in report.waiting.items())
    faults = ", ".join(f"{what}: {count}" for what, count in report.faults.described() if count)
    lines = [
        f"{report.env_steps:,} environment steps in {format_duration(report.wall_seconds)}; updates: {updates}",
        f"replayed rows per row: {ratios}; waiting: {waiting}",
        f"faults: {faults or 'none'}",
        *([] if report.distilled is None else [report.distilled.described()]),
    ]
    return [Text(line) for line in lines]
