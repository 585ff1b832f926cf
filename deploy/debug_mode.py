"""Mode debug: everything in this process and in turn, without Ray and without threads, the same numbers each time."""

from __future__ import annotations

from collections.abc import Callable

import sim
from actors.worker import RolloutWorker
from deploy.config import RunConfig
from deploy.learner_process import LearnerProcess, limiter_plans
from deploy.monitor import RunMonitor
from learner.acting import ActingPolicy
from learner.checkpoint import LearnerState
from replay.limiter import SamplesPerInsert
from replay.schema import StreamSpec
from replay.store import ReplayStore

ACTOR = "actor0"


class DebugRun:
    """One training run, in turn: rows, then the updates that these rows allow, then the new weights."""

    def __init__(
        self,
        config: RunConfig,
        spec: StreamSpec,
        store: ReplayStore,
        replay_url: str,
        run_id: str,
        state: LearnerState | None,
    ) -> None:
        """Assembles learner and worker."""
        self._config, self._store = config, store
        self._learner = LearnerProcess(config, spec, replay_url, run_id, state)
        self._worker = RolloutWorker(
            lambda: sim.make_env(config.task, config.sim),
            ActingPolicy(spec, config.learner, seed=config.seed),
            store,
            [
                SamplesPerInsert(store, plan.name, plan.samples_per_insert, plan.min_rows, plan.tolerance_rows)
                for plan in limiter_plans(config, spec)
            ],
            config.actors,
            run_id=run_id,
            actor_id=ACTOR,
            seed=config.seed,
            incarnation=store.claim_incarnation(ACTOR),
            make_state_only_env=lambda: sim.make_env(config.task, config.sim, views=0),
        )

    def train(
        self, env_steps: Callable[[], int], monitor: RunMonitor, save: Callable[[int, LearnerState], None]
    ) -> LearnerState:
        """Runs until the configured lengths are reached; see `ParallelRun.train`."""
        training = self._config.training
        collecting = True
        lines = _Crossed(training.metrics_every_updates)
        saves = _Crossed(training.checkpoint_every_updates)
        while collecting:
            self._worker.set_weights(*self._learner.publish())
            monitor.add([self._worker.collect(self._config.actors.rows_per_call, timeout_s=0.0)])
            collecting = env_steps() < training.env_steps
            if not collecting:
                monitor.add([self._worker.drain()])
            while self._learner.update_in_turn(1):
                self._look(env_steps(), monitor, save, lines, saves)
        while self._learner.student_updates < training.student_updates:
            if not self._learner.student_loop.step(0.0):
                raise RuntimeError("the student has nothing to learn from: the replay holds no images")
        monitor.line(env_steps(), self._learner.status(), self._store.stats(), running=0)
        state = self._learner.capture()
        save(env_steps(), state)
        self._learner.stop()
        return state

    def _look(
        self,
        env_steps: int,
        monitor: RunMonitor,
        save: Callable[[int, LearnerState], None],
        lines: _Crossed,
        saves: _Crossed,
    ) -> None:
        updates = self._learner.teacher_updates
        if lines.crossed(updates):
            monitor.line(env_steps, self._learner.status(), self._store.stats(), running=1)
        if saves.crossed(updates):
            save(env_steps, self._learner.capture())


class _Crossed:
    """True whenever a count has passed another multiple of a number."""

    def __init__(self, every: int) -> None:
        self._every = every
        self._seen = 0

    def crossed(self, count: int) -> bool:
        before, self._seen = self._seen, count // self._every
        return self._seen > before
