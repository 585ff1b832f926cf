"""What the machine that drives a run must have, looked at before there is anything of the run."""

from __future__ import annotations

import math
import os
from pathlib import Path

from deploy.errors import UserError
from deploy.settings.config import RunConfig
from deploy.settings.specification import stream_spec
from deploy.settings.together import ENVIRONMENT_MB, WORKER_MB, row_bytes
from deploy.training.exporting import require_exporter
from deploy.training.replay_address import VARIABLE
from learner.devices import choose_devices
from learner.methods import METHODS
from learner.weight_shapes import acting_shapes

_GIB = 2**30

_COPIES = 6
"""Of the weights: those that are trained, their gradients, Adam's two moments, and a frozen one for each loop."""

_BATCHES = 2
"""Of which a loop has more than are made ready: one that is learned from, one that is being made."""


def require_here(config: RunConfig) -> None:
    """Refuses a run that could not go on here.

    Raises:
        UserError: in one line, naming the setting.
        ValueError: likewise.
    """
    if config.training.export:
        require_exporter()
    if config.mode == "cluster":
        if config.redis_url is None:
            raise UserError(
                f"--mode cluster needs {VARIABLE} or --redis-url: other machines cannot reach an embedded server"
            )
        return  # what learner and actors need is other machines' to have
    device, _ = choose_devices(config.learner)
    if config.mode == "local":
        _require_ray(config)
    require_memory(needs(config, on_gpu=device.type == "cuda"), memory_here())


def require_memory(needed: dict[str, int], here: int) -> None:
    """Refuses a run that needs more memory than there is.

    Args:
        needed: bytes by the setting that they follow from.
        here: bytes that there are in all.

    Raises:
        UserError: naming the settings, the one that takes most first.
    """
    total = sum(needed.values())
    if total <= here:
        return
    largest = sorted(needed.items(), key=lambda entry: -entry[1])
    parts = [f"{key} takes {size / _GIB:.1f}" for key, size in largest if size >= _GIB / 10]
    raise UserError(
        f"this run needs at least {total / _GIB:.1f} GiB of memory, here are {here / _GIB:.1f}: {', '.join(parts)}"
    )


def needs(config: RunConfig, *, on_gpu: bool) -> dict[str, int]:
    """The least memory that a run needs on its machine, in bytes by the setting that it follows from.

    Args:
        config: of a run in mode local or debug.
        on_gpu: whether networks and frames lie in a GPU's memory.
    """
    replay, student, actors = config.replay, config.learner.student, config.actors
    needed = {
        "actors.envs_per_actor": actors.at_start * (WORKER_MB + ENVIRONMENT_MB * actors.envs_per_actor) * 2**20,
    }
    method = METHODS[config.learner.method]
    for plan in method.plans(config.learner):
        if plan.part.reads == "pairs":
            key = "learner.student.batch_size" if plan.part.follows else "learner.batch_size"
            rows = (_BATCHES + replay.prefetch) * plan.batch_size * (plan.sequence_length or replay.chunk_length)
            needed[key] = rows * row_bytes(config)
    if config.redis_url is None:
        # What the rows would take as they are drawn, if that is less than the bytes that may be kept.
        rows = min(replay.capacity_steps, config.training.env_steps * 2)
        needed["replay.capacity_bytes"] = min(replay.memory_bytes, 2 * rows * row_bytes(config) + 2**27)
    if not on_gpu:
        numbers = sum(map(math.prod, acting_shapes(stream_spec(config), config.learner).values()))
        needed["learner.rssm"] = 4 * _COPIES * numbers
        pooled = method.following and student.frames > 0 and student.readout_scale > 0.0
        needed["learner.student.frame_pool"] = (
            student.frame_pool * row_bytes(config) // config.sim.views if pooled else 0
        )
    return needed


def memory_here() -> int:
    """Bytes that this process and those that it starts may have in all (Linux)."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            memory = min(memory, int(Path(limit).read_text(encoding="ascii")))
        except (OSError, ValueError):
            continue  # there is no such limit, or it is "max"
    return memory


def _require_ray(config: RunConfig) -> None:
    """Refuses actors for which a Ray on this machine alone would never have room."""
    for key, resource in (("actors.resource", config.actors.resource), ("learner.resource", config.learner.resource)):
        if resource:
            raise UserError(f"{key} is {resource}: only nodes of a cluster have such a resource; leave it empty here")
    asked, cores = config.actors.num_cpus * config.actors.at_start, os.cpu_count() or 1
    if asked > cores:
        raise UserError(
            f"actors.num_cpus is {config.actors.num_cpus:g}: {config.actors.at_start} actors would reserve {asked:g} "
            f"CPUs, here are {cores}"
        )
