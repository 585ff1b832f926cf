"""The learner's process: learner, samplers, limiters and loops, assembled. It needs torch, numpy and Redis alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
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
from learner.methods import METHODS
from learner.methods.method import PartPlan
from replay.config import ReplayConfig
from replay.connection import connect_in_time
from replay.limiter import Balance, LimiterPlan, SamplesPerInsert
from replay.sampler import StudentSampler, TeacherSampler
from replay.schema import StreamSpec
from replay.store import ReplayStore

BALANCES = "balances"
"""In a checkpoint's document: what each loop had sampled, see `replay.limiter.Balance`."""


@dataclass(frozen=True)
class PartStatus:
    """How one part is doing; its loop's report is since the last status."""

    report: LoopReport
    updates: int
    """Of the run, as far as its reports have told."""
    ratio: float
    """Rows replayed per row inserted."""
    owes: bool
    """Whether the rows that are in ask for more of its updates; never so without a bound."""
    may_sample: bool
    """Whether the rows that are in allow more of its updates."""


@dataclass(frozen=True)
class LearnerStatus:
    """How the learner is doing."""

    parts: Mapping[str, PartStatus]
    """By their names, in the order of the method."""
    refusal: str = ""
    """What Redis said when it last gave or took nothing; empty while it does."""
    warnings: tuple[tuple[str, int], ...] = ()
    """In a process of its own: since the last status, each with how often."""

    @property
    def updated(self) -> bool:
        """Whether any part was updated since the last status."""
        return any(part.report.updates > 0 for part in self.parts.values())


@dataclass(frozen=True)
class LearnerPlan:
    """All that a learner's process is made from, as plain values.

    Attributes:
        learner: the learner's settings.
        replay: the store's settings.
        limiters: of each part, in their order.
        seed: of the run.
        threads: whether samplers read ahead in threads of their own; without, the same seed gives the same numbers.
        student_waits: whether parts that follow begin only when the others are done.
        student_updates: after which a part that waited is done.
    """

    learner: LearnerConfig
    replay: ReplayConfig
    limiters: tuple[LimiterPlan, ...]
    seed: int
    threads: bool
    student_waits: bool
    student_updates: int


def limiter_plans(config: LearnerConfig, prefill_rows: int) -> tuple[LimiterPlan, ...]:
    """The limiters of the method's parts: updates begin after the prefill, then keep the configured ratios.

    Args:
        config: whose ratios.
        prefill_rows: in replay before the first update.
    """
    plans = METHODS[config.method].plans(config)
    return tuple(LimiterPlan(plan.part.name, plan.samples_per_insert, prefill_rows) for plan in plans)


class LearnerProcess:
    """One loop for each part of the method, over one replay."""

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
        balances = _balances(store, plan.limiters, state)
        limiters = map(partial(SamplesPerInsert, store), plan.limiters, balances)
        self._method = self._learner.method
        self._limiters = {limiter.name: limiter for limiter in limiters}
        self._bounded = {limiter.name: limiter.samples_per_insert > 0 for limiter in plan.limiters}
        self._samplers: dict[str, TeacherSampler | LaterStudent] = {}
        self._later: list[LaterStudent] = []
        self._reported = self._learner.updates
        self.loops: dict[str, Loop] = {}
        for number, part in enumerate(self._method.plans(config)):
            self._add_loop(plan, number, part, store)
        self._threads = tuple(LoopThread(loop, config.threads) for loop in self.loops.values())
        self._running = False

    def _add_loop(self, plan: LearnerPlan, number: int, settings: PartPlan, store: ReplayStore) -> None:
        part, name = settings.part, settings.part.name
        # A resumed run draws other batches than the ones it has had, and the same ones whenever it is resumed here.
        source = np.random.SeedSequence([plan.seed, number, self._learner.updates[name]])
        make = partial(
            StudentSampler if part.reads == "pairs" else TeacherSampler,
            store,
            settings.batch_size,
            int(source.generate_state(1)[0]),
            plan.replay.prefetch if plan.threads else 0,
            sequence_length=settings.sequence_length,
        )
        limiter: SamplesPerInsert | LaterStudent = self._limiters[name]
        if part.follows and plan.student_waits:
            limiter = self._samplers[name] = LaterStudent(
                self._limiters[name],
                make,
                teacher_owes=lambda: self.owes,
                updates_left=lambda: plan.student_updates - self._learner.updates[name],
            )
            self._later.append(limiter)
        else:
            self._samplers[name] = make()
        self.loops[name] = Loop(
            name,
            partial(self._learner.update, name),
            partial(self._learner.report, name),
            self._samplers[name],
            limiter,
            lambda: self._learner.version,
        )

    @property
    def updates(self) -> dict[str, int]:
        """Of this run so far, by the part's name."""
        return self._learner.updates

    @property
    def owes(self) -> bool:
        """Whether the rows that are in ask for more updates of a part that follows none; never so without a bound."""
        return any(self._limiters[part.name].owes() for part in self._method.leading)

    def rows_are_in(self) -> None:
        """No row will be added: parts that begin after the others may begin when these have used the rows."""
        for part in self._later:
            part.rows_are_in()

    def start(self) -> None:
        """Starts all loops in threads, unless they run."""
        if self._running:
            return
        self._running = True
        for thread in self._threads:
            thread.start()

    def update_in_turn(self) -> bool:
        """Debug mode: one update of each loop that its limiter allows.

        A part that follows and has no bound keeps to the others' pace.

        Returns:
            Whether the rows that are in may allow more.
        """
        led, more = False, False
        for part in self._method.parts:
            bounded = self._bounded[part.name]
            if part.follows and not (led or bounded):
                continue
            moved = self.loops[part.name].step(0.0)
            led |= moved and not part.follows
            more |= moved and bounded
        return more

    def follow_in_turn(self, most_updates: int) -> bool:
        """Debug mode: one update of each part that follows, as far as its limiter and this number allow.

        Returns:
            Whether there was one.
        """
        names = [part.name for part in self._method.following if self.updates[part.name] < most_updates]
        moved = [self.loops[name].step(0.0) for name in names]
        return any(moved)

    def status(self) -> LearnerStatus:
        """Reports, and raises what ended a loop.

        Raises:
            LoopEndedError: a loop has ended with an error.
        """
        for thread in self._threads:
            thread.check()
        reports = {name: loop.report() for name, loop in self.loops.items()}
        for name, report in reports.items():
            # Not the learner's own counts, which may be one update ahead of what its loop has to report.
            self._reported[name] += report.updates
        waiting = (*self._samplers.values(), *self._limiters.values())
        return LearnerStatus(
            parts={
                name: PartStatus(
                    report=report,
                    updates=self._reported[name],
                    ratio=self._limiters[name].stats()["ratio"],
                    owes=self._limiters[name].owes(),
                    may_sample=self._limiters[name].may_sample(),
                )
                for name, report in reports.items()
            },
            refusal=next((part.refusal for part in waiting if part.refusal), ""),
        )

    def publish(self) -> tuple[npt.NDArray[np.float32], int]:
        """The weights for the actors, one flat array, and their version."""
        return self._learner.publish()

    def capture(self) -> LearnerState:
        """All that a checkpoint needs, between two updates: what they had sampled goes with what they had learned."""
        with ExitStack() as stack:
            for loop in self.loops.values():
                stack.enter_context(loop.between_updates())
            stack.enter_context(self._learner.paused())
            state = checkpoint.capture(self._learner)
            balances = {name: limiter.to_document() for name, limiter in self._limiters.items()}
        return replace(state, document={**state.document, BALANCES: balances})

    def capture_acting(self) -> LearnerState:
        """All that a snapshot needs; the loops go on meanwhile."""
        return checkpoint.capture_acting(self._learner)

    def stop(self) -> None:
        """Ends all loops after their present update."""
        if self._running:
            for thread in self._threads:
                thread.stop()
        self._running = False
        for sampler in self._samplers.values():
            sampler.close()


def _balances(store: ReplayStore, plans: Sequence[LimiterPlan], state: LearnerState | None) -> list[Balance | None]:
    """Where the loops' limiters go on from: with the checkpoint, or from nothing as the learner does."""
    if state is None:
        return [None for _ in plans]
    told = state.document.get(BALANCES)
    if told is None:  # written before checkpoints told
        inserted = int(store.stats()["inserted_rows"])
        return [Balance.kept(plan, inserted) for plan in plans]
    return [Balance.from_document(told[plan.name], plan) for plan in plans]
