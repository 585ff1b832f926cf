"""Modes local and cluster: actors and learner run at once as Ray actors; the driver only watches over them.

driver (this file)             waits for                          does
------------------             ---------                          ----
every poll                     a rollout call to end, 0.5 s        hands its actor the next call
every `weights_every_seconds`  the learner's copy of the weights   gives actors the new ones
every `metrics_every_seconds`  the learner's status, Redis         a line of metrics
every `checkpoint_every_...`   the learner between two updates     a checkpoint
every `snapshot_every_...`     the learner's copy of the weights   a snapshot, where they are asked for

Actors end when `env_steps` are in. The learner ends when, after that, the teacher has made the updates that these rows
ask for and the student has made `student_updates`, or as many as its limiter allows. A student that begins after the
teacher (see `deploy.later_student`) is told when the rows are in.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import ray

from actors.actor import ActorPlan
from actors.pool import ActorPool
from deploy.config import RunConfig
from deploy.learner_actor import LearnerActor
from deploy.learner_process import LearnerStatus, actor_limiters
from deploy.monitor import RunMonitor
from deploy.replay_address import ReplayUrls
from deploy.snapshots import Snapshots
from learner.checkpoint import LearnerState
from replay.schema import StreamSpec
from replay.store import ReplayStore

POLL_SECONDS = 0.5


@dataclass
class _Every:
    """True once per period."""

    seconds: float
    last: float = field(default_factory=time.monotonic)

    def due(self) -> bool:
        if time.monotonic() - self.last < self.seconds:
            return False
        self.last = time.monotonic()
        return True


class ParallelRun:
    """One training run on Ray; `train` returns when it has reached its lengths."""

    def __init__(
        self,
        config: RunConfig,
        spec: StreamSpec,
        store: ReplayStore,
        urls: ReplayUrls,
        run_id: str,
        state: LearnerState | None,
    ) -> None:
        """Starts the learner's process and the actors'; needs a `ray_session`."""
        self._config, self._store = config, store
        gpus = 1 if config.learner.device != "cpu" and ray.cluster_resources().get("GPU", 0) >= 1 else 0
        actor: Any = ray.remote(LearnerActor)
        # Its calls answer while others run: a status must not wait for a checkpoint.
        self._learner: Any = actor.options(num_cpus=0, num_gpus=gpus, max_concurrency=4).remote(
            replace(config, redis_url=None), spec.to_json(), urls.learner, run_id, state
        )
        self._plan = ActorPlan(
            task=config.task,
            sim=config.sim,
            spec_json=spec.to_json(),
            replay_url=urls.actor,
            replay=config.replay,
            learner=config.learner,
            actors=config.actors,
            limiters=actor_limiters(config, spec),
            run_id=run_id,
            seed=config.seed,
        )
        self._restarts: dict[str, int] = {}

    def train(
        self,
        env_steps: Callable[[], int],
        monitor: RunMonitor,
        save: Callable[[int, LearnerState], None],
        snapshots: Snapshots,
    ) -> LearnerState:
        """Runs until the configured lengths are reached.

        Args:
            env_steps: environment steps of the run so far.
            monitor: takes every report.
            save: writes a checkpoint on the way.
            snapshots: take some on the way, where they are asked for.

        Returns:
            The learner's last state, for the last checkpoint.

        Raises:
            RuntimeError: one of the learner's loops, or the actors, ended with an error.
        """
        ray.get(self._learner.start.remote())
        training = self._config.training
        metrics = _Every(training.metrics_every_seconds)
        weights, saving = _Every(training.weights_every_seconds), _Every(training.checkpoint_every_seconds)
        taking = _Every(training.snapshot_every_seconds or math.inf)
        version, collecting = 0, True
        with ActorPool(self._plan) as pool:
            while True:
                if collecting and env_steps() >= training.env_steps:
                    monitor.add(pool.drain())
                    collecting = False
                    ray.get(self._learner.rows_are_in.remote())
                if collecting:
                    monitor.add(pool.poll(POLL_SECONDS))
                    self._note_restarts(pool, monitor)
                    if weights.due():
                        version = self._hand_over_weights(pool, version)
                else:
                    time.sleep(POLL_SECONDS)
                if metrics.due():
                    status: LearnerStatus = ray.get(self._learner.status.remote())
                    monitor.line(env_steps(), status, self._store.stats(), pool.stats()["running"])
                    if not collecting and _finished(status, training.student_updates):
                        break
                if taking.due():
                    acting = ray.get(self._learner.capture_acting.remote())
                    snapshots.take(acting, env_steps(), monitor.wall_seconds)
                if saving.due():
                    save(env_steps(), ray.get(self._learner.capture.remote()))
            ray.get(self._learner.stop.remote())
            # What the loops did until they stopped is in the checkpoint, so it is in the metrics and the report too.
            status = ray.get(self._learner.status.remote())
            if status.teacher.updates or status.student.updates:
                monitor.line(env_steps(), status, self._store.stats(), running=0)
            state: LearnerState = ray.get(self._learner.capture.remote())
        ray.kill(self._learner)
        return state

    def _hand_over_weights(self, pool: ActorPool, version: int) -> int:
        flat, newest = ray.get(self._learner.publish.remote())
        if newest > version:
            pool.set_weights(flat, newest)
        return int(newest)

    def _note_restarts(self, pool: ActorPool, monitor: RunMonitor) -> None:
        for cause, count in pool.restarts.items():
            for _ in range(count - self._restarts.get(cause, 0)):
                monitor.event("actor_restart", cause=cause)
            self._restarts[cause] = count


def _finished(status: LearnerStatus, student_updates: int) -> bool:
    student_done = status.student_updates >= student_updates or not status.student_may_sample
    return student_done and not status.teacher_owes
