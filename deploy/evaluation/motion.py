"""How steadily a policy moves the arm: what a robot's owner asks before its motors are switched on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from deploy.runs.results import MotionFigures
from sim.motion import MotionReading

FLIP_ABOVE = 0.2
"""An action flips where a component changes its sign, and is more than this share of the full one before and after."""

SWING_STEPS = 5
"""Positions of the gripper in which a swing is looked for, and steps for which the task was solved before: who has just
arrived brakes."""

_TOLERANCE = 1.01
"""Beyond a limit is what exceeds it by more than an engine's errors."""

_PERCENTILE = 95


@dataclass
class EpisodeMotion:
    """What the arm did in one episode, step by step."""

    actions: list[npt.NDArray[np.float32]] = field(default_factory=list)
    readings: list[MotionReading] = field(default_factory=list)
    solved: list[bool] = field(default_factory=list)

    def add(self, action: npt.NDArray[np.float32], reading: MotionReading, solved: bool) -> None:
        """Adds a step: its action [A] in -1 to 1, what it did, and whether the task is solved after it."""
        self.actions.append(np.clip(action, -1.0, 1.0))
        self.readings.append(reading)
        self.solved.append(solved)

    def flips(self) -> npt.NDArray[np.bool_]:
        """Of each step but the first that is near the goal, and follows one that is: whether its action flips."""
        before, after = np.stack(self.actions)[:-1], np.stack(self.actions)[1:]
        flips = (before * after < 0) & (np.minimum(abs(before), abs(after)) > FLIP_ABOVE)
        near = np.array(self.solved)
        flipped: npt.NDArray[np.bool_] = np.logical_or.reduce(flips[near[:-1] & near[1:]], axis=1)
        return flipped

    def swings(self) -> npt.NDArray[np.float64]:
        """How far the gripper goes to and fro (metres), of each `SWING_STEPS` positions in a row at the goal.

        It is the extent of those positions, less what brings the gripper from the first to the last: nothing for one
        that goes somewhere, or rests.
        """
        if len(self.solved) < 2 * SWING_STEPS:
            return np.zeros(0)
        positions = np.array([reading["gripper_m"] for reading in self.readings])[SWING_STEPS:]
        windows = np.lib.stride_tricks.sliding_window_view(positions, SWING_STEPS, axis=0)  # [N, 3, SWING_STEPS]
        near = np.lib.stride_tricks.sliding_window_view(np.array(self.solved), 2 * SWING_STEPS).all(axis=1)
        swings = np.ptp(windows, axis=2) - abs(windows[..., -1] - windows[..., 0])
        return np.asarray(np.linalg.norm(swings, axis=1)[near])


def motion_figures(episodes: Sequence[EpisodeMotion]) -> MotionFigures:
    """What is reported of an evaluation's episodes, each of at least one step."""
    readings = [reading for episode in episodes for reading in episode.readings]
    flips = np.concatenate([episode.flips() for episode in episodes])
    swings = np.concatenate([episode.swings() for episode in episodes])
    contacts = [reading["contact_m_per_s"] for reading in readings]
    struck = [speed for speed in contacts if speed is not None]
    return MotionFigures(
        flips=float(flips.mean()) if flips.size else None,
        swing_m=float(np.percentile(swings, _PERCENTILE)) if swings.size else None,
        beyond_joint_speed=float(np.mean([reading["joint_speed"] > _TOLERANCE for reading in readings])),
        beyond_joint_acceleration=float(np.mean([reading["joint_acceleration"] > _TOLERANCE for reading in readings])),
        contact_m_per_s=float(np.percentile(struck, _PERCENTILE)) if struck else None,
    )
