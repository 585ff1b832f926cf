"""A comparison as text: Markdown, CSV, and a table for the terminal."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deploy.experiments.against import differences, standings
from deploy.experiments.compared_runs import ComparedRun, Group
from deploy.experiments.comparison_figure import Line
from deploy.experiments.curve_file import NAME
from deploy.reporting.formats import format_duration, format_interval, format_percent
from deploy.runs.intervals import wilson
from deploy.runs.results import by_sight
from learner.methods import FOLLOWING

_FEW = 5
"""So many seeds are shown each, more only as lowest and highest."""

RESULT_COLUMNS = (
    *("task", "settings", "policy", "domain", "runs", "finished", "seeds"),
    *("mean", "min", "max", "each", "successes", "episodes", "low", "high"),
    *("env_steps", "teacher_updates", "student_updates", "wall_seconds"),
)
CURVE_COLUMNS = (
    *("task", "settings", "policy", "domain", "source", "env_steps", "seconds"),
    *("mean", "low", "high", "runs"),
)

_NOTES = """\
Only finished runs are counted for success. Success is the share of the episodes of the evaluation at the end of a run;
the mean is over seeds. The interval is Wilson's of all the seeds' episodes together: it says how sure the success of
*these* policies is. How much another seed would change it is seen from the seeds. Cost is the mean over the finished
runs, or what has been done so far where none is finished; wall time leaves pauses out.
"""
_OF_CURVES = f"""\
Curves "evaluated" are from `{NAME}` (`twist curve`): fixed episodes, the policy's mode. Curves "while training" are the
mean over each driver's last 100 episodes, with the actors' exploration. The band goes from the lowest to the highest
seed; of a single seed it is the 95 % interval of its evaluation's episodes.
"""
_OF_DIFFERENCES = """\
Over tasks and seeds a result is one seed's success from images in held-out visuals, and intervals are over seeds: a
bootstrap within each task. "IQM" is the mean of the middle half of the results. A difference is paired by task and seed
(where no seed is shared: in the order of the seeds). p is of the exact test that turns the signs of the differences,
which of n pairs is never below 2 / 2^n; behind it stands Holm's, for the number of rows of its task.
"""


@dataclass(frozen=True)
class Pooled:
    """One policy's success over the finished runs of a group.

    Attributes:
        name: as in report.json: "student_success_held_out".
        policy: a driver of the method, such as "teacher" or "student".
        seen: what it sees, in words.
        domain: "train" or "held_out".
        seeds: of the finished runs.
        each: success of each of them.
        successes: of all together, as are the episodes.
        interval: 95 % interval of all episodes together.
    """

    name: str
    policy: str
    domain: str
    seen: str
    seeds: tuple[int, ...]
    each: tuple[float, ...]
    successes: int
    episodes: int
    interval: tuple[float, float]

    @property
    def mean(self) -> float:
        """Over the runs."""
        return sum(self.each) / len(self.each)

    @property
    def spread(self) -> str:
        """Each seed's success, or the lowest and the highest."""
        if len(self.each) > _FEW:
            return f"{format_percent(min(self.each))} to {format_percent(max(self.each))}"
        return ", ".join(format_percent(success) for success in self.each)


def pooled(group: Group) -> list[Pooled]:
    """What the group's method is judged by, over the finished runs; nothing without any."""
    finished = [(run.seed, run.report.headline()) for run in group.runs if run.report is not None]
    found = []
    for results in zip(*(headline for _, headline in finished), strict=True):
        successes, episodes = sum(result.successes for result in results), sum(result.episodes for result in results)
        found.append(
            Pooled(
                results[0].name,
                results[0].policy,
                results[0].domain,
                results[0].seen,
                tuple(seed for seed, _ in finished),
                tuple(result.success for result in results),
                successes,
                episodes,
                wilson(successes, episodes),
            )
        )
    return found


def cost(group: Group) -> dict[str, float]:
    """Means over the finished runs, or over all where none is finished."""
    runs = [run for run in group.runs if run.report is not None] or list(group.runs)

    def mean(of: Callable[[ComparedRun], float]) -> float:
        return sum(map(of, runs)) / len(runs)

    return {
        "env_steps": mean(lambda run: run.env_steps),
        # By what the columns were called when there was one method: parts that follow no other, and those that do.
        "teacher_updates": mean(lambda run: sum(n for name, n in run.updates.items() if name not in FOLLOWING)),
        "student_updates": mean(lambda run: sum(n for name, n in run.updates.items() if name in FOLLOWING)),
        "wall_seconds": mean(lambda run: run.wall_seconds),
    }


def markdown(groups: Sequence[Group], lines: Sequence[Line], command: str) -> str:
    """The whole of compare.md."""
    parts = ["# Comparison", f"Made by `{command}`."]
    if lines:
        parts.append("![Learning curves](compare.png)")
    for task in dict.fromkeys(group.task for group in groups):
        of_task = [group for group in groups if group.task == task]
        parts += [f"## {task}", _success_table(of_task), _cost_table(of_task)]
    against = _against_tables(groups)
    if against:
        parts += ["## Over tasks and seeds", *against]
    parts += ["## How to read it", _NOTES.strip()]
    if against:
        parts.append(_OF_DIFFERENCES.strip())
    if lines:
        parts.append(_OF_CURVES.strip())
    return "\n\n".join(parts) + "\n"


def results_csv(groups: Sequence[Group]) -> str:
    """compare.csv: one line for each group and policy, or one without success where no run is finished."""
    rows = []
    for group in groups:
        spent = {key: round(value, 1) for key, value in cost(group).items()}
        common = {"task": group.task, "settings": group.label, "runs": len(group.runs), **spent}
        results = pooled(group)
        common["finished"] = len(results[0].each) if results else 0
        if not results:
            rows.append({**common, "seeds": _joined(run.seed for run in group.runs)})
        for result in results:
            rows.append(
                {
                    **common,
                    "policy": result.policy,
                    "domain": result.domain,
                    "seeds": _joined(result.seeds),
                    "mean": f"{result.mean:.4f}",
                    "min": f"{min(result.each):.4f}",
                    "max": f"{max(result.each):.4f}",
                    "each": _joined(f"{success:.4f}" for success in result.each),
                    "successes": result.successes,
                    "episodes": result.episodes,
                    "low": f"{result.interval[0]:.4f}",
                    "high": f"{result.interval[1]:.4f}",
                }
            )
    return _csv(RESULT_COLUMNS, rows)


def curves_csv(lines: Sequence[Line]) -> str:
    """compare_curves.csv: one line for each point; of steps and seconds the one that the curves are drawn over."""
    rows = []
    for line in lines:
        curve = line.curve
        for index in range(len(curve.x)):
            edges = {"low": curve.low[index], "high": curve.high[index]}
            rows.append(
                {
                    "task": line.task,
                    "settings": line.label,
                    "policy": line.row[0],
                    "domain": line.row[1],
                    "source": "evaluated" if line.evaluated else "while training",
                    ("seconds" if line.of_time else "env_steps"): f"{curve.x[index]:.1f}",
                    "mean": f"{curve.mean[index]:.4f}",
                    **{name: f"{edge:.4f}" for name, edge in edges.items() if math.isfinite(edge)},
                    "runs": curve.runs[index],
                }
            )
    return _csv(CURVE_COLUMNS, rows)


def print_groups(groups: Sequence[Group], console: Console) -> None:
    """The table on the terminal: mean over seeds, and the pooled interval."""
    table = Table(header_style="dim", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("task")
    table.add_column("settings", overflow="fold")
    table.add_column("finished", justify="right")
    for heading in ("teacher", "student", "held out", "95 % interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    for group in groups:
        results = pooled(group)
        cells = ["–" if result is None else format_percent(result.mean) for result in by_sight(results)]
        cells.append(format_interval(results[-1].interval) if results else "–")
        done = f"{len(results[0].each) if results else 0} of {len(group.runs)}"
        table.add_row(group.task, escape(group.label), done, *cells)
    console.print(table)


def _success_table(groups: Sequence[Group]) -> str:
    rows = []
    for group in groups:
        for result in pooled(group):
            rows.append(
                (
                    _cell(group.label),
                    f"{result.policy} ({result.seen})",
                    f"**{format_percent(result.mean, 1)}**",
                    result.spread,
                    format_interval(result.interval),
                    f"{result.successes} of {result.episodes}",
                )
            )
    if not rows:
        return "No run is finished yet."
    return _table(
        ("settings", "policy", "success, mean", "each seed", "95 % interval, all episodes", "episodes"), rows, "llrrrr"
    )


def _against_tables(groups: Sequence[Group]) -> list[str]:
    """Standings, and differences from the first label; nothing where there are no two labels with results."""
    found = differences(groups)
    if not found:
        return []
    reference, *_ = standings(groups)
    stands = [
        (_cell(one.label), f"**{format_percent(one.iqm, 1)}**", format_interval(one.interval), f"{one.results}")
        for one in standings(groups)
    ]
    rows = [
        (
            _cell(one.label),
            one.task or "all",
            f"{100 * one.mean:+.1f}",
            f"{100 * one.interval[0]:+.1f} to {100 * one.interval[1]:+.1f}",
            f"{one.pairs}",
            f"{one.p:.3f}",
            f"{one.corrected:.3f}",
        )
        for one in found
    ]
    less = f"points above {_cell(reference.label)}"
    return [
        _table(("settings", "IQM", "95 % interval, seeds", "finished runs"), stands, "lrrr"),
        _table(("settings", "task", less, "95 % interval, seeds", "pairs", "p", "p, corrected"), rows, "llrrrrr"),
    ]


def _cost_table(groups: Sequence[Group]) -> str:
    rows = []
    for group in groups:
        spent = cost(group)
        rows.append(
            (
                _cell(group.label),
                ", ".join(f"{run.seed}" + ("" if run.report else " (unfinished)") for run in group.runs),
                f"{spent['env_steps']:,.0f}",
                f"{spent['teacher_updates']:,.0f}",
                f"{spent['student_updates']:,.0f}",
                format_duration(spent["wall_seconds"]),
            )
        )
    heading = ("settings", "seeds", "environment steps", "teacher updates", "student updates", "wall time")
    return _table(heading, rows, "llrrrr")


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> str:
    ruler = ["---:" if side == "r" else "---" for side in align]
    return "\n".join(f"| {' | '.join(row)} |" for row in (heading, ruler, *rows))


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


def _joined(values: Iterable[object]) -> str:
    return " ".join(map(str, values))


def _csv(columns: Sequence[str], rows: Iterable[dict[str, object]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
