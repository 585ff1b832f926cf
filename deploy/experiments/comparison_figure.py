"""The picture of a comparison: one row of panels for each task, one line for each group of runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from deploy.experiments.success_curves import MeanCurve, Row
from deploy.reporting.curves import LIGHT, style, x_axis
from learner.methods import DRIVERS

COLOURS = (LIGHT.teacher, LIGHT.student, LIGHT.actors, "#8b4fa0", "#b08a1e", "#2f9aa0", "#b03a55", "#6b7480")
"""Of the groups; from the ninth on they come again, dashed."""

PANELS: Mapping[Row, str] = {
    (name, domain): name if driver.sees == "state" else f"{name}, {visuals} visuals"
    for name, driver in DRIVERS.items()
    for domain, visuals in (("train", "training"), ("held_out", "held-out"))
    if driver.sees == "image" or domain == "train"
}

_Dash = Literal["-", "--"]

_WIDTH, _LEGEND_LINE = 11.0, 0.2
_MARKED = 40
"""Curves of so few points show them."""

_CHARACTERS_PER_INCH = 12.5
"""Of the legend's letters."""


@dataclass(frozen=True)
class Line:
    """One group's curve in one panel."""

    task: str
    row: Row
    label: str
    curve: MeanCurve
    evaluated: bool
    """From evaluations during the run, not from the episodes that it learned from."""
    of_time: bool
    """Over seconds of wall time, not over environment steps."""


def draw(path: Path, lines: Sequence[Line]) -> None:
    """Draws the picture on a white ground.

    Args:
        path: PNG to write.
        lines: at least one, all over the same x.
    """
    tasks = list(dict.fromkeys(line.task for line in lines))
    rows = [row for row in PANELS if any(line.row == row for line in lines)]
    seeds: dict[str, set[int]] = {}
    for line in lines:
        seeds.setdefault(line.label, set()).add(line.curve.of)
    caption = _caption(lines)
    legend = [(label, COLOURS[i % len(COLOURS)], _dash(i)) for i, label in enumerate(seeds)]
    width = max(_WIDTH * len(rows) / 3, 0.6 * _WIDTH)
    columns = max(1, min(len(legend), int(_CHARACTERS_PER_INCH * width / (max(map(len, seeds)) + 16))))
    legend_lines = -(-len(legend) // columns)
    height = 2.6 * len(tasks) + _LEGEND_LINE * (legend_lines + 1) + 0.5
    with mpl.rc_context({**style(LIGHT), "figure.facecolor": "white", "axes.facecolor": "white"}):
        figure = Figure(figsize=(width, height), layout="constrained")
        cells = figure.subplots(len(tasks), len(rows), squeeze=False, sharex="row", sharey=True)
        for task, in_task in zip(tasks, cells, strict=True):
            for row, axes in zip(rows, in_task, strict=True):
                here = [line for line in lines if (line.task, line.row) == (task, row)]
                _panel(axes, here, legend)
                x_axis(axes, of_time=lines[0].of_time)
                if not here:
                    axes.set_axis_off()
                    axes.text(0.5, 0.5, "no evaluations", transform=axes.transAxes, ha="center", alpha=0.6)
                axes.set_title(f"{task}: {PANELS[row]}{_source(here)}")
        handles = [
            Line2D([], [], color=colour, linestyle=dash, label=f"{label} ({_count(seeds[label])})")
            for label, colour, dash in legend
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=columns, title=caption, title_fontsize=8.5)
        figure.savefig(path, dpi=144, facecolor="white")


def _panel(axes: Axes, lines: Sequence[Line], legend: Sequence[tuple[str, str, _Dash]]) -> None:
    looks = {label: (colour, dash) for label, colour, dash in legend}
    for line in lines:
        colour, dash = looks[line.label]
        curve = line.curve
        x = curve.x / 60 if line.of_time else curve.x
        everyone = np.where(curve.runs == curve.of, curve.mean, np.nan)
        axes.fill_between(x, curve.low, curve.high, color=colour, alpha=0.17, linewidth=0)
        axes.plot(x, curve.mean, color=colour, linestyle=":", linewidth=1.1)
        marker = "o" if line.evaluated and len(x) <= _MARKED or len(x) == 1 else None
        axes.plot(x, everyone, color=colour, linestyle=dash, marker=marker, markersize=2.6)
    axes.set_ylim(-0.03, 1.03)
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")


def _caption(lines: Sequence[Line]) -> str:
    """What line and band are, without what does not occur."""
    parts = ["line: mean over seeds"]
    if any(line.curve.of > 1 for line in lines):
        parts.append("band: from the lowest to the highest seed")
    if any(line.curve.of == 1 and np.isfinite(line.curve.low).any() for line in lines):
        parts.append("band of a single seed: 95 % interval of its episodes")
    if any((line.curve.runs < line.curve.of).any() for line in lines):
        parts.append("dotted: only some of the seeds have got there")
    return "; ".join(parts)


def _source(lines: Sequence[Line]) -> str:
    if not lines:
        return ""
    return "\nevaluated" if lines[0].evaluated else "\nwhile training"


def _count(runs: set[int]) -> str:
    """Tasks may have been trained with different numbers of seeds."""
    if runs == {1}:
        return "1 seed"
    return f"{min(runs)} seeds" if len(runs) == 1 else f"{min(runs)} to {max(runs)} seeds"


def _dash(index: int) -> _Dash:
    return "-" if index < len(COLOURS) else "--"
