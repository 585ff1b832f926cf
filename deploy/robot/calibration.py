"""Calibrated surprise and agreement: the thresholds above which a policy is out of its depth, from normal episodes.

Surprise is KL(posterior | prior): how far what is seen is from what was expected. A stop needs it above the threshold
for some steps in a row, so what counts of an episode is the largest value that it held for so long. The threshold is a
margin above the largest of these in the calibration's episodes; how often it stops normal episodes for nothing is then
counted in others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from deploy.robot.episodes import StudentEpisode
from deploy.robot.runtime.contract import Agreement, Strangeness, Surprise
from deploy.robot.runtime.depth import disagreement
from deploy.robot.runtime.familiar import Familiar

STEPS = 3
"""A single surprising frame is not worth a stop; three are a third of a second at 10 Hz."""

IGNORED = 3
MARGIN = 1.25
_LEAST_DEVIATION_M = 0.002
_QUANTILES = (0.5, 0.9, 0.99, 0.999)


def calibrated(
    episodes: Iterable[NDArray[np.float32]], others: Iterable[NDArray[np.float32]], rate_hz: float
) -> Surprise:
    """The threshold of surprise and what it costs.

    Args:
        episodes: surprise [T] of normal episodes, to choose by.
        others: of normal episodes, to count false stops in.
        rate_hz: steps per second.
    """
    chosen = list(episodes)
    threshold, false_stops = _threshold(chosen, list(others), rate_hz)
    steps = np.concatenate([each[IGNORED:] for each in chosen])
    return Surprise(
        threshold=threshold,
        steps=STEPS,
        ignored=IGNORED,
        quantiles={str(q): round(float(np.quantile(steps, q)), 6) for q in _QUANTILES},
        episodes=len(chosen),
        false_stops_per_hour=false_stops,
    )


def agreement(
    episodes: Sequence[StudentEpisode], others: Sequence[StudentEpisode], axes: Sequence[int], rate_hz: float
) -> Agreement:
    """How well pictures and arm agree about the gripper, and the threshold of what is too little.

    Args:
        episodes: normal ones, to choose by.
        others: normal ones, to count false stops in.
        axes: of the gripper's place in `state`.
        rate_hz: steps per second.
    """
    apart = np.concatenate([each.trace["state"][:, axes] - each.gripper_m for each in episodes])
    mean, deviation = apart.mean(0), np.maximum(apart.std(0), _LEAST_DEVIATION_M)
    found = Agreement(_vector(mean), _vector(deviation), 0.0, STEPS, 0.0)

    def along(each: StudentEpisode) -> NDArray[np.float32]:
        pairs = zip(each.trace["state"][:, axes].tolist(), each.gripper_m.tolist(), strict=True)
        return np.array([disagreement(found, tuple(read), tuple(measured)) for read, measured in pairs], np.float32)

    threshold, false_stops = _threshold([along(each) for each in episodes], [along(each) for each in others], rate_hz)
    return replace(found, threshold=threshold, false_stops_per_hour=false_stops)


def familiarity(
    episodes: Sequence[StudentEpisode], others: Sequence[StudentEpisode], rate_hz: float
) -> tuple[Familiar, Strangeness]:
    """What pictures of normal episodes are like, and the threshold of what is too unlike them.

    Args:
        episodes: normal ones: from every second one it is learned, by the others the threshold is chosen; two at least.
        others: normal ones, to count false stops in.
        rate_hz: steps per second.
    """
    familiar = Familiar.of(np.concatenate([each.trace["embed"] for each in episodes[::2]]))

    def along(chosen: Sequence[StudentEpisode]) -> list[NDArray[np.float32]]:
        return [familiar.strangeness(each.trace["embed"]) for each in chosen]

    threshold, false_stops = _threshold(along(episodes[1::2] or episodes), along(others), rate_hz)
    return familiar, Strangeness(threshold, STEPS, false_stops)


def _threshold(
    chosen: Sequence[NDArray[np.float32]], judged: Sequence[NDArray[np.float32]], rate_hz: float
) -> tuple[float, float]:
    """The threshold by the first episodes, and how often an hour the others would be stopped by it."""
    threshold = round(float(MARGIN * max(held(each) for each in chosen)), 6)
    hours = sum(len(each) for each in judged) / rate_hz / 3600.0
    return threshold, round(sum(held(each) > threshold for each in judged) / hours, 3)


def held(values: NDArray[np.float32]) -> float:
    """The largest value that an episode [T] held for `STEPS` steps in a row, its first `IGNORED` steps left out."""
    counted = values[IGNORED:]
    if len(counted) < STEPS:
        return 0.0
    windows = np.lib.stride_tricks.sliding_window_view(counted, STEPS)
    return float(windows.min(-1).max())


def _vector(values: NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = (round(float(value), 6) for value in values)
    return (x, y, z)
