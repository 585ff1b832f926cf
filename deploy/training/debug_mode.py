"""Mode debug: everything in this process and in turn, without Ray and without threads, the same numbers each time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

from actors.plan import PlanLike
from actors.rollout_stats import RolloutStats
from actors.stream_worker import CrashBudgetError
from deploy.errors import RunEndedError
from deploy.process import signals
from deploy.runs.snapshots import Snapshots
from deploy.settings.config import RunConfig
from deploy.training.monitor import RunMonitor
from deploy.training.plans import learner_plan, row_credits
from deploy.training.replay_address import ReplayUrls
from deploy.training.replay_watch import ReplayWatch
from learner.checkpoint import LearnerState
from learner.process import LearnerProcess
from replay.connection import UNAVAILABLE, outage
from replay.store import ReplayStore

ACTOR = "actor0"


class DebugRun:
    """One training run, in turn: rows, then the updates that these rows allow, then the new weights."""

    def __init__(
        self,
        config: RunConfig,
        store: ReplayStore,
        urls: ReplayUrls,
        plan: PlanLike,
        state: LearnerState | None,
    ) -> None:
        """Assembles learner and worker; see `ParallelRun`."""
        # The same sums in the same order on machines with more or fewer cores.
        torch.set_num_threads(config.learner.threads)
        self._config = config
        spec, run_id = store.spec, store.run_id
        self._learner = LearnerProcess(learner_plan(config), spec, urls.driver, run_id, state)
        if config.is_distilled:
            self._learner.rows_are_in()
        self._credits = row_credits(config, spec, store)
        self._worker = plan.build(store, ACTOR, store.claim_incarnation(ACTOR))
        training, updates = config.training, self._progress()
        self._lines = _Crossed(training.metrics_every_updates, updates)
        self._saves = _Crossed(training.checkpoint_every_updates, updates)
        self._snapshots = _Crossed(training.snapshot_every_updates, updates)
        self._line_at: tuple[int, ...] | None = None
        self._collecting = True

    def train(
        self,
        replay: ReplayWatch,
        monitor: RunMonitor,
        save: Callable[[int, LearnerState], None],
        snapshots: Snapshots,
    ) -> LearnerState:
        """Runs until the configured lengths are reached, or a signal asks to end; see `ParallelRun.train`."""

        def look() -> None:
            """Between two updates."""
            updates = self._progress()
            if self._lines.crossed(updates):
                self._write_line(replay, monitor)
            if self._saves.crossed(updates):
                save(replay.env_steps(), self._learner.capture())
            if self._snapshots.crossed(updates):
                snapshots.take(self._learner.capture_acting(), replay.env_steps(), monitor.wall_seconds)
            if signals.asked():
                raise _AskedToEnd

        try:
            self._in_turn(replay, monitor, look)
        except _AskedToEnd:
            if self._collecting:
                monitor.add([self._worker.drain()])
        self._write_line(replay, monitor)
        state = self._learner.capture()
        self._learner.stop()
        return state

    def _in_turn(self, replay: ReplayWatch, monitor: RunMonitor, look: Callable[[], None]) -> None:
        training = self._config.training
        while (env_steps := replay.env_steps()) < training.env_steps:
            stats = _until_written(replay, partial(self._collect, training.env_steps - env_steps))
            monitor.add([stats])
            monitor.actors_ran(stats.seconds)
            if replay.env_steps() >= training.env_steps:
                monitor.add([_until_written(replay, self._worker.drain)])
                self._collecting = False
            look()
            while self._learner.update_in_turn():
                look()
        # Only a run that was killed with all rows in, and goes on, has any of these left.
        while self._learner.owes and self._learner.update_in_turn():
            look()
        self._learner.rows_are_in()
        while self._learner.follow_in_turn(training.student_updates):
            look()

    def _collect(self, wanted: int) -> RolloutStats:
        """Rows of the newest policy, as many as the actor has credit for."""
        weights, version = self._learner.publish()
        self._worker.set_weights(weights, version)
        self._credits.limit(wanted)
        self._credits.look()
        credit = self._credits.grant(ACTOR, random=version == 0, among=1)
        stats = self._worker.collect(self._config.actors.rows_per_call, credit or 0)
        self._credits.report(ACTOR, stats.pending_rows)
        return stats

    def last_state(self, error: Exception) -> LearnerState | None:
        """The learner's state after `train` has raised; None where it may have been the learner that failed."""
        return self._learner.capture() if isinstance(error, (CrashBudgetError, RunEndedError)) else None

    def _progress(self) -> int:
        """As lines, checkpoints and snapshots count updates: a student may go on alone after the teacher's last."""
        updates = self._learner.updates.values()
        alone = self._config.student_waits or self._config.is_distilled
        return sum(updates) if alone else max(updates)

    def _write_line(self, replay: ReplayWatch, monitor: RunMonitor) -> None:
        """A line of metrics, unless the last one says the same."""
        env_steps = replay.env_steps()
        at = env_steps, *self._learner.updates.values()
        if at != self._line_at:
            monitor.line(env_steps, self._learner.status(), replay.stats(), running=1)
            self._line_at = at


class _AskedToEnd(Exception):  # noqa: N818 - no error
    """A signal asks the run to end."""


def _until_written(replay: ReplayWatch, call: Callable[[], RolloutStats]) -> RolloutStats:
    """Makes a call of the worker again until Redis takes what it writes, or has been away for too long."""
    while True:
        try:
            stats = call()
        except (ConnectionError, *UNAVAILABLE) as error:
            replay.heed("actors", outage(error))
            replay.stats()
            if signals.asked():
                raise _AskedToEnd from error
        else:
            replay.heed("actors", "")
            return stats


class _Crossed:
    """True whenever a count has passed another multiple of a number; never for the number 0."""

    def __init__(self, every: int, count: int) -> None:
        self._every = every
        self._seen = count // every if every else 0

    def crossed(self, count: int) -> bool:
        if not self._every:
            return False
        before, self._seen = self._seen, count // self._every
        return self._seen > before
