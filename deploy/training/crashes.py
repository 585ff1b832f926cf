"""Environments that crashed: a file each in the run directory, from which the crash can be seen again.

    RUN/crashes/SEED.json     task, world, seed of the episode, every action that it was given, what was raised

An episode's seed is drawn once: after the crash the environment is built anew and goes on with another one, so a crash
does not come back in the run by itself.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from actors.rollout_stats import Crash
from deploy.runs.atomic import write_json
from deploy.runs.documents import read_document
from deploy.settings.overrides import from_dict, to_dict
from sim import make_env
from sim.config import SimConfig

FORMAT = 1
MOST_FILES = 20
"""Of one run; what crashes more often than that is told by its count alone."""


@dataclass(frozen=True)
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
    write_json(path, {"format": FORMAT, "task": task, "sim": to_dict(sim), **asdict(crash)})
    return path


def read_crash(path: Path) -> CrashFile:
    """Reads a file.

    Raises:
        UserError: naming the file and what is wrong with it.
    """
    return read_document(path, _parse, "an environment's crash", FORMAT)


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


def _parse(document: dict[str, Any]) -> CrashFile:
    crash = Crash(
        seed=int(document["seed"]),
        renders=bool(document["renders"]),
        actions=tuple(tuple(map(float, action)) for action in document["actions"]),
        error=str(document["error"]),
        traceback=str(document.get("traceback", "")),
    )
    return CrashFile(str(document["task"]), from_dict(SimConfig, document["sim"]), crash)
