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
from deploy.settings.overrides import apply, flatten, settings
from deploy.settings.presets import MODE_PRESETS, TASK_PRESETS, given_settings, settled_by, suited_to
from deploy.settings.together import OF_THE_TEACHER, require_together
from learner.methods import METHODS, Method
from replay.episodes import Episodes


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

    With another method the other run's settings hold but for those that are there for its method's sake: these are the
    task's then, or what the new method lays over them.

    Args:
        source: the other one; its settings hold where none are given.
        assignments: `key=value` texts from the command line.
        mode: option of the command line; None: local.
        seed: as given; None: the other run's.
        redis_url: as given.
        continued: whether the student begins as the other run's.

    Raises:
        UserError: naming what is not known or not allowed; the two methods have no teacher in common, or the new one
            has no student.
    """
    with user_errors():
        given: Mapping[str, object] = given_settings(assignments)
        laid = _laid_by_method(source, given.get("learner.method"), continued=continued)
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
        config = apply(source.run.config, {**laid, **settled, **given})
        if config.mode == "cluster":
            raise UserError("--mode cluster: a student is distilled on one machine, in mode local or debug")
        if config.training.env_steps > source.episodes.env_steps:
            raise UserError(
                f"training.env_steps is {config.training.env_steps}: the episodes of {source.place} have "
                f"{source.episodes.env_steps}"
            )
        require_together(config)
    return config


def _laid_by_method(source: Source, asked: object, *, continued: bool) -> dict[str, object]:
    """What the method of the new run lays over the other run's settings.

    Raises:
        UserError: the other run's method has no teacher, or the new one no student for it, or no student of the kind
            that is to be continued.
    """
    config = source.run.config
    theirs = METHODS[config.learner.method]
    if asked is not None and asked not in METHODS:
        return {}  # it is refused where it is read
    ours = METHODS[str(asked)] if asked is not None else theirs
    _require_teacher(source.place, theirs, ours)
    if continued and ours.home != theirs.home:
        raise UserError(
            f"--from-student: learner.method is {ours.name}, and {source.place} has no student of that kind but one of "
            f"{theirs.name}"
        )
    if ours is theirs:
        return {}
    now = flatten(config)
    of_task = flatten(apply(RunConfig(task=config.task), TASK_PRESETS[config.task]))
    layers = {key: of_task[key] for key, value in theirs.lays.items() if now[key] == value}
    layers |= suited_to(ours, {**now, **layers})
    layers |= settled_by(ours)
    return {key: value for key, value in layers.items() if not key.startswith(OF_THE_TEACHER)}


def _require_teacher(place: str, theirs: Method, ours: Method) -> None:
    """Refuses two methods of which the second has no student for the first one's teacher."""
    students = [method for method in METHODS.values() if method.following]
    if theirs.leading not in [method.leading for method in students]:
        taught = [method.name for method in METHODS.values() if method.leading in [m.leading for m in students]]
        raise UserError(
            f"{place}: is of method {theirs.name}, which has no teacher for a student; those that have one are "
            f"{', '.join(taught)}"
        )
    fitting = [method.name for method in students if method.leading == theirs.leading]
    if ours.name not in fitting:
        raise UserError(
            f"learner.method is {ours.name}, which has no student for the teacher of {place}: allowed are "
            f"{', '.join(fitting)}"
        )
