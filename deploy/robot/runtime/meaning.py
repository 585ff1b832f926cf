"""What an action means, by the contract: the gripper's next target, and back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .arm import Target
from .contract import Action

_AXES = ("x", "y", "z")


def target_after(terms: Action, before: Target, action: NDArray[np.float32]) -> Target:
    """The target that an action [A] in -1 to 1 asks for, kept in the workspace as training kept it."""
    position, opening = list(before.position), before.opening
    for entry, value in zip(terms.entries, np.clip(action, -1.0, 1.0).tolist(), strict=True):
        if entry.kind == "displacement":
            axis = _AXES.index(entry.name)
            moved = position[axis] + entry.high * value
            position[axis] = min(max(moved, terms.workspace_low_m[axis]), terms.workspace_high_m[axis])
        else:
            opening = entry.low + (entry.high - entry.low) * (value + 1.0) / 2.0
    return Target((position[0], position[1], position[2]), opening)


def action_between(terms: Action, before: Target, after: Target) -> NDArray[np.float32]:
    """The action [A] that leads from one target to another, as near as -1 to 1 allows."""
    values = []
    for entry in terms.entries:
        if entry.kind == "displacement":
            axis = _AXES.index(entry.name)
            values.append((after.position[axis] - before.position[axis]) / entry.high)
        else:
            values.append(2.0 * (after.opening - entry.low) / (entry.high - entry.low) - 1.0)
    return np.clip(np.array(values, np.float32), -1.0, 1.0)
