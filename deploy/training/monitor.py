"""Turns what actors, learner and replay say into lines of metrics.jsonl and the live display."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from actors.kept_warnings import OTHERS
from actors.rollout_stats import Crash, RolloutStats
from deploy.process.shown import shown
from deploy.reporting.metrics import MetricsWriter
from deploy.reporting.progress import EPISODES_IN_MEAN, ProgressDisplay
from deploy.training.prometheus import PrometheusMetrics
from learner.loops import LoopReport
from learner.process import LearnerStatus
from replay.schema import RANDOM

LOGGER = logging.getLogger(__name__)

MOST_WARNINGS = 100
"""Different ones that a driver's log tells of."""

OF_A_MOVING_TEACHER = ("teacher/replay_ratio", "teacher/staleness", "wait/teacher", "rate/teacher_updates")
"""Of a line of metrics, what has no meaning where the teacher is another run's."""


class RunMonitor:
    """Collects rollout statistics between two lines of metrics, and writes the lines."""

    def __init__(
        self,
        metrics: MetricsWriter,
        display: ProgressDisplay,
        write_crash: Callable[[Crash], Path | None],
        *,
        wall_seconds: float,
        env_steps: int,
        drivers: Iterable[str],
        actor_hours: float = 0.0,
        stalled_seconds: float = 0.0,
        exported: PrometheusMetrics | None = None,
        teacher_stands_still: bool = False,
    ) -> None:
        """Begins at the counters of a continued run, or at zero.

        Args:
            metrics: the run's only writer.
            display: live display.
            write_crash: keeps what an environment's crash takes to be seen again, in a file if there is room.
            wall_seconds: for which the run had run before.
            env_steps: environment steps so far.
            drivers: whose episodes are told of, beside random ones.
            actor_hours: that its actors had run before, added up.
            stalled_seconds: that it had made no progress before.
            exported: is told the same as `metrics`; None where there is no Ray.
            teacher_stands_still: whether the run's teacher has no rate, and waits for nothing.
        """
        self.env_steps = env_steps
        self._metrics, self._display, self._write_crash = metrics, display, write_crash
        self._exported = exported
        self._teacher_stands_still = teacher_stands_still
        self._wall_before, self._began = wall_seconds, time.monotonic()
        self._last_line, self._last_steps = self._began, env_steps
        self._drivers = (RANDOM, *drivers)
        self._success = {driver: deque[bool](maxlen=EPISODES_IN_MEAN) for driver in self._drivers}
        self._return = {driver: deque[float](maxlen=EPISODES_IN_MEAN) for driver in self._drivers}
        self._waited = self._seconds = 0.0
        self._actor_seconds = 3600.0 * actor_hours
        self._stalled_seconds = stalled_seconds
        self._moving = False
        self._warned: Counter[str] = Counter()

    @property
    def actor_hours(self) -> float:
        """Hours that actors of this run have run, added up."""
        return self._actor_seconds / 3600.0

    @property
    def wall_seconds(self) -> float:
        """Seconds for which the run has run, pauses between its parts left out."""
        return self._wall_before + time.monotonic() - self._began

    def add(self, rollouts: Iterable[RolloutStats]) -> None:
        """Takes in what actors did, and writes a line for each call in which episodes ended."""
        for stats in rollouts:
            self._note_warnings(stats.actor_id, stats.warnings)
            self._waited += stats.waited_seconds
            self._seconds += stats.seconds
            for episode in stats.episodes:
                self._success[episode.driver].append(episode.success)
                self._return[episode.driver].append(episode.episode_return)
            self._note_crashes(stats)
            self._write_episodes(stats)

    def actors_ran(self, seconds: float) -> None:
        """Takes in for how long actors have run, added up; also those that do not answer."""
        self._actor_seconds += seconds

    def event(self, name: str, **values: float | int | str) -> None:
        """Writes down that something happened: these lines are what the report counts."""
        self._metrics.write("event", self.env_steps, {"event": name, **values})
        if self._exported is not None:
            with shown("Prometheus"):
                self._exported.event(name, values)

    def line(self, env_steps: int, learner: LearnerStatus, replay: Mapping[str, float], running: float) -> float | None:
        """Writes one line of kind "train" and shows it.

        Args:
            env_steps: environment steps so far.
            learner: since the line before.
            replay: `ReplayStore.stats()`.
            running: actors that run.

        Returns:
            Share of their time that actors have waited since the line before; None if none of them has reported.
        """
        self._note_warnings("the learner", learner.warnings)
        now = time.monotonic()
        seconds = max(now - self._last_line, 1e-6)
        values: dict[str, float] = {
            "run/wall_seconds": self.wall_seconds,
            "run/warnings": self._warned.total(),
            "run/stalled_seconds": self._stalled(seconds, env_steps, learner),
            "rate/env_steps": (env_steps - self._last_steps) / seconds,
            "actors/running": running,
            "actors/hours": self.actor_hours,
            **{f"{name}/replay_ratio": part.ratio for name, part in learner.parts.items()},
        }
        if self._seconds > 0:
            values["wait/actors"] = self._waited / self._seconds
        for name, part in learner.parts.items():
            values |= _loop_values(name, part.report, part.updates)
        if self._teacher_stands_still:
            values = {key: value for key, value in values.items() if key not in OF_A_MOVING_TEACHER}
        values |= {f"replay/{key}": float(value) for key, value in replay.items()}
        values |= self._success_values()
        self.env_steps = env_steps
        self._metrics.write("train", env_steps, values)
        self._display.update(env_steps, values)
        if self._exported is not None:
            with shown("Prometheus"):
                self._exported.line(env_steps, values)
        self._last_line, self._last_steps = now, env_steps
        self._waited = self._seconds = 0.0
        return values.get("wait/actors")

    def _stalled(self, seconds: float, env_steps: int, learner: LearnerStatus) -> float:
        """Seconds since the run's first step in which neither steps came nor updates were made, line by line."""
        moved = env_steps > self._last_steps or learner.updated
        self._moving |= moved
        if self._moving and not moved:
            self._stalled_seconds += seconds
        return self._stalled_seconds

    def _success_values(self) -> dict[str, float]:
        values = {}
        for driver in self._drivers:
            if self._success[driver]:
                values[f"actors/success_{driver}"] = sum(self._success[driver]) / len(self._success[driver])
                values[f"actors/return_{driver}"] = sum(self._return[driver]) / len(self._return[driver])
        return values

    def _note_warnings(self, who: str, warnings: Iterable[tuple[str, int]]) -> None:
        """Into the driver's log, whoever's they are: each when it is new, and when it has come ten times as often."""
        for said, count in warnings:
            text = said if said in self._warned or len(self._warned) < MOST_WARNINGS else OTHERS
            before = self._warned[text]
            self._warned[text] += count
            if len(str(self._warned[text])) > len(str(before)) or not before:
                LOGGER.warning("%s, %d in all: %s", who, self._warned[text], text)

    def _note_crashes(self, stats: RolloutStats) -> None:
        if stats.crashes:
            names = ""
            with shown("crashes/"):
                files = filter(None, map(self._write_crash, stats.first_crashes))
                names = ", ".join(file.name for file in files)
            self.event("environment_crash", actor=stats.actor_id, count=stats.crashes, files=names)

    def _write_episodes(self, stats: RolloutStats) -> None:
        values: dict[str, float | str] = {}
        for driver in self._drivers:
            returns = stats.returns(driver)
            if returns:
                values[f"episodes/{driver}"] = len(returns)
                values[f"episodes/success_{driver}"] = stats.successes(driver) / len(returns)
                values[f"episodes/return_{driver}"] = sum(returns) / len(returns)
        again = stats.resimulated
        if again.episodes:
            values |= {"episodes/resimulated": again.episodes, "episodes/differing": again.differing}
            values |= {"episodes/drifted": again.drifted, "episodes/largest_drift": again.largest}
        if values:
            values |= {"actor": stats.actor_id, "policy_version": stats.policy_version}
            self._metrics.write("episode", self.env_steps, values)


def _loop_values(name: str, report: LoopReport, updates: int) -> dict[str, float]:
    values = {f"{name}/{key}": value for key, value in report.metrics.items()}
    return values | {
        f"{name}/updates": updates,
        f"{name}/staleness": report.staleness,
        f"wait/{name}": report.waiting_fraction,
        f"rate/{name}_updates": report.updates / report.seconds if report.seconds > 0 else 0.0,
    }
