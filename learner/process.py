"""The learner's process: learner, samplers, limiters and loops, assembled. It needs torch, numpy and Redis alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from learner import checkpoint
from learner.checkpoint import LearnerState
from learner.config import LearnerConfig
from learner.later_student import LaterStudent
from learner.learner import Learner
from learner.loops import Loop, LoopReport, LoopThread
from replay.config import ReplayConfig
from replay.connection import connect_in_time
from replay.limiter import Balance, LimiterPlan, SamplesPerInsert
from replay.sampler import StudentSampler, TeacherSampler
from replay.schema import StreamSpec
from replay.store import ReplayStore

BALANCES = "balances"
"""In a checkpoint's document: what each loop had sampled, see `replay.limiter.Balance`."""


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
    refusal: str = ""
    """What Redis said when it last gave or took nothing; empty while it does."""
    warnings: tuple[tuple[str, int], ...] = ()
    """In a process of its own: since the last status, each with how often."""


@dataclass(frozen=True)
class LearnerPlan:
    """All that a learner's process is made from, as plain values.

    Attributes:
        learner: the learner's settings.
        replay: the store's settings.
        limiters: of teacher and student.
        seed: of the run.
        threads: whether samplers read ahead in threads of their own; without, the same seed gives the same numbers.
        student_waits: whether the student begins only when the teacher is done.
        student_updates: after which a student that waited is done.
    """

    learner: LearnerConfig
    replay: ReplayConfig
    limiters: tuple[LimiterPlan, LimiterPlan]
    seed: int
    threads: bool
    student_waits: bool
    student_updates: int


def limiter_plans(config: LearnerConfig, prefill_rows: int) -> tuple[LimiterPlan, LimiterPlan]:
    """The limiters of teacher and student: updates begin after the prefill, then keep the configured ratios.

    Args:
        config: whose ratios.
        prefill_rows: in replay before the first update.
    """
    return (
        LimiterPlan("teacher", config.teacher_samples_per_insert, prefill_rows),
        LimiterPlan("student", config.student_samples_per_insert, prefill_rows),
    )


class LearnerProcess:
    """Teacher loop and student loop over one replay."""

    def __init__(
        self, plan: LearnerPlan, spec: StreamSpec, replay_url: str, run_id: str, state: LearnerState | None
    ) -> None:
        """Assembles the learner.

        Args:
            plan: of the run's learner.
            spec: of the run's observations.
            replay_url: where Redis is.
            run_id: of the run.
            state: to continue from.

        Raises:
            ValueError: the state does not fit the plan.
        """
        config = plan.learner
        self._learner = Learner(spec, config, plan.seed)
        if state is not None:
            checkpoint.restore(self._learner, state)
        # A learner that begins again may do so while Redis is away.
        client = connect_in_time(replay_url, plan.replay.outage_seconds)
        store = ReplayStore(client, run_id, spec, plan.replay)
        prefetch = plan.replay.prefetch if plan.threads else 0
        updates = self._learner.teacher_updates, self._learner.student_updates
        # A resumed run draws other batches than the ones it has had, and the same ones whenever it is resumed here.
        seeds = [int(np.random.SeedSequence([plan.seed, k, n]).generate_state(1)[0]) for k, n in enumerate(updates)]
        teacher_sampler = TeacherSampler(
            store, config.batch_size, seeds[0], prefetch, sequence_length=config.sequence_length
        )
        student_sampler = partial(StudentSampler, store, config.student.batch_size, seeds[1], prefetch=prefetch)
        self._bounded = tuple(limiter.samples_per_insert > 0 for limiter in plan.limiters)
        balances = _balances(store, plan.limiters, state)
        self._limiters = tuple(map(partial(SamplesPerInsert, store), plan.limiters, balances))
        learner, means = self._learner, self._learner.report
        self.teacher_loop = Loop(
            "teacher",
            learner.teacher_update,
            partial(means, "teacher"),
            teacher_sampler,
            self._limiters[0],
            self._version,
        )
        self._later: LaterStudent | None = None
        student: LaterStudent | StudentSampler
        if plan.student_waits:
            student = self._later = LaterStudent(
                self._limiters[1],
                student_sampler,
                teacher_owes=lambda: self.teacher_owes,
                updates_left=lambda: plan.student_updates - self._learner.student_updates,
            )
        else:
            student = student_sampler()
        self._samplers = teacher_sampler, student
        limiter = self._later or self._limiters[1]
        self.student_loop = Loop(
            "student", learner.student_update, partial(means, "student"), student, limiter, self._version
        )
        self._threads = tuple(LoopThread(loop, config.threads) for loop in (self.teacher_loop, self.student_loop))
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
        return self._limiters[0].owes()

    def rows_are_in(self) -> None:
        """No row will be added: a student that begins after the teacher may begin when the teacher has used these."""
        if self._later is not None:
            self._later.rows_are_in()

    def start(self) -> None:
        """Starts both loops in threads, unless they run."""
        if self._running:
            return
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
            LoopEndedError: a loop has ended with an error.
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
            student_may_sample=self._limiters[1].may_sample(),
            refusal=next((part.refusal for part in (*self._samplers, *self._limiters) if part.refusal), ""),
        )

    def publish(self) -> tuple[npt.NDArray[np.float32], int]:
        """The weights for the actors, one flat array, and their version."""
        return self._learner.publish()

    def capture(self) -> LearnerState:
        """All that a checkpoint needs, between two updates: what they had sampled goes with what they had learned."""
        loops = self.teacher_loop, self.student_loop
        with loops[0].between_updates(), loops[1].between_updates(), self._learner.paused():
            state = checkpoint.capture(self._learner)
            balances = {limiter.name: limiter.to_document() for limiter in self._limiters}
        return replace(state, document={**state.document, BALANCES: balances})

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


def _balances(store: ReplayStore, plans: Sequence[LimiterPlan], state: LearnerState | None) -> list[Balance | None]:
    """Where the loops' limiters go on from: with the checkpoint, or from nothing as the learner does."""
    if state is None:
        return [None for _ in plans]
    told = state.document.get(BALANCES)
    if told is None:  # written before checkpoints told
        inserted = int(store.stats()["inserted_rows"])
        return [Balance.kept(plan, inserted) for plan in plans]
    return [Balance.from_document(told[plan.name], plan) for plan in plans]
