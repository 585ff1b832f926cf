"""Snapshots of a run: the weights that act, at many moments, for a learning curve; nothing to go on training from.

    snapshots/step_000012000-000650/weights.safetensors     what acts, such as teacher, policy and student: a few MB
    snapshots/step_000012000-000650/checkpoint.json         where the run was, what the networks are, SHA-256

The name gives environment steps and updates (of all parts together). A snapshot appears by one rename. None
is ever taken away. A run that was killed falls back behind its newest snapshot, as far as to its checkpoint: it then
takes none before it has made more updates in all than that one had, so that none is there twice.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.errors import UserError
from deploy.runs.atomic import new_directory
from deploy.runs.checkpoints import Checkpoint, read_sealed, seal
from deploy.settings.config import RunConfig
from learner import checkpoint
from learner.checkpoint import LearnerState
from learner.methods.documents import updates_of

_NAME = re.compile(r"step_(\d{9,})-(\d{6,})")


@dataclass(frozen=True)
class Snapshot:
    """One snapshot; a `deploy.runs.policy_source.PolicySource`.

    Attributes:
        path: its directory.
        config: the run's settings.
        env_steps: environment steps of the run so far.
        seconds: for which the run had run.
        updates: so far, of each part of the method by its name.
    """

    path: Path
    config: RunConfig
    env_steps: int
    seconds: float
    updates: Mapping[str, int]

    def newest_checkpoint(self) -> Checkpoint:
        """Its weights, checked.

        Raises:
            UserError: it is corrupt.
        """
        return read_sealed(self.path)


class Snapshots:
    """The snapshots of one run."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def all(self, config: RunConfig) -> list[Snapshot]:
        """Those there are, oldest first.

        Args:
            config: of the run.

        Raises:
            UserError: one of them is corrupt.
        """
        return [_read(self.directory / name, config) for name in self._names()]

    def take(self, state: LearnerState, env_steps: int, seconds: float) -> bool:
        """Writes a snapshot, unless the newest one has as many updates.

        Args:
            state: `checkpoint.capture_acting` or `checkpoint.acting_part`.
            env_steps: of the run so far.
            seconds: for which the run has run.

        Returns:
            Whether it was written.
        """
        updates = _updates(state)
        names = self._names()
        if names and _counts(names[-1])[1] >= updates:
            return False
        with new_directory(self.directory / f"step_{env_steps:09d}-{updates:06d}") as unfinished:
            checkpoint.write_weights(state, unfinished)
            seal(unfinished, env_steps, {"seconds": seconds, "learner": state.document})
        return True

    def _names(self) -> list[str]:
        if not self.directory.is_dir():
            return []
        found = [path.name for path in self.directory.iterdir() if _NAME.fullmatch(path.name)]
        return sorted(found, key=lambda name: _counts(name)[::-1])


def _updates(state: LearnerState) -> int:
    return sum(updates_of(state.document).values())


def _counts(name: str) -> tuple[int, int]:
    """Environment steps and updates."""
    env_steps, updates = name.removeprefix("step_").split("-")
    return int(env_steps), int(updates)


def _read(path: Path, config: RunConfig) -> Snapshot:
    found = read_sealed(path)
    updates, seconds = found.updates(), found.document.get("seconds")
    if not isinstance(seconds, int | float):
        raise UserError(f"{path}: its checkpoint.json has no 'document.seconds'")
    return Snapshot(
        path,
        config,
        env_steps=found.step,
        seconds=float(seconds),
        updates=updates,
    )
