"""`twist compare`: the results of several runs side by side, as tables and as learning curves with their spread.

DIR/compare.md            tables, picture, and what they show
DIR/compare.csv           the tables' numbers: a line for each group and policy
DIR/compare.png           learning curves; only where there is a curve
DIR/compare_curves.csv    their numbers
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from deploy.errors import UserError, user_errors
from deploy.experiments.compared_runs import Group, group_runs, read_run, renamed, sweep_directory
from deploy.experiments.comparison_figure import PANELS, Line, draw
from deploy.experiments.comparison_tables import curves_csv, markdown, print_groups, results_csv
from deploy.experiments.curve_file import NAME
from deploy.experiments.success_curves import mean_curve
from deploy.experiments.sweep import RECORD
from deploy.process.places import require_directory
from deploy.runs.atomic import write_text

WRITTEN = ("compare.md", "compare.csv", "compare.png", "compare_curves.csv")


def compare(
    paths: Sequence[Path], out: Path | None, *, of_time: bool, labels: Sequence[str], command: str, console: Console
) -> None:
    """Reads the runs and writes the comparison.

    Args:
        paths: run directories.
        out: where to write; None takes the sweep's directory, or the nearest one that holds all the runs.
        of_time: curves over wall time instead of environment steps.
        labels: other names for the groups, in their order; none keeps the names found.
        command: what was typed, to stand in the text.
        console: for the table and the paths.

    Raises:
        UserError: something is not a run, or there is nothing in any of them. Nothing is written then.
    """
    runs = [read_run(path) for path in paths]
    groups = group_runs(runs)
    if labels:
        groups = renamed(groups, labels)
    if not any(run.has_data for run in runs):
        looked = f"a finished report.json, {NAME} or success in metrics.jsonl"
        raise UserError(f"nothing to compare yet: none of the {len(runs)} runs has {looked}")
    directory = out or common_directory(paths)
    require_directory(directory)
    lines = curves(groups, of_time=of_time)
    with user_errors():
        directory.mkdir(parents=True, exist_ok=True)
        if lines:
            draw(directory / "compare.png", lines)
        else:
            (directory / "compare.png").unlink(missing_ok=True)
        write_text(directory / "compare_curves.csv", curves_csv(lines))
        write_text(directory / "compare.csv", results_csv(groups))
        write_text(directory / "compare.md", markdown(groups, lines, command))
    print_groups(groups, console)
    for name in WRITTEN:
        if (directory / name).exists():
            console.print(f"[cyan]{escape(str(directory / name))}[/]", highlight=False, soft_wrap=True)


def curves(groups: Sequence[Group], *, of_time: bool) -> list[Line]:
    """Every group's curves, task by task.

    Lines of one panel are of one kind: evaluations where every run of the task that has a curve has these, else success
    while training. Held-out visuals do not occur in training, so there it is evaluations or nothing.
    """
    lines = []
    for group in groups:
        of_task = [run for other in groups if other.task == group.task for run in other.runs]
        for row in PANELS:
            evaluated = all(row in run.evaluated for run in of_task if row in run.in_training)
            sources = [run.evaluated if evaluated else run.in_training for run in group.runs]
            found = [source[row] for source in sources if row in source]
            if found:
                curve = mean_curve(found, of_time=of_time)
                lines.append(Line(group.task, row, group.label, curve, evaluated, of_time))
    return lines


def common_directory(paths: Sequence[Path]) -> Path:
    """The sweep's directory if all runs are of one sweep, else the nearest one that holds them all."""
    sweeps = {sweep_directory(path) for path in paths}
    if len(sweeps) == 1 and (next(iter(sweeps)) / RECORD).exists():
        return _shown(sweeps.pop())
    parents = sorted({path.resolve().parent for path in paths})
    above = (parents[0], *parents[0].parents)
    return _shown(next(one for one in above if all(other.is_relative_to(one) for other in parents)))


def _shown(path: Path) -> Path:
    """Below the working directory, without it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
