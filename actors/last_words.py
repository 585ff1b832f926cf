"""What a process of Ray's said before it died: its log, kept where that is on this machine, and its telling line."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from actors.losses import DIED, Loss, loss_by
from actors.placement import Place, place_of

FATAL = ("Fatal Python error:", "terminate called", "Assertion", "free():", "malloc", "double free")
"""How the lines begin with which Python's fault handler, the C++ runtime and the C library say why they give up."""


def loss_of(handle: Any, error: RayError, logs: Path, name: str) -> Loss:
    """What an actor was lost by, with its last words if it died.

    Args:
        handle: Ray's, of the actor.
        error: of kind `PROCESS`, with which a call ended.
        logs: directory to which the log of a process on this node is copied, as `NAME-PID.err`: it goes with Ray's
            session.
        name: of the actor.
    """
    place = place_of(handle)
    loss = loss_by(error, node_lives=place is None or place.node_lives)
    if loss.cause != DIED or place is None:
        return loss
    return Loss(DIED, _last_words(place, logs / f"{name}-{place.pid}.err", loss.reason))


def _last_words(place: Place, kept_as: Path, reason: str) -> str:
    """What a process said of its end, or else Ray did, with where its log is; keeps the log."""
    reason = f"process {place.pid}: {reason}"
    log = _log(place)
    if log is None:
        return f"{reason} (its log: worker-*-{place.pid}.err in Ray's logs on node {place.node_id})"
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
    said = [line for line in lines if line and not line.startswith(":")]  # Ray's own marks begin with a colon
    if not said:
        return reason
    with contextlib.suppress(OSError):  # a disk that is full has its own line elsewhere
        shutil.copyfile(log, kept_as)
    fatal = next((line for line in said if line.startswith(FATAL)), reason)
    return f"{fatal} (its log: {kept_as})"


def _log(place: Place) -> Path | None:
    """Of a process on this node; None where it ran elsewhere."""
    node: Any = ray._private.worker._global_node
    if node is None or place.node_id != ray.get_runtime_context().get_node_id():
        return None
    return next(Path(node.get_logs_dir_path()).glob(f"worker-*-{place.pid}.err"), None)
