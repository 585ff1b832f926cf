"""factors.png: success with each group of factors held out alone, between training and all held-out visuals."""

from __future__ import annotations

import math
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from deploy.reporting.curves import Theme, save_in_both_themes
from deploy.reporting.factors import HELD_OUT, TRAIN, Effect, FactorsReport

_ROW_INCHES = 0.34


def write_factors_figure(path: Path, report: FactorsReport) -> list[Path]:
    """Draws the figure, and the same for dark surroundings with `-dark` in its name.

    Returns:
        What was written.
    """
    return save_in_both_themes(path, lambda theme: _figure(report, theme))


def _figure(report: FactorsReport, theme: Theme) -> Figure:
    effects = report.effects()
    figure = Figure(figsize=(7.5, 1.25 + _ROW_INCHES * max(2, len(effects))), layout="constrained")
    axes = figure.subplots()
    for row, effect in enumerate(effects):
        _draw(axes, row, effect, theme)
    axes.axvline(report.train.success, color=theme.actors, linewidth=1.6, zorder=1, label=TRAIN)
    axes.axvline(
        report.held_out.success, color=theme.ink, linewidth=1.4, linestyle=(0, (4, 3)), zorder=1, label=HELD_OUT
    )
    # Only for the legend: what the two kinds of dots mean.
    for face, label in ((theme.student, "a factor that costs success"), ("none", "one whose loss may be chance")):
        axes.plot([], [], "o", color=theme.student, markerfacecolor=face, markersize=6, label=label)
    lowest = min(condition.interval[0] for condition in (report.train, report.held_out, *report.factors.values()))
    # A policy that succeeds nearly always would hide its losses at the right edge of 0 to 100 %.
    left = max(0.0, math.floor(10 * lowest - 0.2) / 10)
    axes.set_xlim(left - 0.005, 1.005)
    axes.xaxis.set_major_locator(MultipleLocator(0.05 if left >= 0.7 else 0.1 if left >= 0.3 else 0.2))
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    axes.set_ylim(max(2, len(effects)) - 0.45, -0.55)
    axes.set_yticks(range(len(effects)), [effect.name.replace("_", " ") for effect in effects], fontsize=9.5)
    axes.grid(visible=False, axis="y")
    axes.spines["left"].set_visible(False)
    axes.set_title(f"success in {report.episodes} episodes, one factor held out, or changed, at a time")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _draw(axes: Axes, row: int, effect: Effect, theme: Theme) -> None:
    low, high = effect.condition.interval
    axes.plot([low, high], [row, row], color=theme.student, linewidth=3.2, alpha=0.35)
    face = theme.student if effect.differs else "none"
    axes.plot(effect.condition.success, row, "o", color=theme.student, markerfacecolor=face, markersize=6.5, zorder=3)
    change = f"−{effect.lost}  +{effect.gained}"  # lost and gained episodes, beside the axes
    axes.text(1.015, row, change, transform=axes.get_yaxis_transform(), va="center", fontsize=8, color=theme.ink)
