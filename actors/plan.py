"""What a rollout worker is built from, as plain values, and how: the same in a Ray actor and in mode debug."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Protocol

from actors.config import ActorsConfig
from actors.entropy import POLICY, entropy
from actors.stream_worker import StreamWorker
from actors.worker import RolloutWorker
from learner.acting import acting_policy
from learner.config import LearnerConfig
from learner.methods import METHODS
from replay.store import ReplayStore
from sim import make_env
from sim.config import SimConfig


class PlanLike(Protocol):
    """What a Ray actor and mode debug ask of a plan; `WorkerPlan` is one, `actors.rerendering.RerenderingPlan` too."""

    @property
    def actors(self) -> ActorsConfig:
        """The worker's settings."""

    @property
    def run_id(self) -> str:
        """Of the run."""

    def build(self, store: ReplayStore, actor_id: str, incarnation: int, /) -> StreamWorker:
        """One worker."""


@dataclass(frozen=True)
class WorkerPlan:
    """What all workers of a run have in common.

    Attributes:
        task: of `sim.make_env`.
        sim: the world's settings; its `views` is the spec's.
        learner: sizes of the networks.
        actors: the worker's settings.
        run_id: of the run.
        seed: of the run.
    """

    task: str
    sim: SimConfig
    learner: LearnerConfig
    actors: ActorsConfig
    run_id: str
    seed: int

    def build(self, store: ReplayStore, actor_id: str, incarnation: int) -> RolloutWorker:
        """One worker, acting on the CPU.

        The last `actors.state_only_envs` of its environments have a state with errors and render nothing; the others
        render what the method needs.

        Args:
            store: the run's replay.
            actor_id: of the worker.
            incarnation: how often a worker of this id had been started before.

        Raises:
            ValueError: the environment does not fit the store's spec.
        """
        views = self.sim.views if METHODS[self.learner.method].needs_images else 0
        make = functools.partial(make_env, self.task, self.sim, views=views, quiet=True)
        policy_seed = int(entropy(self.seed, actor_id, incarnation, POLICY).generate_state(1)[0])
        return RolloutWorker(
            make,
            acting_policy(store.spec, self.learner, device="cpu", seed=policy_seed),
            store,
            self.actors,
            run_id=self.run_id,
            actor_id=actor_id,
            seed=self.seed,
            incarnation=incarnation,
            make_state_only_env=functools.partial(make, views=0, state_errors=True),
        )
