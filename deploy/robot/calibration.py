"""Calibrated surprise: the threshold above which a policy is out of its depth, from normal episodes.

Surprise is KL(posterior | prior): how far what is seen is from what was expected. A stop needs it above the threshold
for some steps in a row, so what counts of an episode is the largest value that it held for so long. The threshold is a
margin above the largest of these in the calibration's episodes; how often it stops normal episodes for nothing is then
counted in others.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from deploy.robot.runtime.contract import Surprise

STEPS = 3
"""A single surprising frame is not worth a stop; three are a third of a second at 10 Hz."""

IGNORED = 3
MARGIN = 1.1
_QUANTILES = (0.5, 0.9, 0.99, 0.999)


def calibrated(
    episodes: Iterable[NDArray[np.float32]], others: Iterable[NDArray[np.float32]], rate_hz: float
) -> Surprise:
    """The threshold and what it costs.

    Args:
        episodes: surprise [T] of normal episodes, to choose by.
        others: of normal episodes, to count false stops in.
        rate_hz: steps per second.
    """
    chosen, judged = list(episodes), list(others)
    threshold = MARGIN * max(held(each) for each in chosen)
    false_stops = sum(held(each) > threshold for each in judged)
    hours = sum(len(each) for each in judged) / rate_hz / 3600.0
    steps = np.concatenate([each[IGNORED:] for each in chosen])
    return Surprise(
        threshold=round(float(threshold), 6),
        steps=STEPS,
        ignored=IGNORED,
        quantiles={str(q): round(float(np.quantile(steps, q)), 6) for q in _QUANTILES},
        episodes=len(chosen),
        false_stops_per_hour=round(false_stops / hours, 3),
    )


def held(surprise: NDArray[np.float32]) -> float:
    """The largest value that an episode [T] held for `STEPS` steps in a row, its first `IGNORED` steps left out."""
    counted = surprise[IGNORED:]
    if len(counted) < STEPS:
        return 0.0
    windows = np.lib.stride_tricks.sliding_window_view(counted, STEPS)
    return float(windows.min(-1).max())
