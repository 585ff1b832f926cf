"""Named sets of settings: one for each task, and some for a purpose.

The layers of a run's settings, each over the one before: the dataclasses' defaults, the mode's preset, the task's, what
suits `learner.method`, the preset named with `--preset`, what the method cannot be without, what is written key=value
on the command line.
"""

from __future__ import annotations

from collections.abc import Mapping

from deploy.errors import UserError, user_errors
from deploy.process.places import local_path
from deploy.settings.config import DISTILLED, OPTIONS, TASKS, RunConfig
from deploy.settings.overrides import apply, nearest, parse_assignments, settings
from deploy.settings.together import require_together
from learner.methods import METHODS, Method, SameAs

# What every arm measures of itself. Off images a student of push read its gripper to a centimetre, and its speed
# hardly: docs/results/log.md.
_ARM = ("gripper_*", "target_from_gripper_*")

# A chunk is a whole episode: a student that learns from pieces of it is misled by its memory after their length.
# The teacher, which sees the state, needs no memory, and short sequences are quicker. Step sizes of policy and critic
# are those with which push's teacher was seen to learn; nothing was compared with them for as long. Actors do not wait
# for the student: the teacher is done sooner, and the second half of the student's updates has a teacher that stands
# still. docs/results/log.md says what all this is drawn from.
_CUBE: Mapping[str, object] = {
    "learner.student.stem": "patches",
    "learner.proprioception": _ARM,
    "training.prefill_rows": 3_000,
    "training.ahead_rows": 4_000,
    "training.student_updates": 7_000,
    "learner.student_may_lag": True,
    "learner.student.batch_size": 4,
    "learner.student.decay_updates": 7_000,
    "learner.student.average_rate": 0.003,
    "learner.batch_size": 32,
    "learner.behaviour.actor_learning_rate": 3e-4,
    "learner.behaviour.critic_learning_rate": 5e-4,
    "actors.envs_per_actor": 24,
    "actors.state_only_envs": 8,
    "evaluation.factor_episodes": 100,
}

TASK_PRESETS: Mapping[str, Mapping[str, object]] = {
    "reach": {
        "learner.proprioception": _ARM,
        "learner.student.stem": "patches",
        "training.prefill_rows": 2_000,
        "training.env_steps": 36_000,
        "training.student_updates": 1_380,
        "replay.chunk_length": 17,
        # Enough to see target and gripper; an image has little more than half the pixels of the other tasks'.
        "sim.image_size": 48,
        "learner.teacher_samples_per_insert": 8,
        # Bounds the student from both sides: it does not run ahead of the data, and actors, half of whose episodes it
        # drives, collect until the end.
        "learner.student_samples_per_insert": 10,
        # A batch shows sixteen short episodes, enough worlds for the image encoder to learn from all terms. Twice as
        # many updates of half the size take longer and teach as much.
        "learner.student.batch_size": 16,
        "learner.student.encoder_share": 1.0,
        "learner.student.frames": 0,
        # A short training: with the others' price the teacher's arm still went to and fro at the goal when it was over.
        "learner.behaviour.steadiness_scale": 15.0,
        "actors.envs_per_actor": 16,
    },
    "push": {
        **_CUBE,
        "training.env_steps": 250_000,
        "replay.chunk_length": 61,
        "learner.sequence_length": 16,
        "learner.teacher_samples_per_insert": 21,
        "learner.student_samples_per_insert": 8.6,
    },
    "lift": {
        **_CUBE,
        "learner.proprioception": (*_ARM, "finger_*"),
        "training.env_steps": 170_000,
        "replay.chunk_length": 51,
        "learner.sequence_length": 17,
        "learner.teacher_samples_per_insert": 17,
        "learner.student_samples_per_insert": 8.4,
    },
}

MODE_PRESETS: Mapping[str, Mapping[str, object]] = {
    # What the nodes of cluster.yaml and the other cluster files have: actors and learner run on theirs, never on the
    # head beside Redis, and Ray starts a node for an actor that finds no room.
    "cluster": {
        "actors.resource": "twist_actor",
        "actors.num_cpus": 1.0,
        "learner.resource": "twist_learner",
    },
}

PRESETS: Mapping[str, Mapping[str, object]] = {
    # The smallest real run: every part does its work, nothing is learned.
    "debug": {
        "training.prefill_rows": 150,
        "training.ahead_rows": 150,
        "training.env_steps": 600,
        "training.student_updates": 20,
        "training.metrics_every_updates": 5,
        "training.metrics_every_seconds": 1.0,
        "training.checkpoint_every_updates": 20,
        "training.checkpoint_every_seconds": 5.0,
        "evaluation.episodes": 4,
        "evaluation.clip_episodes": 1,
        "evaluation.factor_episodes": 0,
        "actors.envs_per_actor": 2,
        "actors.state_only_envs": 0,
        "actors.rows_per_call": 64,
        "learner.batch_size": 4,
        # With these batches one student update goes with each of the teacher's.
        "learner.teacher_samples_per_insert": 8,
        "learner.student_samples_per_insert": 4,
        "learner.behaviour.starts": 16,
        "learner.student.batch_size": 2,
        "learner.student.frames": 16,
        "learner.student.frame_pool": 256,
        "learner.student.warm_up_updates": 5,
        "learner.rssm.deter": 32,
        "learner.rssm.hidden": 32,
        "learner.rssm.groups": 4,
        "learner.rssm.classes": 4,
        "learner.behaviour.horizon": 5,
        "learner.student.channels": (4, 8, 8, 16),
    },
}

PICTURES = "sim.randomisation.visual.pictures"
"""A folder of this machine, which processes read that run elsewhere on it."""

PRESET_HELP: Mapping[str, str] = {"debug": "the smallest real run, under a minute"}


def resolve(
    task: str,
    preset: str | None,
    assignments: list[str],
    *,
    mode: str | None = None,
    seed: int | str | None = None,
    redis_url: str | None = None,
) -> RunConfig:
    """The settings of a run, from all layers.

    Args:
        task: one of `TASKS`.
        preset: one of `PRESETS`, or None.
        assignments: `key=value` texts from the command line.
        mode: option of the command line; None leaves the default, here and below.
        seed: as given; checked here.
        redis_url: as given.

    Raises:
        UserError: naming what is not known or not allowed.
    """
    if task not in TASKS:
        raise UserError(f"unknown task '{task}': did you mean {nearest(task, TASKS)}? There are {', '.join(TASKS)}")
    if preset is not None and preset not in PRESETS:
        raise UserError(f"unknown preset '{preset}': there are {', '.join(PRESETS)}")
    with user_errors():
        given = given_settings(assignments)
        # A name that is not known is refused where it is read.
        method = METHODS.get(given.get("learner.method", ""))
        below = {**MODE_PRESETS.get(mode or "", {}), **TASK_PRESETS[task]}
        above = {**PRESETS.get(preset or "", {}), **(settled_by(method) if method else {}), **given}
        suited = suited_to(method, {**below, **above}) if method else {}
        layers: dict[str, object] = {**below, **suited, **above}
        options = {"mode": mode, "seed": seed, "redis_url": redis_url}
        layers.update({key: value for key, value in options.items() if value is not None})
        config = apply(RunConfig(task=task), layers)
        _require_cost(config)
        require_together(config)
        return config


def given_settings(assignments: list[str]) -> dict[str, str]:
    """What is written key=value on the command line, by key, with the folder of pictures as an absolute path.

    Raises:
        UserError: for a setting that is not written so, and as `local_path`.
        ValueError: for a text that is no setting.
    """
    given = parse_assignments(assignments)
    if given.get(PICTURES):
        given[PICTURES] = str(local_path(given[PICTURES]).absolute())
    for key in given:
        if key in OPTIONS:
            option = "the first argument" if key == "task" else f"--{key.replace('_', '-')}"
            raise UserError(f"{key} is not set by key=value but by {option}")
        if key.startswith(DISTILLED):
            raise UserError(f"{key} is not set by key=value but by twist distil")
    return given


def settled_by(method: Method) -> dict[str, object]:
    """What the method cannot be without, over all presets."""
    return {key: allowed[0] for key, allowed in method.settled.items()}


def suited_to(method: Method, others: Mapping[str, object]) -> dict[str, object]:
    """What suits the method, over the task's preset.

    Args:
        method: which.
        others: the settings of all other layers, for those that are to be as another one.
    """
    defaults = settings(RunConfig)
    return {
        key: others.get(value.key, defaults[value.key].default) if isinstance(value, SameAs) else value
        for key, value in method.suits.items()
    }


def _require_cost(config: RunConfig) -> None:
    """Refuses actors that would all be put on the head, where Redis and the driver are, and start no node ever.

    Not a condition of the settings as such: there are runs of earlier versions that have it so.

    Raises:
        UserError: they cost Ray nothing.
    """
    if config.mode == "cluster" and not config.actors.resource and config.actors.num_cpus == 0:
        raise UserError(
            "actors.resource is empty and actors.num_cpus is 0: on a cluster an actor must take one of them, or all of "
            "them run on the head and no node is started for any"
        )
