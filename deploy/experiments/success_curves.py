"""Success of a policy over a run, and over several runs that differ only in their seed.

There are two sources. `learning_curve.csv` holds evaluations of the policy at moments of the run: fixed episodes, the
policy's mode. Without it there is success while training, in metrics.jsonl: the mean over each driver's last episodes,
with the actors' exploration, in training visuals only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deploy.errors import user_errors
from deploy.experiments.curve_file import NAME, read_points
from deploy.reporting.curves import read_history
from deploy.runs.intervals import wilson
from learner.methods import DRIVERS, sees

Row = tuple[str, str]
"""(policy, domain): a driver of the method, train or held_out; from state it is train wherever it was evaluated."""

IN_TRAINING = {(name, "train"): f"actors/success_{name}" for name in DRIVERS}

_GRID = 400
"""Points of a mean curve at the most."""

_SLACK = 0.03
"""Share of the whole length by which a run may begin later or end earlier and still count as there: lengths of runs
with the same settings differ by a few steps, their wall times by a little more."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """Success of one policy in one run, in the order of time.

    Attributes:
        step: environment steps [N]; they stand still while a learner uses up what is in.
        seconds: wall time of the run [N].
        success: 0 to 1 [N].
        interval: 95 % interval [2, N]; None where the episodes behind a point are not independent of the next one's.
    """

    step: Floats
    seconds: Floats
    success: Floats
    interval: Floats | None = None


@dataclass(frozen=True)
class MeanCurve:
    """Several runs' curves as one.

    Attributes:
        x: environment steps, or seconds [N].
        mean: over the runs that are there at x [N].
        low: lower edge of the band [N]: the lowest run's, or the interval's of a single run; NaN where there is none.
        high: upper edge.
        runs: how many runs are there at x [N].
        of: how many runs there are in all.
    """

    x: Floats
    mean: Floats
    low: Floats
    high: Floats
    runs: NDArray[np.int64]
    of: int


def evaluated_curves(run: Path) -> dict[Row, Curve]:
    """The evaluations in a run's learning_curve.csv; none without the file.

    Raises:
        UserError: naming file and line.
    """
    points: dict[Row, dict[tuple[float, ...], tuple[float, ...]]] = {}
    for point in read_points(run / NAME):
        # Who sees no image has a success without a visual domain.
        row = (point.policy, "train" if sees(point.policy) == "state" else point.domain)
        at, moment = points.setdefault(row, {}), (float(point.env_steps), point.seconds)
        # Evaluations of one moment may share episodes: the longest counts.
        if moment not in at or at[moment][-1] < point.episodes:
            interval = wilson(point.successes, point.episodes)
            at[moment] = (*moment, point.successes / point.episodes, *interval, point.episodes)
    curves = {}
    for row, found in points.items():
        array = np.array([found[moment] for moment in sorted(found)], dtype=np.float64).T
        curves[row] = Curve(array[0], array[1], array[2], array[3:5])
    return curves


def training_curves(metrics: Path) -> dict[Row, Curve]:
    """Success while training, from a metrics.jsonl.

    Raises:
        UserError: naming file and line.
    """
    with user_errors():
        history = read_history(metrics)
    found: Mapping[Row, str] = {row: key for row, key in IN_TRAINING.items() if key in history}
    return {row: Curve(history[key].step, history[key].seconds, history[key].value) for row, key in found.items()}


def mean_curve(curves: Sequence[Curve], *, of_time: bool) -> MeanCurve:
    """The mean over runs, at every x where at least one of them is; between its points a run is interpolated.

    Of several points of a run at the same x, which are learnt from the same steps, the last one counts.

    Args:
        curves: one of each run, at least one.
        of_time: over wall time instead of environment steps.
    """
    every_x = [curve.seconds if of_time else curve.step for curve in curves]
    last = [np.append(np.diff(x) > 0, True) for x in every_x]
    xs = [x[chosen] for x, chosen in zip(every_x, last, strict=True)]
    grid = np.unique(np.concatenate(xs))
    if len(grid) > _GRID:
        grid = np.linspace(grid[0], grid[-1], _GRID)
    slack = _SLACK * (grid[-1] - grid[0])
    there = np.stack([(grid >= x[0] - slack) & (grid <= x[-1] + slack) for x in xs])

    def on_grid(values: Sequence[Floats]) -> Floats:
        rows = [np.interp(grid, x, value[chosen]) for x, value, chosen in zip(xs, values, last, strict=True)]
        return np.where(there, np.stack(rows), np.nan)

    covered = there.any(axis=0)
    success = on_grid([curve.success for curve in curves])[:, covered]
    low, high = np.nanmin(success, axis=0), np.nanmax(success, axis=0)
    runs = there.sum(axis=0)[covered]
    if len(curves) == 1 and curves[0].interval is not None:
        low, high = (on_grid([edge])[0, covered] for edge in curves[0].interval)
    else:
        low, high = (np.where(runs > 1, edge, np.nan) for edge in (low, high))
    return MeanCurve(grid[covered], np.nanmean(success, axis=0), low, high, runs, len(curves))
