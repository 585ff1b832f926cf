"""The learner's asynchronous loops, one for each part of its method, side by side in one process; here those of twist.

                    replay (states)                          replay (states + images)
                          |                                             |
                          v                                             v
    limiter --> teacher loop: world model, policy --frozen copy--> student loop: distillation
                          |                                             |
                          +------------> learner.publish() <------------+
                                   (weights + version, for the actors)

    loop     consumes                produces               waits for                      unblocked by
    teacher  teacher batches         teacher, policy,       its samples-per-insert         actors that insert chunks
                                     critic weights         limiter; its sampler           (limiter), the prefetcher
    student  student batches, a      student weights        its limiter; its sampler;      the same; the teacher's
             frozen copy of the                             the lock for one copy of       optimiser step, which holds
             teacher every                                  the teacher                    the lock for milliseconds
             `refresh_updates`

No loop ever waits for another's progress. In debug mode no thread exists: the driver calls each loop's `step`
in turn, with samplers that do not prefetch.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

WAIT_SECONDS = 0.2  # a loop looks at its stop flag at least this often


class Sampler(Protocol):
    """What a loop needs of `replay.sampler`."""

    def sample(self, timeout_s: float) -> Mapping[str, np.ndarray]:
        """A batch, or TimeoutError."""


class Limiter(Protocol):
    """What a loop needs of `replay.limiter`."""

    def await_sample(self, timeout_s: float) -> bool:
        """Whether sampling is allowed, waiting for at most `timeout_s`."""

    def record_sampled(self, rows: int) -> None:
        """Counts replayed rows."""


@dataclass
class LoopReport:
    """What a loop did since the report before."""

    updates: int
    metrics: dict[str, float]
    """Means over them, and `skipped`: updates of the run in which an optimiser found what is not finite. From there on
    no weight moved; those moved that an update moves before (a teacher's, where its policy's loss is the first)."""
    waited_seconds: float
    seconds: float
    staleness: float

    @property
    def waiting_fraction(self) -> float:
        """Share of the time that the loop waited for data; a wait that began before the report may fill it."""
        return min(self.waited_seconds / self.seconds, 1.0) if self.seconds > 0 else 0.0


class Loop:
    """The loop of one part: limiter, sampler, update; over and over."""

    def __init__(
        self,
        name: str,
        update: Callable[[Mapping[str, np.ndarray]], object],
        means: Callable[[], dict[str, float]],
        sampler: Sampler,
        limiter: Limiter,
        version: Callable[[], int],
    ) -> None:
        """Assembles a loop.

        Args:
            name: for messages.
            update: `Learner.update` of a part.
            means: of this loop's metrics since the last call: `Learner.report`.
            sampler: of this loop's batches.
            limiter: of this loop's replayed rows.
            version: the learner's version now, to measure how old the policy of a sampled chunk is.
        """
        self.name = name
        self._update, self._means = update, means
        self._sampler, self._limiter, self._version = sampler, limiter, version
        self._lock = threading.Lock()
        self._updating = threading.Lock()
        self._reset(time.perf_counter())

    def step(self, timeout_s: float = WAIT_SECONDS) -> bool:
        """One update; False when no data came within `timeout_s`."""
        began = time.perf_counter()
        batch = self._await_batch(timeout_s)
        waited = time.perf_counter() - began
        if batch is None:
            with self._lock:
                self._waited += waited
            return False
        with self._updating:
            self._update(batch)
            self._limiter.record_sampled(int(batch["valid"].sum()))
        made_by = batch["policy_version"]
        age = self._version() - float(made_by[made_by > 0].mean()) if (made_by > 0).any() else 0.0
        with self._lock:
            self._waited += waited
            self._updates += 1
            self._staleness += age
        return True

    @contextmanager
    def between_updates(self) -> Iterator[None]:
        """No update is under way inside this context, and what the last one had sampled is counted."""
        with self._updating:
            yield

    def report(self) -> LoopReport:
        """What happened since the last call: means of all metrics, and the waiting.

        Raises:
            NotFiniteError: the loop computes nothing finite any more.
        """
        metrics = self._means()  # may wait for a GPU, so not under the lock
        with self._lock:
            now = time.perf_counter()
            report = LoopReport(
                updates=self._updates,
                metrics=metrics,
                waited_seconds=self._waited,
                seconds=now - self._since,
                staleness=self._staleness / max(self._updates, 1),
            )
            self._reset(now)
        return report

    def _await_batch(self, timeout_s: float) -> Mapping[str, np.ndarray] | None:
        if not self._limiter.await_sample(timeout_s):
            return None
        try:
            return self._sampler.sample(timeout_s)
        except TimeoutError:
            return None

    def _reset(self, now: float) -> None:
        self._updates, self._waited, self._staleness, self._since = 0, 0.0, 0.0, now


class LoopEndedError(RuntimeError):
    """An error has ended a loop; the message names the loop and says what the error said."""


class LoopThread:
    """Runs a loop in a thread until stopped; an error in it is raised again by `check`."""

    def __init__(self, loop: Loop, threads: int) -> None:
        """Makes the thread, which computes with `threads` torch threads."""
        self.loop = loop
        self._threads = threads
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"{loop.name}-loop", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def check(self) -> None:
        """Raises what ended the loop, if anything did.

        Raises:
            LoopEndedError: with that as its cause.
        """
        if self._error is not None:
            said = str(self._error) or type(self._error).__name__
            raise LoopEndedError(f"the {self.loop.name} loop ended: {said}") from self._error

    def stop(self) -> None:
        """Ends the loop after its present update."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        torch.set_num_threads(self._threads)
        try:
            while not self._stop.is_set():
                self.loop.step()
        except BaseException as error:  # handed to whoever calls `check`
            self._error = error
