"""What settings of different packages have to be together, before there is anything of a run.

Whatever a part of the run would refuse when it is built, or could never do, is refused here by the names of the
settings: later it would look like a process that is lost again and again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from learner.methods import METHODS

if TYPE_CHECKING:
    from deploy.settings.config import RunConfig

WORKER_MB = 200
"""Of an actor's process before it has any environment: less than any takes."""

ENVIRONMENT_MB = 20
"""Of each environment: less than any takes."""

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
"""Settings, and groups of them, that decide what a teacher is or how episodes are collected: of a run that `twist
distil` begins both are there."""

_CHUNK_BYTES = 4_096
"""What a chunk takes beside its images, at the least."""


def require_possible(config: RunConfig) -> None:
    """Refuses what no run can ever have had: whoever makes a `RunConfig`, or reads one, is refused it.

    Raises:
        ValueError: in one line, naming a setting, its value and what is allowed.
    """
    for refusal in _never(config):
        raise ValueError(refusal)


def require_together(config: RunConfig) -> None:
    """Refuses what a run is not begun with; earlier versions may have begun one, which can still be read.

    Raises:
        ValueError: in one line, naming a setting, its value and what is allowed.
    """
    for refusal in (*_of_replay(config), *_of_actors(config), *_of_export(config)):
        raise ValueError(refusal)


def _never(config: RunConfig) -> Iterator[str]:
    method = METHODS[config.learner.method]
    yield from method.refusals(config, but=OF_THE_TEACHER if config.is_distilled else ())
    if config.student_waits and config.learner.teacher_samples_per_insert == 0:
        yield (
            "learner.teacher_samples_per_insert is 0: it must be above 0 with "
            "training.student_begins=after_teacher, as a teacher without a bound is never done"
        )
    sim, student, actors = config.sim, config.learner.student, config.actors
    if sim.views < 1:
        yield f"sim.views is {sim.views}: it must be at least 1, as the student needs images"
    multiple = 2 ** len(student.channels)
    if sim.image_size % multiple:
        yield (
            f"sim.image_size is {sim.image_size}: it must be a multiple of {multiple}, as each of the "
            f"{len(student.channels)} layers of learner.student.channels halves the image"
        )
    if student.stem == "patches" and len(student.channels) < 2:
        yield (
            f"learner.student.channels is {','.join(map(str, student.channels))}: it must be two or more with "
            "learner.student.stem=patches, whose first layer halves the image twice"
        )
    if method.needs_images and actors.state_only_envs >= actors.envs_per_actor:
        yield (
            f"actors.state_only_envs is {actors.state_only_envs}: it must be below actors.envs_per_actor, "
            f"{actors.envs_per_actor}, as method {method.name} learns from images"
        )


def _of_replay(config: RunConfig) -> Iterator[str]:
    replay, learner = config.replay, config.learner
    if learner.sequence_length > replay.chunk_length:
        yield (
            f"learner.sequence_length is {learner.sequence_length}: allowed are 0 to replay.chunk_length, "
            f"{replay.chunk_length}"
        )
    prefill = config.training.prefill_rows
    if prefill > replay.capacity_steps:
        yield f"training.prefill_rows is {prefill}: allowed are 1 to replay.capacity_steps, {replay.capacity_steps}"
    chunk = replay.chunk_length
    if replay.capacity_steps // replay.shards < chunk:
        yield (
            f"replay.capacity_steps is {replay.capacity_steps}: each of the replay.shards={replay.shards} has to hold "
            f"a chunk, so it must be at least {chunk * replay.shards}"
        )
    for plan in METHODS[learner.method].plans(learner):
        key, size = "student.batch_size" if plan.part.follows else "batch_size", plan.batch_size
        if replay.capacity_steps < size * chunk:
            yield (
                f"replay.capacity_steps is {replay.capacity_steps}: a batch of learner.{key}={size} chunks of "
                f"replay.chunk_length={chunk} rows needs at least {size * chunk}"
            )
    needed = (chunk * row_bytes(config) + _CHUNK_BYTES) * replay.shards
    if replay.capacity_bytes < needed:
        yield (
            f"replay.capacity_bytes is {replay.capacity_bytes}: each of the replay.shards={replay.shards} has to hold "
            f"a chunk whose images do not get smaller, so it must be at least {needed}"
        )


def _of_actors(config: RunConfig) -> Iterator[str]:
    actors = config.actors
    if config.training.ahead_rows < config.replay.chunk_length:
        yield (
            f"training.ahead_rows is {config.training.ahead_rows}: it must be at least replay.chunk_length, "
            f"{config.replay.chunk_length}, as actors collect whole chunks"
        )
    needed = WORKER_MB + ENVIRONMENT_MB * actors.envs_per_actor
    if actors.max_memory_mb < needed:
        yield (
            f"actors.max_memory_mb is {actors.max_memory_mb:g}: an actor with "
            f"actors.envs_per_actor={actors.envs_per_actor} would be replaced again and again; at least {needed}"
        )


def _of_export(config: RunConfig) -> Iterator[str]:
    if not config.training.export:
        return
    if not METHODS[config.learner.method].exports:
        exported = " or ".join(method.name for method in METHODS.values() if method.exports)
        yield f"training.export is true: learner.method={config.learner.method} has no bundles, {exported} has"
    elif config.learner.student.readout_scale == 0.0:
        yield (
            "training.export is true: learner.student.readout_scale must be above 0, as a bundle's stop looks where "
            "the image shows the gripper"
        )


def row_bytes(config: RunConfig) -> int:
    """Of the images of one step, as they are drawn; none are where the method needs none."""
    views = config.sim.views if METHODS[config.learner.method].needs_images else 0
    return views * config.sim.image_size**2 * 3
