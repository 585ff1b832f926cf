"""The learner with its samplers, limiters and loops, assembled. `deploy.learner_actor` wraps it for Ray."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from actors.plan import WorkerPlan
from deploy.config import RunConfig
from deploy.later_student import LaterStudent
from learner import checkpoint
from learner.checkpoint import LearnerState
from learner.learner import Learner
from learner.loops import Loop, LoopReport, LoopThread
from replay.connection import connect_in_time
from replay.limiter import LimiterPlan
from replay.sampler import StudentSampler, TeacherSampler
from replay.schema import StreamSpec
from replay.store import ReplayStore


@dataclass(frozen=True)
class LearnerStatus:
    """How the learner is doing; loop reports are since the last status."""

    teacher: LoopReport
    student: LoopReport
    teacher_updates: int
    """Of the run, as far as its reports have told."""
    student_updates: int
    teacher_ratio: float
    student_ratio: float
    teacher_owes: bool
    """Whether the rows that are in ask for more teacher updates; never so without a bound."""
    student_may_sample: bool
    """Whether the rows that are in allow more student updates."""


def limiter_plans(config: RunConfig, spec: StreamSpec) -> tuple[LimiterPlan, LimiterPlan]:
    """The limiters of teacher and student: updates begin after the prefill, then keep the configured ratios.

    The tolerance lets actors run ahead by what a few calls of theirs bring, so that neither side waits for the other
    at every chunk.
    """
    learner, actors = config.learner, config.actors
    burst = 2 * actors.count * max(actors.rows_per_call, actors.envs_per_actor * spec.chunk_length)
    return (
        _plan("teacher", learner.teacher_samples_per_insert, config.training.prefill_rows, burst),
        _plan("student", learner.student_samples_per_insert, config.training.prefill_rows, burst),
    )


def worker_plan(config: RunConfig, spec: StreamSpec, run_id: str) -> WorkerPlan:
    """Of the run's workers. They are not held up by the limiter of a student that may lag or has not begun yet."""
    teacher, student = limiter_plans(config, spec)
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


def _plan(name: str, ratio: float, prefill: int, burst: int) -> LimiterPlan:
    return LimiterPlan(name=name, samples_per_insert=ratio, min_rows=prefill, tolerance_rows=max(ratio, 1.0) * burst)


class LearnerProcess:
    """Teacher loop and student loop over one replay."""

    def __init__(
        self, config: RunConfig, spec: StreamSpec, replay_url: str, run_id: str, state: LearnerState | None
    ) -> None:
        """Assembles the learner.

        Args:
            config: of the run; in debug mode samplers read without threads.
            spec: of the run's observations.
            replay_url: where Redis is.
            run_id: of the run.
            state: to continue from.

        Raises:
            ValueError: the state does not fit the configuration.
        """
        self._learner = Learner(spec, config.learner, config.seed)
        if state is not None:
            checkpoint.restore(self._learner, state)
        # A learner that begins again may do so while Redis is away.
        client = connect_in_time(replay_url, config.replay.outage_seconds)
        store = ReplayStore(client, run_id, spec, config.replay)
        prefetch = 0 if config.mode == "debug" else config.replay.prefetch
        updates = self._learner.teacher_updates, self._learner.student_updates
        # A resumed run draws other batches than the ones it has had, and the same ones whenever it is resumed here.
        seeds = [int(np.random.SeedSequence([config.seed, k, n]).generate_state(1)[0]) for k, n in enumerate(updates)]
        teacher_sampler = TeacherSampler(
            store, config.learner.batch_size, seeds[0], prefetch, sequence_length=config.learner.sequence_length
        )
        student_sampler = partial(StudentSampler, store, config.learner.student.batch_size, seeds[1], prefetch=prefetch)
        plans = limiter_plans(config, spec)
        self._bounded = tuple(plan.samples_per_insert > 0 for plan in plans)
        self._limiters = tuple(plan.join(store) for plan in plans)
        self.teacher_loop = Loop(
            "teacher", self._learner.teacher_update, teacher_sampler, self._limiters[0], self._version
        )
        self._later: LaterStudent | None = None
        student: LaterStudent | StudentSampler
        if config.student_waits:
            student = self._later = LaterStudent(
                self._limiters[1],
                student_sampler,
                teacher_owes=lambda: self.teacher_owes,
                updates_left=lambda: config.training.student_updates - self._learner.student_updates,
            )
        else:
            student = student_sampler()
        self._samplers = teacher_sampler, student
        self.student_loop = Loop(
            "student", self._learner.student_update, student, self._later or self._limiters[1], self._version
        )
        self._threads = tuple(
            LoopThread(loop, config.learner.threads) for loop in (self.teacher_loop, self.student_loop)
        )
        self._reported = list(updates)
        self._running = False

    @property
    def teacher_updates(self) -> int:
        """Of this run so far."""
        return self._learner.teacher_updates

    @property
    def student_updates(self) -> int:
        """Of this run so far."""
        return self._learner.student_updates

    @property
    def teacher_owes(self) -> bool:
        """Whether the rows that are in ask for more teacher updates; never so without a bound."""
        return self._bounded[0] and self._limiters[0].can_sample()

    def rows_are_in(self) -> None:
        """No row will be added: a student that begins after the teacher may begin when the teacher has used these."""
        if self._later is not None:
            self._later.rows_are_in()

    def start(self) -> None:
        """Starts both loops in threads."""
        self._running = True
        for thread in self._threads:
            thread.start()

    def update_in_turn(self) -> bool:
        """Debug mode: one update of each loop that its limiter allows; a student without a bound keeps the teacher's.

        Returns:
            Whether the rows that are in may allow more.
        """
        teacher = self.teacher_loop.step(0.0)
        teacher_bounded, student_bounded = self._bounded
        student = (teacher or student_bounded) and self.student_loop.step(0.0)
        return (teacher and teacher_bounded) or (student and student_bounded)

    def status(self) -> LearnerStatus:
        """Reports, and raises what ended a loop.

        Raises:
            RuntimeError: a loop has ended with an error.
        """
        for thread in self._threads:
            thread.check()
        teacher, student = self.teacher_loop.report(), self.student_loop.report()
        # Not the learner's own counts, which may be one update ahead of what its loop has to report.
        self._reported[0] += teacher.updates
        self._reported[1] += student.updates
        return LearnerStatus(
            teacher=teacher,
            student=student,
            teacher_updates=self._reported[0],
            student_updates=self._reported[1],
            teacher_ratio=self._limiters[0].stats()["ratio"],
            student_ratio=self._limiters[1].stats()["ratio"],
            teacher_owes=self.teacher_owes,
            student_may_sample=self._limiters[1].can_sample(),
        )

    def publish(self) -> tuple[npt.NDArray[np.float32], int]:
        """The weights for the actors, one flat array, and their version."""
        return self._learner.publish()

    def capture(self) -> LearnerState:
        """All that a checkpoint needs, between two updates."""
        with self._learner.paused():
            return checkpoint.capture(self._learner)

    def capture_acting(self) -> LearnerState:
        """All that a snapshot needs; the loops go on meanwhile."""
        return checkpoint.capture_acting(self._learner)

    def stop(self) -> None:
        """Ends both loops after their present update."""
        if self._running:
            for thread in self._threads:
                thread.stop()
        self._running = False
        for sampler in self._samplers:
            sampler.close()

    def _version(self) -> int:
        return self._learner.teacher_updates + self._learner.student_updates
