"""Environments that crashed: a file each in the run directory, from which the crash can be seen again.

    RUN/crashes/SEED.json     task, world, seed of the episode, every action that it was given, what was raised

An episode's seed is drawn once: after the crash the environment is built anew and goes on with another one, so a crash
does not come back in the run by itself.
"""

from __future__ import annotations

from dataclasses import asdict
from dataclasses import dataclass as plain_dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from annotated_types import MaxLen
from pydantic.dataclasses import dataclass

from actors.rollout_stats import Crash
from deploy.errors import UserError
from deploy.runs.atomic import write_json
from deploy.runs.documents import DOCUMENT, Seed, Text, plain, read_document
from deploy.settings.config import TASKS
from deploy.settings.overrides import from_dict, to_dict
from sim import make_env
from sim.config import SimConfig

FORMAT = 1
MOST_FILES = 20
"""Of one run; what crashes more often than that is told by its count alone."""


@dataclass(frozen=True, config=DOCUMENT)
class CrashDocument:
    """What a file holds."""

    task: Text
    """Of the environment."""
    sim: dict[str, Any]
    """Its settings."""
    seed: Seed
    """Of the episode."""
    renders: bool
    """Whether the environment gave images."""
    actions: Annotated[tuple[Annotated[tuple[float, ...], MaxLen(1_000)], ...], MaxLen(100_000)]
    """All that the environment was given in this episode, the one that it did not survive included."""
    error: str
    """What was raised, in one line."""
    traceback: str = ""
    """The same in full."""


@plain_dataclass(frozen=True)
class CrashFile:
    """What a file says.

    Attributes:
        task: of the environment.
        sim: its settings.
        crash: what happened.
    """

    task: str
    sim: SimConfig
    crash: Crash


def write_crash(directory: Path, task: str, sim: SimConfig, crash: Crash) -> Path | None:
    """Writes a file, unless there are many already.

    Returns:
        The file, or None.
    """
    directory.mkdir(exist_ok=True)
    path = directory / f"{crash.seed}.json"
    if path.exists() or sum(1 for _ in directory.glob("*.json")) >= MOST_FILES:
        return None
    document = CrashDocument(task, to_dict(sim), **asdict(crash))
    write_json(path, {"format": FORMAT, **plain(document)})
    return path


def read_crash(path: Path) -> CrashFile:
    """Reads a file.

    Raises:
        UserError: naming the file and what is wrong with it.
    """
    what = "an environment's crash"
    found = read_document(path, CrashDocument, what, FORMAT)
    if found.task not in TASKS:
        raise UserError(f"{path}: is not {what}: task = {found.task} is not allowed: one of {', '.join(TASKS)}")
    try:
        sim = from_dict(SimConfig, found.sim)
    except ValueError as error:
        raise UserError(f"{path}: is not {what}: sim: {error}") from error
    crash = Crash(found.seed, found.renders, found.actions, found.error, found.traceback)
    return CrashFile(found.task, sim, crash)


def reproduce(found: CrashFile) -> str | None:
    """Runs the episode again, in the same world with the same actions.

    Returns:
        What it raised, in one line; None if it got past the last action.
    """
    crash = found.crash
    try:
        env = make_env(found.task, found.sim, views=None if crash.renders else 0)
        observation, _ = env.reset(seed=crash.seed)
        _require_finite(observation["state"], 0.0)
        for action in crash.actions:
            observation, reward, *_ = env.step(np.array(action, env.action_space.dtype))
            _require_finite(observation["state"], float(reward))
        env.close()
    except Exception as error:  # whatever it is, it is what is looked for
        return " ".join(f"{type(error).__name__}: {error}".split())
    return None


def _require_finite(state: Any, reward: float) -> None:
    """As an actor does, for which such a step is a crash too."""
    if not (np.isfinite(state).all() and np.isfinite(reward)):
        raise ValueError(f"state {state}, reward {reward}: they must be finite")
