"""Modes local and cluster: actors and learner run at once as Ray actors; the driver only watches over them.

driver (this file)             waits for                          does
------------------             ---------                          ----
every poll                     a rollout call to end, 0.5 s        hands actors calls, as they have credit
every `DRAIN_SECONDS`          Ray's books                         actors leave nodes that are about to go
every `weights_every_seconds`  the learner's copy of the weights   gives actors the new ones
every `metrics_every_seconds`  the learner's status, Redis         a line of metrics; a larger or smaller pool
every `checkpoint_every_...`   the learner between two updates     a checkpoint
every `snapshot_every_...`     the learner's copy of the weights   a snapshot, where they are asked for

While the learner is waited for, or made anew, actors go on. They end when `env_steps` are in, or their hours are spent.
The learner ends when, after that, the teacher has made the updates that these rows ask for and the student has made
`student_updates`, or as many as its limiter allows. A student that begins after the teacher (see
`learner.later_student`) is told when the rows are in.

A signal that asks to end (`deploy.process.signals`) ends both at once: actors write what they hold, the learner stops
between two updates, and its state is the run's last checkpoint.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import ray
from ray.exceptions import RayError

from actors.actor import ActorPlan
from actors.losses import Loss, last_line
from actors.plan import PlanLike
from actors.pool import ActorPool
from actors.scaling import PoolSizer
from deploy.process import signals
from deploy.runs.snapshots import Snapshots
from deploy.settings.config import RunConfig
from deploy.training.lasting_learner import LastingLearner
from deploy.training.learner_actor import LearnerActor
from deploy.training.monitor import RunMonitor
from deploy.training.plans import learner_plan, row_credits
from deploy.training.ray_session import draining_nodes
from deploy.training.replay_address import ReplayUrls
from deploy.training.replay_watch import ReplayWatch
from learner.checkpoint import LearnerState
from learner.devices import gpus_wanted
from learner.methods import METHODS, Method
from learner.process import LearnerStatus
from replay.store import ReplayStore

LOGGER = logging.getLogger(__name__)

POLL_SECONDS = 0.5
DRAIN_SECONDS = 2.0
LAST_ROWS_SECONDS = 8.0
"""That actors have for them after a signal: less than `signals.DRAIN_SECONDS`, of which the learner needs the rest."""
WEIGHTS_SECONDS = 30.0
"""For weights to come from the learner's node; the next ones follow."""


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
        store: ReplayStore,
        urls: ReplayUrls,
        plan: PlanLike,
        state: LearnerState | None,
        newest: Callable[[], LearnerState | None],
        logs: Path,
    ) -> None:
        """Starts the learner's process; needs a `ray_session`.

        Args:
            config: of the run.
            store: the run's replay.
            urls: where it is, for each role.
            plan: of the run's workers.
            state: the learner's, to continue from.
            newest: reads the state of the newest checkpoint, for a learner that has to begin again.
            logs: directory for the logs of processes that died.
        """
        self._config, self._logs = config, logs
        self._method = METHODS[config.learner.method]
        spec, run_id = store.spec, store.run_id
        gpus = gpus_wanted(config.learner)
        gpus = gpus if ray.cluster_resources().get("GPU", 0) >= gpus else 0
        resources = {config.learner.resource: 1.0} if config.learner.resource else None
        actor: Any = ray.remote(LearnerActor)

        def make(state: LearnerState | None) -> Any:
            # Its calls answer while others run: a status must not wait for a checkpoint.
            options = actor.options(num_cpus=0, num_gpus=gpus, resources=resources, max_concurrency=4)
            return options.remote(learner_plan(config), spec.to_json(), urls.learner, run_id, state)

        self._monitor: RunMonitor | None = None
        self._pool: ActorPool | None = None
        self._weights: npt.NDArray[np.float32] | None = None  # those that actors have, for when the learner is lost
        self._learner = LastingLearner(
            make,
            state,
            newest,
            self._note_loss,
            logs,
            most_losses=config.training.max_learner_losses,
            patience=self._learner_seconds,
        )
        self._plan = ActorPlan(plan, spec.to_json(), urls.actor, config.replay)
        self._credits = row_credits(config, spec, store)
        self._restarts: dict[str, int] = {}

    def train(
        self,
        replay: ReplayWatch,
        monitor: RunMonitor,
        save: Callable[[int, LearnerState], None],
        snapshots: Snapshots,
    ) -> LearnerState:
        """Runs until the configured lengths are reached, or a signal asks to end.

        Args:
            replay: the replay's counters.
            monitor: takes every report.
            save: writes a checkpoint on the way.
            snapshots: take some on the way, where they are asked for.

        Returns:
            The learner's last state, for the last checkpoint.

        Raises:
            RuntimeError: one of the learner's loops, or the actors, ended with an error; learner or Redis are lost.
        """
        training, actors = self._config.training, self._config.actors
        metrics = _Every(training.metrics_every_seconds)
        weights, saving = _Every(training.weights_every_seconds), _Every(training.checkpoint_every_seconds)
        taking, leaving = _Every(training.snapshot_every_seconds or math.inf), _Every(DRAIN_SECONDS)
        version, collecting, told = 0, True, False
        self._monitor = monitor
        self._begin_learner()
        with ActorPool(self._plan, self._credits, self._logs) as pool, ExitStack() as at_the_end:
            self._pool = pool
            at_the_end.callback(self._note_restarts, pool, monitor)
            sizer = PoolSizer(actors, time.monotonic())

            def go_on(seconds: float = 0.0) -> None:
                """What must not wait while the learner is waited for."""
                nonlocal collecting
                if not collecting:
                    return
                monitor.add(pool.poll(seconds))
                monitor.actors_ran(pool.take_seconds())
                if self._hours_are_spent(monitor):
                    monitor.add(pool.drain())
                    collecting = False

            while not signals.asked():
                replay.heed("actors", pool.refusal)
                wanted = training.env_steps - replay.env_steps()
                self._credits.limit(wanted)
                if collecting and wanted <= 0:
                    monitor.add(pool.drain())
                    collecting = False
                if not collecting and not told:
                    self._learner.begin("rows_are_in")
                    told = True
                if collecting:
                    go_on(POLL_SECONDS)
                    if leaving.due():
                        pool.leave_nodes(draining_nodes())
                    if collecting and (weights.due() or (version == 0 and self._credits.learned)):
                        version = self._hand_over_weights(pool, version, go_on)
                else:
                    time.sleep(POLL_SECONDS)
                if metrics.due():
                    status: LearnerStatus = self._learner.call("status", go_on)
                    replay.heed("the learner", status.refusal)
                    self._note_restarts(pool, monitor)
                    monitor.add(pool.idle())
                    running = pool.stats()["running"]
                    waited = monitor.line(replay.env_steps(), status, replay.stats(), running)
                    if _is_over(not told, self._method, status, training.student_updates):
                        break
                    if collecting and waited is not None and not replay.away:
                        self._resize(sizer, pool, monitor, waited, _learner_waited(self._method, status))
                if taking.due():
                    acting = self._learner.call("capture_acting", go_on)
                    snapshots.take(acting, replay.env_steps(), monitor.wall_seconds)
                if saving.due():
                    save(replay.env_steps(), self._learner.call("capture", go_on))
                    self._learner.checkpointed()
            if collecting:
                monitor.add(pool.drain(LAST_ROWS_SECONDS))
            self._learner.call("stop")
            # What the loops did until they stopped is in the checkpoint, so it is in the metrics and the report too.
            status = self._learner.call("status")
            if status.updated:
                monitor.line(replay.env_steps(), status, replay.stats(), running=0)
            state: LearnerState = self._learner.call("capture")
        self._learner.kill()
        return state

    def last_state(self, error: Exception) -> LearnerState | None:
        """The learner's state after `train` has raised; None where it was the learner that failed, or it is lost."""
        return None if isinstance(error, RayError) else self._learner.last("capture")

    def _begin_learner(self) -> None:
        self._learner.begin("start")
        if self._config.is_distilled:
            self._learner.begin("rows_are_in")

    def _hand_over_weights(self, pool: ActorPool, version: int, go_on: Callable[[], None]) -> int:
        weights, newest = self._learner.call("publish", go_on)
        if newest <= version:
            return version  # a learner that began again has not caught up yet
        try:
            self._weights = np.array(ray.get(weights, timeout=WEIGHTS_SECONDS))
        except RayError as error:
            LOGGER.warning("the weights of version %d are lost: %s", newest, last_line(error))
            return version
        pool.set_weights(weights, newest)
        return int(newest)

    def _learner_seconds(self, method: str) -> float:
        """That a call may take before the learner counts as hung; what waits for Redis waits as long as it may."""
        replay = self._config.replay
        waiting = replay.outage_seconds if method == "ready" else replay.retry_seconds
        return self._config.training.learner_hang_seconds + waiting

    def _hours_are_spent(self, monitor: RunMonitor) -> bool:
        cap = self._config.actors.max_hours
        return cap > 0.0 and monitor.actor_hours >= cap

    def _resize(
        self, sizer: PoolSizer, pool: ActorPool, monitor: RunMonitor, actors_waited: float, learner_waited: float
    ) -> None:
        decision = sizer.decide(
            time.monotonic(),
            wanted=pool.size,
            running=int(pool.stats()["running"]),
            actors_waited=actors_waited,
            learner_waited=learner_waited,
        )
        if decision is not None:
            LOGGER.info("pool: %s", decision.reason)
            monitor.event("pool_resized", actors=decision.actors, reason=decision.reason)
            pool.resize(decision.actors)

    def _note_restarts(self, pool: ActorPool, monitor: RunMonitor) -> None:
        for cause, count in pool.restarts.items():
            for _ in range(count - self._restarts.get(cause, 0)):
                monitor.event("actor_restart", cause=cause)
            self._restarts[cause] = count

    def _note_loss(self, loss: Loss) -> None:
        """The learner is lost, and with it the weights that lay in its process."""
        if self._monitor is not None:
            self._monitor.event("learner_restart", cause=loss.cause, reason=loss.reason)
        if self._pool is not None and self._weights is not None:
            self._pool.replace_weights(self._weights)


def _is_over(collecting: bool, method: Method, status: LearnerStatus, student_updates: int) -> bool:
    """Whether all steps are in, and all loops have made their updates of them."""
    following = [status.parts[part.name] for part in method.following]
    done = all(part.updates >= student_updates or not part.may_sample for part in following)
    return not collecting and done and not any(status.parts[part.name].owes for part in method.leading)


def _learner_waited(method: Method, status: LearnerStatus) -> float:
    """Share of its time that the first part, which follows no other, waited for rows."""
    return status.parts[method.leading[0].name].report.waiting_fraction
