"""Learning curves: metrics.jsonl to PNGs, each once for light and once for dark surroundings.

A run that was resumed is one curve: pauses are left out of its wall time. A key that is missing leaves out its line,
its panel or its picture, and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from matplotlib.transforms import ScaledTranslation
from numpy.typing import NDArray

from deploy.reporting.metrics import read_metrics
from learner.methods import DRIVERS, PARTS, sees

RESUMED_EVENT = "resumed"
"""Value of `event` in the line that a continued run begins with: the time before it did not belong to the run."""

WALL_SECONDS = "run/wall_seconds"
"""Key of the run's own count of its wall time, which the time of a line is corrected by where the line has it."""

MAX_POINTS = 1500
"""More than a picture is wide; a longer series is thinned to this many points."""


@dataclass(frozen=True)
class Theme:
    """Colours of one kind of surroundings; the policies keep theirs in every picture.

    `teacher` is that of whoever sees the state, `student` that of whoever sees images, in every method.
    """

    suffix: str
    ink: str
    faint: str
    teacher: str
    student: str
    actors: str

    def of(self, name: str) -> str:
        """The colour of a driver, of the part that trains it, or of the actors."""
        if name == "actors":
            return self.actors
        return self.teacher if sees(name) == "state" else self.student


LIGHT = Theme("", ink="#24292f", faint="#d5dae0", teacher="#2f6db3", student="#c8641b", actors="#5b7f67")
DARK = Theme("-dark", ink="#d7dce2", faint="#3a4350", teacher="#79aae8", student="#f0a05a", actors="#8fbf9d")


@dataclass(frozen=True)
class Series:
    """One key of metrics.jsonl over the run.

    Attributes:
        step: environment steps [N].
        seconds: wall time for which the run had run [N].
        value: [N], finite.
    """

    step: NDArray[np.float64]
    seconds: NDArray[np.float64]
    value: NDArray[np.float64]

    def thinned(self) -> Series:
        """At most `MAX_POINTS` of them, the last one included."""
        if len(self.value) <= MAX_POINTS:
            return self
        chosen = np.unique(np.linspace(0, len(self.value) - 1, MAX_POINTS).round().astype(int))
        return Series(self.step[chosen], self.seconds[chosen], self.value[chosen])


History = Mapping[str, Series]


def read_history(metrics: Path) -> History:
    """Every numeric key of a metrics.jsonl, whatever kind of line it stands in.

    Raises:
        ValueError: naming file and line, if a complete line is not a metrics object.
    """
    return make_history(read_metrics(metrics))


def make_history(rows: Iterable[Mapping[str, Any]]) -> History:
    """Series of the numbers in `rows`, ordered by environment step; values that are not finite are left out."""
    points: dict[str, list[tuple[float, float, float]]] = {}
    running, before = 0.0, math.nan
    for row in rows:
        now = float(row["time"])
        if row.get("event") != RESUMED_EVENT and math.isfinite(before):
            running += max(0.0, now - before)  # a clock that was set back makes no time run backwards
        before = now
        counted = row.get(WALL_SECONDS, math.nan)
        if math.isfinite(counted):
            running = max(running, float(counted))
        for key, value in row.items():
            if key in ("time", "step", "kind") or isinstance(value, bool) or not isinstance(value, int | float):
                continue
            if math.isfinite(value):
                points.setdefault(key, []).append((float(row["step"]), running, float(value)))
    history = {}
    for key, found in points.items():
        array = np.array(sorted(found, key=lambda point: point[:2]), dtype=np.float64)
        history[key] = Series(array[:, 0], array[:, 1], array[:, 2])
    return history


def write_curves(metrics: Path, directory: Path) -> list[Path]:
    """Draws success.png, losses.png and rates.png, and the same with `-dark` in their names.

    Args:
        metrics: the run's metrics.jsonl.
        directory: where the pictures go; made if it is not there.

    Returns:
        What was written: nothing for a picture that would have been empty.
    """
    history = read_history(metrics)
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for theme in (LIGHT, DARK):
        with mpl.rc_context(style(theme)):
            pictures = {
                "success": _success(history, theme),
                "losses": _losses(history, theme),
                "rates": _rates(history, theme),
            }
            for name, figure in pictures.items():
                if figure is not None:
                    path = directory / f"{name}{theme.suffix}.png"
                    figure.savefig(path, dpi=144, transparent=True)
                    written.append(path)
    return written


_IN_TRAINING = {name: f"actors/success_{name}" for name in DRIVERS}


def _evaluated() -> Iterator[tuple[str, str, str, str, int]]:
    """Driver, label, key, marker, and the points by which the marker is moved aside so that none hides another."""
    for name, driver in DRIVERS.items():
        key = f"evaluation/{name}_success"
        if driver.sees == "state":
            yield name, name, key, "o", -6
        else:
            yield name, f"{name}, training visuals", f"{key}_train", "s", 0
            yield name, f"{name}, held-out visuals", f"{key}_held_out", "D", 6


def _success(history: History, theme: Theme) -> Figure | None:
    if not any(key in history for key in (*_IN_TRAINING.values(), *(key for _, _, key, *_ in _evaluated()))):
        return None
    figure = Figure(figsize=(10, 3.5), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, of_time in ((left, False), (right, True)):
        for name, key in _IN_TRAINING.items():
            if key in history:
                _line(axes, history[key], theme.of(name), of_time=of_time, label=f"{name}, while training")
        for name, label, key, marker, aside in _evaluated():
            if key in history:
                bars = _evaluations(axes, history, key, theme.of(name), of_time=of_time)
                bars.lines[0].set(marker=marker, label=f"{label}, evaluated")
                moved = axes.transData + ScaledTranslation(aside / 72, 0, figure.dpi_scale_trans)
                for part in bars.get_children():
                    part.set_transform(moved)
        axes.set_ylim(-0.03, 1.03)
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
        x_axis(axes, of_time=of_time)
    left.set_title("success of episodes")
    right.set_title("the same over wall time")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _losses(history: History, theme: Theme) -> Figure | None:
    panels = [
        (owner, key.removeprefix(f"{owner}/loss_"), history[key])
        for owner in PARTS
        for key in sorted(history)
        if key.startswith(f"{owner}/loss_")
    ]
    return _grid(
        [
            (f"{owner}: {term.replace('_', ' ')}", [(series, theme.of(owner), "")], _log_scale(series))
            for owner, term, series in panels
        ],
        columns=4,
        height=1.75,
    )


def _rates(history: History, theme: Theme) -> Figure | None:
    panels: list[_Panel] = [
        (title, [(history[key], colour, "")], False)
        for title, key, colour in (
            ("environment steps per second", "rate/env_steps", theme.actors),
            *((f"{name} updates per second", f"rate/{name}_updates", theme.of(name)) for name in PARTS),
        )
        if key in history
    ]
    waiting = [
        (history[f"wait/{name}"], theme.of(name), name) for name in (*PARTS, "actors") if f"wait/{name}" in history
    ]
    if waiting:
        panels.append(("share of time spent waiting", waiting, False))
    return _grid(panels, columns=2, height=2.3)


_Panel = tuple[str, Sequence[tuple[Series, str, str]], bool]


def _grid(panels: Sequence[_Panel], *, columns: int, height: float) -> Figure | None:
    """Small multiples over environment steps: (title, lines as (series, colour, label), whether y is logarithmic)."""
    if not panels:
        return None
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(10, height * rows + 0.35), layout="constrained")
    cells = figure.subplots(rows, columns, squeeze=False).flatten()
    for index, (axes, (title, lines, logarithmic)) in enumerate(zip(cells, panels, strict=False)):
        for series, colour, label in lines:
            _line(axes, series, colour, of_time=False, label=label)
        axes.set_title(title)
        if logarithmic:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.yaxis.set_minor_formatter(NullFormatter())
        else:
            axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
        if any(label for _, _, label in lines):
            axes.set_ylim(0, 1)
            axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
            axes.legend(loc="upper right", ncols=len(lines))
        x_axis(axes, of_time=False)
        if index + columns < len(panels):
            axes.set_xlabel("")
    for axes in cells[len(panels) :]:
        axes.set_axis_off()
    return figure


def _line(axes: Axes, series: Series, colour: str, *, of_time: bool, label: str) -> None:
    thinned = series.thinned()
    x = thinned.seconds / 60 if of_time else thinned.step
    # One point has no line: without a marker it would not be seen.
    axes.plot(x, thinned.value, color=colour, label=label or None, marker="o" if len(x) == 1 else None)


def _evaluations(axes: Axes, history: History, key: str, colour: str, *, of_time: bool) -> ErrorbarContainer:
    series = history[key]
    bounds = [history.get(f"{key}_{side}") for side in ("low", "high")]
    error = None
    if all(bound is not None and len(bound.value) == len(series.value) for bound in bounds):
        error = np.abs(np.stack([bound.value for bound in bounds if bound is not None]) - series.value)
    x = series.seconds / 60 if of_time else series.step
    return axes.errorbar(x, series.value, yerr=error, linestyle="none", color=colour, markersize=5, elinewidth=1.4)


def x_axis(axes: Axes, *, of_time: bool) -> None:
    """From zero on, in minutes or in environment steps."""
    axes.set_xlim(left=0)
    axes.set_xlabel("minutes" if of_time else "environment steps")
    if not of_time:
        axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}k" if value >= 1000 else f"{value:g}")
    axes.locator_params(axis="x", nbins=5)


def _log_scale(series: Series) -> bool:
    """Whether a loss is positive throughout and falls so far that a linear axis would hide its end."""
    low, high = series.value.min(), series.value.max()
    return bool(low > 0 and high / low > 20)


def style(theme: Theme) -> dict[Any, Any]:
    """What every picture has in common, for `mpl.rc_context`."""
    return {
        "font.family": "DejaVu Sans",
        "font.size": 9,
        "text.color": theme.ink,
        "axes.labelcolor": theme.ink,
        "axes.edgecolor": theme.faint,
        "axes.titlesize": 9.5,
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": theme.faint,
        "grid.linewidth": 0.6,
        "axes.axisbelow": True,
        "axes.labelsize": 8.5,
        "xtick.color": theme.ink,
        "ytick.color": theme.ink,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "xtick.major.size": 0,
        "ytick.major.size": 0,
        "ytick.minor.size": 0,
        "axes.ymargin": 0.08,
        "lines.linewidth": 1.6,
        "lines.solid_capstyle": "round",
        "legend.frameon": False,
        "legend.fontsize": 8.5,
    }


def save_in_both_themes(path: Path, draw: Callable[[Theme], Figure]) -> list[Path]:
    """Draws `path`, and the same for dark surroundings with `-dark` in its name; returns both."""
    written = []
    for theme in (LIGHT, DARK):
        with mpl.rc_context(style(theme)):
            file = path.with_name(f"{path.stem}{theme.suffix}{path.suffix}")
            draw(theme).savefig(file, dpi=144, transparent=True)
            written.append(file)
    return written
