"""The Ray actor: one rollout worker in a process of its own, built from plain values."""

import os
import time
from dataclasses import dataclass, field, replace

import torch

from actors.kept_warnings import KeptWarnings
from actors.plan import PlanLike
from actors.rollout_stats import RolloutStats
from actors.stream import Floats
from actors.stream_worker import resident_memory_mb
from replay.config import ReplayConfig
from replay.schema import StreamSpec
from replay.server import connect
from replay.store import ReplayStore


@dataclass(frozen=True)
class ActorPlan:
    """All that an actor process needs to build its worker.

    Attributes:
        worker: what every worker of the run is built from.
        spec_json: of the run's `StreamSpec`.
        replay_url: where Redis is; may hold a password, so it is not shown.
        replay: the store's settings.
    """

    worker: PlanLike
    spec_json: str
    replay_url: str = field(repr=False)
    replay: ReplayConfig


@dataclass(frozen=True)
class ActorIdentity:
    """Which process an actor is.

    Attributes:
        actor_id: stays the same over restarts.
        incarnation: how often an actor of this id had been started before.
        pid: process id on its node.
        node_id: Ray's id of that node, hexadecimal.
        memory_mb: resident memory right after the start, in 2^20 bytes.
    """

    actor_id: str
    incarnation: int
    pid: int
    node_id: str
    memory_mb: float


class RolloutActor:
    """What Ray starts, and starts again after a crash, with the same arguments.

    Nothing is built before `ready` is called: an error of that call is told as it is, and the call can be made again,
    while one raised here would cost the process.

    Args:
        plan: of all actors of the run.
        actor_id: of this one.
    """

    def __init__(self, plan: ActorPlan, actor_id: str) -> None:
        self._plan, self._actor_id = plan, actor_id
        self._identity: ActorIdentity | None = None
        self._warnings = KeptWarnings()

    def ready(self) -> ActorIdentity:
        """Builds the worker, and answers once it is built; asked again, it answers the same.

        A worker draws a new incarnation from replay: streams and seeds of a process before are not used again. One that
        was out of sight for a while is asked again whether it is there, and goes on with what it holds.

        Raises:
            ConnectionError: Redis does not answer.
            ValueError: the environment does not fit the run's spec.
        """
        if self._identity is None:
            self._identity = self._build(self._plan, self._actor_id)
        return self._identity

    def _build(self, plan: ActorPlan, actor_id: str) -> ActorIdentity:
        # Many actors share a machine, and a policy step is too small to be split.
        torch.set_num_threads(1)
        spec = StreamSpec.from_json(plan.spec_json)
        store = ReplayStore(connect(plan.replay_url), plan.worker.run_id, spec, plan.replay)
        incarnation = store.claim_incarnation(actor_id)
        self._worker = plan.worker.build(store, actor_id, incarnation)
        self._idle_since = time.monotonic()
        import ray  # not above: the driver imports this module's plans, and its Ray only when the session begins

        node_id = ray.get_runtime_context().get_node_id()
        return ActorIdentity(actor_id, incarnation, os.getpid(), node_id, resident_memory_mb())

    def collect(self, weights: Floats | None, version: int, rows: int, credit: int) -> RolloutStats:
        """Loads the weights if they are newer, then collects; see `RolloutWorker.collect`.

        Args:
            weights: all of them in one array, read-only out of Ray's object store; None while there are none.
            version: theirs.
            rows: to collect.
            credit: rows for which chunks may be begun.

        Returns:
            What happened; the pause since the call before counts as waited.
        """
        idle = time.monotonic() - self._idle_since
        try:
            if weights is not None:
                self._worker.set_weights(weights, version)
            stats = self._worker.collect(rows, credit)
        finally:
            self._idle_since = time.monotonic()
        return replace(
            stats,
            waited_seconds=stats.waited_seconds + idle,
            seconds=stats.seconds + idle,
            warnings=self._warnings.take(),
        )

    def drain(self) -> RolloutStats:
        """Writes what is held and closes the environments; the actor is of no more use afterwards."""
        return replace(self._worker.drain(), warnings=self._warnings.take())
