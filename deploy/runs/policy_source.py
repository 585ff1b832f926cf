"""Where a trained policy comes from: a run, a policy packed out of one, or a pretrained one of this package."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Protocol

from deploy.errors import UserError
from deploy.runs.checkpoints import Checkpoint
from deploy.runs.directory import RunDirectory
from deploy.runs.packed_policy import PackedPolicy, is_packed
from deploy.settings.config import RunConfig

PRETRAINED: tuple[str, ...] = ("push", "reach")
"""The pretrained policies, by task: `twist pack RUN deploy/runs/pretrained/TASK` writes one; its name goes in here."""

PRETRAINED_DIRECTORY = Path(__file__).parent / "pretrained"
"""Package data, no package."""


class PolicySource(Protocol):
    """What every source of a policy offers."""

    @property
    def path(self) -> Path:
        """Where it lies."""

    @property
    def config(self) -> RunConfig:
        """The settings of the run that it is, or was."""

    def newest_checkpoint(self) -> Checkpoint:
        """The weights to act with, checked.

        Raises:
            UserError: there are none, or they are corrupt.
        """


def find_policy(name: str) -> PolicySource:
    """A run or a packed policy by its path, or a pretrained policy by `pretrained/NAME`.

    What lies in the working directory comes first: a run or a packed policy in `./pretrained/push` is taken, not the
    package's.

    Raises:
        UserError: in one line, with what there is.
    """
    path = Path(name)
    if is_packed(path):
        return PackedPolicy.open(path)
    asked = re.fullmatch(r"pretrained/([^/]+)/?", name)
    if asked is None or os.path.isfile(path / "config.json"):
        return RunDirectory.open(path)
    if asked[1] in PRETRAINED:
        return PackedPolicy.open(PRETRAINED_DIRECTORY / asked[1])
    there_are = ", ".join(f"pretrained/{known}" for known in PRETRAINED) or "none in this version"
    raise UserError(
        f"{name}: is neither a run nor a packed policy here, nor a pretrained policy; of these there are: {there_are}"
    )
