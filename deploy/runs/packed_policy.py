"""A packed policy: what a finished run needs to act, in one small directory.

    weights.safetensors   what acts, such as teacher, policy and averaged student, float32; no optimiser's moments
    checkpoint.json       what they see and do, counters, the weights' size and SHA-256
    config.json           the run's settings, without what is of one machine: the replay's address and the folder of
                          pictures (so "train" visuals have only the photographs that come along)
    report.json           the run's result

`twist pack RUN DIR` makes one. config.json is read by whatever version of twist comes later: a setting that is new
takes its default, one that is gone is an error that names the file, which may then be edited (only the weights are
sealed).
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deploy.errors import UserError, user_errors
from deploy.runs.atomic import replace_directory, write_text
from deploy.runs.checkpoints import Checkpoint, is_sealed, read_sealed, seal
from deploy.runs.directory import RunDirectory, parse_config, read_config, write_config
from deploy.runs.report import read_report
from deploy.settings.config import RunConfig
from deploy.settings.lengths import lengths

MAX_BYTES = 8_000_000
"""Of a packed policy in all: it is committed, and everybody who installs the package downloads it."""

_FILES = {"weights.safetensors", "checkpoint.json", "config.json", "report.json"}


@dataclass(frozen=True)
class PackedPolicy:
    """A packed policy on disk; a `deploy.runs.policy_source.PolicySource`."""

    path: Path
    config: RunConfig

    @classmethod
    def open(cls, path: Path) -> PackedPolicy:
        """Reads the settings.

        Raises:
            UserError: there is no packed policy, or its config.json cannot be read.
        """
        document = read_config(path) if is_sealed(path) else None
        if document is None:
            raise UserError(f"{path}: holds no packed policy")
        return cls(path, parse_config(path, document))

    def newest_checkpoint(self) -> Checkpoint:
        """The weights, checked.

        Raises:
            UserError: they are missing or damaged.
        """
        return read_sealed(self.path)


def is_packed(path: Path) -> bool:
    """Whether there is a packed policy in this directory."""
    return is_sealed(path) and os.path.isfile(path / "config.json")


def pack(run_path: Path, target: Path) -> int:
    """Packs the newest checkpoint of a finished run.

    Args:
        run_path: the run's directory.
        target: directory to write: a new or an empty one, or a packed policy, which is replaced.

    Returns:
        Bytes written.

    Raises:
        UserError: the run is not finished, the target holds something else, or the policy is larger than `MAX_BYTES`;
            the target is as it was then.
    """
    run = RunDirectory.open(run_path)
    found = run.newest_checkpoint()
    _check_finished(run, found)
    _check_replaceable(target)
    with user_errors():
        target.parent.mkdir(parents=True, exist_ok=True)
        packed = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        with user_errors():
            _write(run, found, packed)
        size = sum(file.stat().st_size for file in packed.iterdir())
        if size > MAX_BYTES:
            raise UserError(f"{run_path}: packed it has {size:,} bytes; allowed are {MAX_BYTES:,}")
        with user_errors():
            replace_directory(target, packed)
    finally:
        shutil.rmtree(packed, ignore_errors=True)
    return size


def _check_finished(run: RunDirectory, found: Checkpoint) -> None:
    if found.document.get("complete") != lengths(run.config):
        raise UserError(f"run directory {run.path}: is not finished; the command that began it goes on with it")
    if not run.report_json.exists() or read_report(run.report_json).updates != found.updates():
        raise UserError(
            f"run directory {run.path}: has no report of its newest checkpoint; the command that began it makes one"
        )


def _check_replaceable(target: Path) -> None:
    if target.exists() and not target.is_dir():
        raise UserError(f"{target}: is a file, a directory is wanted")
    held = {entry.name for entry in target.iterdir()} if target.is_dir() else set()
    if held and (not is_packed(target) or held - _FILES):
        foreign = min(held - _FILES, default=min(held))
        raise UserError(f"{target}: holds {foreign}, so it is no packed policy; give another directory")


def _write(run: RunDirectory, found: Checkpoint, directory: Path) -> None:
    from learner import checkpoint

    learner = found.learner()
    state = checkpoint.LearnerState(checkpoint.read_weights(found.path), {}, dict(learner))
    checkpoint.write_weights(checkpoint.acting_part(state), directory)
    seal(directory, found.step, {"learner": learner})
    document = read_config(run.path)
    assert document is not None
    write_config(directory, replace(document, config=_of_every_machine(document.config)))
    write_text(directory / "report.json", run.report_json.read_text(encoding="utf-8"))


def _of_every_machine(config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings without the address of somebody's server and a folder that others do not have."""
    kept = {**deepcopy(dict(config)), "redis_url": None}
    visual = kept.get("sim", {}).get("randomisation", {}).get("visual", {})
    if "pictures" in visual:
        visual["pictures"] = ""
    return kept
