"""A finished run as the source of another: its teacher and its episodes, and the settings of a run that takes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.errors import UserError, user_errors
from deploy.runs.checkpoints import Checkpoint
from deploy.runs.directory import RunDirectory
from deploy.runs.kept_episodes import load_episodes
from deploy.settings.config import RunConfig
from deploy.settings.overrides import apply, settings
from deploy.settings.presets import MODE_PRESETS, given_settings
from deploy.settings.together import require_together
from replay.episodes import Episodes

OF_THE_TEACHER = (
    "training.student_begins",
    "learner.batch_size",
    "learner.sequence_length",
    "learner.teacher_samples_per_insert",
    "learner.rssm.",
    "learner.teacher.",
    "learner.behaviour.",
    "actors.envs_per_actor",
    "actors.state_only_envs",
    "actors.student_fraction",
)
"""Settings, and groups of them, that decide what a teacher is or how episodes are collected: both are there."""


@dataclass(frozen=True)
class Source:
    """The run whose teacher and episodes are taken.

    Attributes:
        run: opened.
        place: where it was found, as it was given.
        checkpoint: its newest, checked.
        episodes: all that it has kept.
    """

    run: RunDirectory
    place: str
    checkpoint: Checkpoint
    episodes: Episodes

    @classmethod
    def open(cls, path: Path, place: str) -> Source:
        """Reads a run.

        Args:
            path: of its directory.
            place: what was given, which may be a URL.

        Raises:
            UserError: it is no run, or it has no checkpoint or no episodes, or one of them is damaged.
        """
        run = RunDirectory.open(path)
        return cls(run, place, run.newest_checkpoint(), load_episodes(run))


def distilled_config(
    source: Source,
    assignments: list[str],
    *,
    mode: str | None,
    seed: str | None,
    redis_url: str | None,
    continued: bool,
) -> RunConfig:
    """The settings of a run that takes another one's teacher and episodes.

    Args:
        source: the other one; its settings hold where none are given.
        assignments: `key=value` texts from the command line.
        mode: option of the command line; None: local.
        seed: as given; None: the other run's.
        redis_url: as given.
        continued: whether the student begins as the other run's.

    Raises:
        UserError: naming what is not known or not allowed.
    """
    with user_errors():
        given: Mapping[str, object] = given_settings(assignments)
        for key in given:
            if key.startswith(OF_THE_TEACHER):
                raise UserError(f"{key} is not to be changed: teacher and episodes are those of {source.place}")
        settled: dict[str, object] = {
            "mode": mode or "local",
            "redis_url": redis_url,
            "training.env_steps": source.episodes.env_steps,
            "training.student_begins": "at_once",
            "actors.envs_per_actor": 1,  # nothing is gained by stepping several in turn
            "actors.state_only_envs": 0,
            "distilled.student": "continued" if continued else "new",
            "distilled.run": source.run.run_id,
            "distilled.checkpoint": source.checkpoint.path.name,
            "distilled.place": source.place,
        }
        if source.run.config.mode == "cluster":
            of_a_cluster = (*MODE_PRESETS["cluster"], "actors.count", "actors.min", "actors.max")
            settled |= {key: settings(RunConfig)[key].default for key in of_a_cluster}
        if seed is not None:
            settled["seed"] = seed
        config = apply(source.run.config, {**settled, **given})
        if config.mode == "cluster":
            raise UserError("--mode cluster: a student is distilled on one machine, in mode local or debug")
        if config.training.env_steps > source.episodes.env_steps:
            raise UserError(
                f"training.env_steps is {config.training.env_steps}: the episodes of {source.place} have "
                f"{source.episodes.env_steps}"
            )
        require_together(config)
    return config
