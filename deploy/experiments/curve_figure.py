"""The learning curve of a run: success of its snapshots over wall time and over environment steps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deploy.experiments.curve_file import CurvePoint
from deploy.reporting.curves import Theme, save_in_both_themes, x_axis
from deploy.runs.intervals import wilson
from learner.methods import DRIVERS

LABELS = {name: f"{name}, from {'state' if driver.sees == 'state' else 'images'}" for name, driver in DRIVERS.items()}


def draw_learning_curve(points: Sequence[CurvePoint], path: Path, title: str) -> list[Path]:
    """Draws `path`, and the same with `-dark` in its name.

    Args:
        points: of one domain and one number of episodes, in any order.
        path: PNG to write.
        title: of the picture.

    Returns:
        What was written.
    """
    return save_in_both_themes(path, lambda theme: _figure(points, theme, title))


def _figure(points: Sequence[CurvePoint], theme: Theme, title: str) -> Figure:
    figure = Figure(figsize=(10, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, of_time in ((left, True), (right, False)):
        for policy, label in LABELS.items():
            own = sorted((p for p in points if p.policy == policy), key=lambda p: p.seconds)
            if own:
                _curve(axes, own, theme.of(policy), label, of_time=of_time)
        axes.set_ylim(-0.03, 1.03)
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
        x_axis(axes, of_time=of_time)
    left.set_title(title)
    right.set_title("the same over environment steps")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


def _curve(axes: Axes, points: Sequence[CurvePoint], colour: str, label: str, *, of_time: bool) -> None:
    x = np.array([p.seconds / 60 if of_time else p.env_steps for p in points])
    low, high = np.array([wilson(p.successes, p.episodes) for p in points]).T
    axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.plot(x, [p.successes / p.episodes for p in points], color=colour, label=label, marker="o", markersize=3)
