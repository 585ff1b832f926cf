"""What learner and workers of a run are made from, and what keeps them in step, as it follows from its settings.

Of a run that `twist distil` began the teacher stands still, and workers play episodes that are there, whatever has been
learned of them: nobody holds them up. Its student is one that waits for the teacher, whose rows are in from the
beginning: it makes `student_updates` of them and no more, so that several can be compared.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from actors.plan import PlanLike, WorkerPlan
from actors.rerendering import RerenderingPlan
from deploy.runs.directory import RunDirectory
from deploy.runs.kept_episodes import episodes_file
from deploy.settings.config import RunConfig
from learner.methods import METHODS
from learner.process import LearnerPlan, limiter_plans
from replay.credits import RowCredits
from replay.limiter import LimiterPlan, read_balances
from replay.schema import StreamSpec
from replay.store import ReplayStore

_NEVER = 2**63
"""Rows that no replay ever has."""


def learner_plan(config: RunConfig) -> LearnerPlan:
    """Of the run's learner; in debug mode nothing reads ahead."""
    limiters = limiter_plans(config.learner, config.training.prefill_rows)
    if config.is_distilled:
        leading = {part.name for part in METHODS[config.learner.method].leading}
        stands_still = {name: LimiterPlan(name, samples_per_insert=0.0, min_rows=_NEVER) for name in leading}
        limiters = tuple(stands_still.get(limiter.name, limiter) for limiter in limiters)
    return LearnerPlan(
        learner=config.learner,
        replay=config.replay,
        limiters=limiters,
        seed=config.seed,
        threads=config.mode != "debug",
        student_waits=config.student_waits or config.is_distilled,
        student_updates=config.training.student_updates,
    )


def worker_plan(config: RunConfig, run: RunDirectory) -> PlanLike:
    """Of the run's workers."""
    if config.is_distilled:
        episodes = episodes_file(run).resolve()  # Ray's workers may have another working directory
        return RerenderingPlan(config.task, config.sim, config.actors, run.run_id, config.seed, episodes)
    return WorkerPlan(config.task, config.sim, config.learner, config.actors, run_id=run.run_id, seed=config.seed)


def holding_plans(config: RunConfig) -> tuple[LimiterPlan, ...]:
    """Of the loops that actors may not be far ahead of: not of a student that may lag or has not begun yet."""
    plans = METHODS[config.learner.method].plans(config.learner)
    limiters = limiter_plans(config.learner, config.training.prefill_rows)
    if config.is_distilled:
        following = zip(limiters, plans, strict=True)
        return tuple(replace(limiter, samples_per_insert=0.0) for limiter, plan in following if plan.part.follows)
    return tuple(
        limiter
        for limiter, plan in zip(limiters, plans, strict=True)
        if not (plan.may_lag or (plan.part.follows and config.student_waits))
    )


def row_credits(config: RunConfig, spec: StreamSpec, store: ReplayStore) -> RowCredits:
    """What hands out the rows that the run's actors may add."""
    plans = holding_plans(config)
    at_once = config.actors.envs_per_actor
    if config.is_distilled:
        at_once = max(config.actors.rows_per_call // spec.chunk_length, 1)  # one after the other
    return RowCredits(
        partial(read_balances, store, plans),
        plans,
        tolerance_rows=config.training.ahead_rows,
        chunk_rows=spec.chunk_length,
        actor_rows=at_once * spec.chunk_length,
    )
