"""Whether a run is finished: its report belongs to the settings that it has now."""

from __future__ import annotations

from deploy.runs.checkpoints import Checkpoint
from deploy.runs.directory import RunDirectory
from deploy.runs.report import Report, read_report
from deploy.settings.config import RunConfig
from deploy.settings.lengths import lengths


def finished_report(run: RunDirectory, config: RunConfig) -> Report | None:
    """The report of a run that has nothing left to do; None for one that has.

    A run that was continued at another length, and stopped on the way, still has the report of its first end: it is
    not finished. Checkpoints may be gone; those that are there are asked how far the run has got.

    Args:
        run: opened.
        config: the settings that the report must belong to.

    Raises:
        UserError: report or checkpoint cannot be read.
    """
    report = report_of_end(run, config)
    if report is None:
        return None
    checkpoint = run.checkpoints.latest()
    return report if checkpoint is None or reaches_end(checkpoint, config) else None


def report_of_end(run: RunDirectory, config: RunConfig) -> Report | None:
    """The report, if it belongs to these settings.

    Raises:
        UserError: it cannot be read.
    """
    if not run.report_json.exists():
        return None
    report = read_report(run.report_json)
    if report.run_id != run.run_id or report.env_steps < config.training.env_steps:
        return None
    if any(result.episodes != config.evaluation.episodes for result in report.headline()):
        return None
    return report


def reaches_end(checkpoint: Checkpoint, config: RunConfig) -> bool:
    """Whether the run had reached the lengths of these settings when it was written."""
    return bool(checkpoint.document.get("complete") == lengths(config))
