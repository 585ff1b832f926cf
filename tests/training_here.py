"""The smallest training in which teacher and student learn, in the tests' own process and without the pictures."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from unittest import mock

import torch

from deploy.cli import main
from deploy.settings.overrides import parse_assignments

SMALLEST = (
    *("training.prefill_rows=28", "training.env_steps=96", "training.student_updates=3"),
    *("training.metrics_every_updates=1", "training.checkpoint_every_updates=1000"),
    *("evaluation.episodes=1", "actors.rows_per_call=14", "replay.chunk_length=7"),
    *("sim.image_size=32", "sim.episode_steps=6", "sim.physics_hz=60"),
    *("learner.batch_size=2", "learner.teacher_samples_per_insert=2", "learner.student_samples_per_insert=1"),
    "learner.sequence_length=0",
    *("learner.behaviour.starts=4", "learner.behaviour.horizon=2", "learner.student.refresh_updates=2"),
    *("learner.student.imagination_starts=4", "learner.student.imagination_horizon=2"),
    *("learner.student.warm_up_updates=1", "learner.precision=float32"),
)
"""Over the preset `debug`."""

_PICTURES = ("write_curves", "write_contact_sheet", "write_clip", "write_imagined_clip", "write_page")
"""Of no interest here, and most of the time that such a run would take."""


def train_here(
    run: Path | str, settings: Iterable[str] = (), *, task: str = "reach", pictures_fail: Exception | None = None
) -> None:
    """A whole run in debug mode, in a directory or at a URL; `settings` go over those above."""
    given = [f"{key}={value}" for key, value in (parse_assignments(SMALLEST) | parse_assignments(settings)).items()]
    arguments = ("train", task, "--mode", "debug", "--preset", "debug", "--run-dir", str(run), *given)
    assert run_here(*arguments, pictures_fail=pictures_fail) == 0


def run_here(*arguments: str, pictures_fail: Exception | None = None) -> int:
    """A command's exit code; neither its logging nor its threads outlive it."""
    pictures = mock.MagicMock(side_effect=pictures_fail)
    threads = torch.get_num_threads()
    loggers = [logging.getLogger(name) for name in ("actors", "learner", "replay", "deploy", "sim")]
    before = [(logger.level, logger.propagate, list(logger.handlers)) for logger in loggers]
    try:
        with mock.patch.multiple("deploy.evaluation.conclusion", **dict.fromkeys(_PICTURES, pictures)):
            return main(arguments)
    finally:
        torch.set_num_threads(threads)
        for logger, (level, propagate, handlers) in zip(loggers, before, strict=True):
            for handler in set(logger.handlers) - set(handlers):
                handler.close()
            logger.level, logger.propagate, logger.handlers[:] = level, propagate, handlers
