"""What learner and workers of a run are made from, and what keeps them in step, as it follows from its settings."""

from __future__ import annotations

from functools import partial

from actors.plan import WorkerPlan
from deploy.settings.config import RunConfig
from learner.methods import METHODS
from learner.process import LearnerPlan, limiter_plans
from replay.credits import RowCredits
from replay.limiter import LimiterPlan, read_balances
from replay.schema import StreamSpec
from replay.store import ReplayStore


def learner_plan(config: RunConfig) -> LearnerPlan:
    """Of the run's learner; in debug mode nothing reads ahead."""
    return LearnerPlan(
        learner=config.learner,
        replay=config.replay,
        limiters=limiter_plans(config.learner, config.training.prefill_rows),
        seed=config.seed,
        threads=config.mode != "debug",
        student_waits=config.student_waits,
        student_updates=config.training.student_updates,
    )


def worker_plan(config: RunConfig, run_id: str) -> WorkerPlan:
    """Of the run's workers."""
    return WorkerPlan(config.task, config.sim, config.learner, config.actors, run_id=run_id, seed=config.seed)


def holding_plans(config: RunConfig) -> tuple[LimiterPlan, ...]:
    """Of the loops that actors may not be far ahead of: not of a student that may lag or has not begun yet."""
    plans = METHODS[config.learner.method].plans(config.learner)
    limiters = limiter_plans(config.learner, config.training.prefill_rows)
    return tuple(
        limiter
        for limiter, plan in zip(limiters, plans, strict=True)
        if not (plan.may_lag or (plan.part.follows and config.student_waits))
    )


def row_credits(config: RunConfig, spec: StreamSpec, store: ReplayStore) -> RowCredits:
    """What hands out the rows that the run's actors may add."""
    plans = holding_plans(config)
    return RowCredits(
        partial(read_balances, store, plans),
        plans,
        tolerance_rows=config.training.ahead_rows,
        chunk_rows=spec.chunk_length,
        actor_rows=config.actors.envs_per_actor * spec.chunk_length,
    )
