"""What learner and workers of a run are made from, as it follows from the run's settings."""

from __future__ import annotations

from actors.plan import WorkerPlan
from deploy.settings.config import RunConfig
from learner.process import LearnerPlan, limiter_plans
from replay.limiter import LimiterPlan
from replay.schema import StreamSpec


def learner_plan(config: RunConfig, spec: StreamSpec) -> LearnerPlan:
    """Of the run's learner; in debug mode nothing reads ahead."""
    return LearnerPlan(
        learner=config.learner,
        replay=config.replay,
        limiters=_limiters(config, spec),
        seed=config.seed,
        threads=config.mode != "debug",
        student_waits=config.student_waits,
        student_updates=config.training.student_updates,
    )


def worker_plan(config: RunConfig, spec: StreamSpec, run_id: str) -> WorkerPlan:
    """Of the run's workers. They are not held up by the limiter of a student that may lag or has not begun yet."""
    teacher, student = _limiters(config, spec)
    student_holds_up = not (config.student_waits or config.learner.student_may_lag)
    return WorkerPlan(
        task=config.task,
        sim=config.sim,
        learner=config.learner,
        actors=config.actors,
        limiters=(teacher, student) if student_holds_up else (teacher,),
        run_id=run_id,
        seed=config.seed,
    )


def _limiters(config: RunConfig, spec: StreamSpec) -> tuple[LimiterPlan, LimiterPlan]:
    actors = config.actors
    burst = 2 * actors.count * max(actors.rows_per_call, actors.envs_per_actor * spec.chunk_length)
    return limiter_plans(config.learner, config.training.prefill_rows, burst)
