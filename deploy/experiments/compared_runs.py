"""Runs to compare: read, and put together where they have the same settings and another seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deploy.errors import UserError, user_errors
from deploy.experiments.success_curves import Curve, Row, evaluated_curves, training_curves
from deploy.experiments.sweep import read_record
from deploy.reporting.metrics import read_metrics
from deploy.runs.directory import RunDirectory
from deploy.runs.finished import finished_report
from deploy.runs.report import Report
from deploy.settings.config import TASKS
from deploy.settings.overrides import flatten
from deploy.settings.presets import resolve
from deploy.settings.values import show
from learner.methods import METHODS

NOT_COMPARED = (
    "seed",
    "redis_url",
    "training.metrics_every_",
    "training.checkpoint_every_",
    "training.snapshot_every_",
    "training.keep_checkpoints",
    "evaluation.clip_episodes",
    "evaluation.factor_episodes",
    *("distilled.run", "distilled.checkpoint", "distilled.place"),
)
"""Settings by which runs may differ and still be one group, or groups of such settings: the seed, where the replay is,
how a run is watched, and which run a student was distilled from: several students of one teacher are a group, and so
are students of several teachers."""

DEFAULT = "default"
"""Of the groups of a task, the one with the task's own settings."""

ONLY = "all runs"
"""The only group of a task."""


@dataclass(frozen=True)
class ComparedRun:
    """What a comparison wants to know about a run.

    Attributes:
        settings: dotted key to value.
        variant: its name in the sweep that it belongs to; None outside of a sweep's directory.
        report: of a finished run.
        env_steps: so far, as are `wall_seconds` and `updates` (of each part of the method).
        evaluated: from learning_curve.csv.
        in_training: success of the episodes that the run learned from.
    """

    path: Path
    task: str
    seed: int
    settings: Mapping[str, Any]
    variant: str | None
    report: Report | None
    env_steps: int
    wall_seconds: float
    updates: Mapping[str, int]
    evaluated: Mapping[Row, Curve]
    in_training: Mapping[Row, Curve]

    @property
    def has_data(self) -> bool:
        """Whether there is anything to show."""
        return bool(self.report or self.evaluated or self.in_training)


@dataclass(frozen=True)
class Group:
    """Runs of one task with the same settings, ordered by seed."""

    label: str
    task: str
    runs: tuple[ComparedRun, ...]

    @property
    def reports(self) -> list[Report]:
        """Of those that are finished."""
        return [run.report for run in self.runs if run.report is not None]


def read_run(path: Path) -> ComparedRun:
    """Reads one run, finished or not.

    Raises:
        UserError: it is no run, or one of its files cannot be read.
    """
    if path.is_file():
        raise UserError(f"run directory {path}: is a file")
    run = RunDirectory.open(path)
    report = finished_report(run, run.config)
    if report is not None:
        so_far = report.env_steps, report.wall_seconds, report.updates
    else:
        with user_errors():
            last: Mapping[str, Any] = max(read_metrics(run.metrics, "train"), key=lambda row: row["step"], default={})
        names = (part.name for part in METHODS[run.config.learner.method].parts)
        updates = {name: int(last.get(f"{name}/updates", 0)) for name in names}
        so_far = int(last.get("step", 0)), float(last.get("run/wall_seconds", 0.0)), updates
    return ComparedRun(
        path,
        run.config.task,
        run.config.seed,
        flatten(run.config),
        read_record(sweep_directory(path)).get(path.resolve().parent.name),
        report,
        *so_far,
        evaluated_curves(path),
        training_curves(run.metrics),
    )


def sweep_directory(run: Path) -> Path:
    """Where the sweep's record lies, if the run belongs to one."""
    return run.resolve().parent.parent


def group_runs(runs: Iterable[ComparedRun]) -> list[Group]:
    """Groups with labels that differ within each task; tasks and groups in the order in which they first come.

    Raises:
        UserError: a run is given twice.
    """
    found: dict[tuple[str, str], list[ComparedRun]] = {}
    seen: set[Path] = set()
    for run in runs:
        if run.path.resolve() in seen:
            raise UserError(f"run directory {run.path}: is given twice")
        seen.add(run.path.resolve())
        found.setdefault((run.task, repr(_compared(run.settings))), []).append(run)
    by_task: dict[str, list[list[ComparedRun]]] = {}
    for (task, _), members in found.items():
        for apart in _variants_of_one_sweep(members):
            by_task.setdefault(task, []).append(sorted(apart, key=lambda run: run.seed))
    tasks = sorted(by_task, key=TASKS.index)
    return [
        Group(label, task, tuple(members))
        for task in tasks
        for label, members in zip(_labels(task, by_task[task]), by_task[task], strict=True)
    ]


def renamed(groups: Sequence[Group], labels: Sequence[str]) -> list[Group]:
    """The groups under other names, one for each label that there is.

    Raises:
        UserError: more or fewer names than labels, or one given twice.
    """
    present = list(dict.fromkeys(group.label for group in groups))
    if len(labels) != len(present):
        raise UserError(f"--label is given {len(labels)} times: there are {len(present)} groups, {'; '.join(present)}")
    if len(set(labels)) != len(labels):
        raise UserError(f"--label: two groups cannot have the same name: {', '.join(labels)}")
    names = dict(zip(present, labels, strict=True))
    return [replace(group, label=names[group.label]) for group in groups]


def _variants_of_one_sweep(members: Sequence[ComparedRun]) -> list[list[ComparedRun]]:
    """Runs with the same settings, apart where one sweep named them apart: that is to show what chance does."""
    names: dict[Path, set[str | None]] = {}
    for run in members:
        names.setdefault(sweep_directory(run.path), set()).add(run.variant)
    if max(map(len, names.values())) < 2:
        return [list(members)]
    by_name: dict[str | None, list[ComparedRun]] = {}
    for run in members:
        by_name.setdefault(run.variant, []).append(run)
    return list(by_name.values())


def _compared(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if not key.startswith(NOT_COMPARED)}


def _labels(task: str, groups: Sequence[Sequence[ComparedRun]]) -> list[str]:
    """The variants' names where the runs have them, else what differs; both where names alone are ambiguous."""
    differences = _differences(task, [members[0].settings for members in groups])
    labels = []
    for members, difference in zip(groups, differences, strict=True):
        names = dict.fromkeys(run.variant for run in members if run.variant is not None)
        labels.append(" / ".join(names) or difference)
    return [
        f"{label} ({difference})" if labels.count(label) > 1 and label != difference else label
        for label, difference in zip(labels, differences, strict=True)
    ]


def _differences(task: str, groups: Sequence[Mapping[str, Any]]) -> list[str]:
    """For each group the settings in which the groups differ, but for those that are the task's own."""
    if len(groups) == 1:
        return [ONLY]
    compared = [_compared(settings) for settings in groups]
    differing = [key for key in compared[0] if any(other[key] != compared[0][key] for other in compared)]
    own = flatten(resolve(task, None, []))
    return [
        ", ".join(f"{key}={show(settings[key])}" for key in differing if settings[key] != own[key]) or DEFAULT
        for settings in compared
    ]
