"""Several environments and the streams that they write; what they do is for whoever takes this class further.

    begin chunks as credit allows -> begin an episode where none is under way -> an action for each -> row to its writer

An environment moves while it has a chunk under way, and a chunk is begun only when the worker has credit for all of it
(`replay.credits`). With less credit than environments some of them stand still, in turn.

The worker is plain Python without Ray and without threads. It keeps all of its state between calls, so that a call may
end anywhere, and a call that failed because replay did not answer can simply be made again: no step is taken twice and
no row is lost or doubled.
"""

import abc
import math
import os
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from actors.config import ActorsConfig
from actors.rollout_stats import Crash, RolloutStats
from actors.stream import EnvironmentCrashError, EnvironmentStream, Floats, StreamCounts

CRASHES_IN_FULL = 3
"""Crashes of one report that are told in full; what crashes more often than that mostly does so for the same reason."""


class CrashBudgetError(RuntimeError):
    """The environments crash too often to go on; the message names the last crash with its episode seed."""


class StreamWorker(abc.ABC):
    """Steps environments and reports what happened.

    Args:
        streams: one for each environment.
        config: crash budget.
        actor_id: of this worker, unique in the run.
        incarnation: differs each time that a worker of this id is made, so that streams and seeds are not used twice.
    """

    def __init__(
        self, streams: Sequence[EnvironmentStream], config: ActorsConfig, *, actor_id: str, incarnation: int
    ) -> None:
        self._streams = list(streams)
        self._config = config
        self._actor_id = actor_id
        self._incarnation = incarnation
        self._due: deque[tuple[EnvironmentStream, Floats, int]] = deque()
        self._credit = 0.0
        self._drained = False
        self._reported = StreamCounts()
        self._reported_waited = 0.0
        self._crashes: list[Crash] = []
        self._last_crash: EnvironmentCrashError | None = None

    @property
    @abc.abstractmethod
    def version(self) -> int:
        """Of the weights in use; 0 for none."""

    @abc.abstractmethod
    def set_weights(self, flat: Floats, version: int) -> None:
        """Takes over weights.

        Args:
            flat: all weights in one array, may be read-only.
            version: theirs, above 0.
        """

    @abc.abstractmethod
    def _begin(self, stream: EnvironmentStream) -> None:
        """Begins an episode; it may crash, which is noted, and has then not begun."""

    @abc.abstractmethod
    def _decide(self) -> list[tuple[EnvironmentStream, Floats, int]]:
        """Gives each environment that moves its action [A], and the version of the weights that chose it."""

    def collect(self, rows: int, credit: float = math.inf) -> RolloutStats:
        """Collects at least `rows` rows, or fewer where there is no credit for more.

        Nothing is waited for but Redis, and the result does not depend on the clock.

        Args:
            rows: to collect; the sweep over the environments that reaches this number is finished.
            credit: rows for which chunks may be begun. What is not begun in this call has lapsed: the next call brings
                its own. Chunks that were begun are continued without.

        Returns:
            What happened since the last report.

        Raises:
            CrashBudgetError: the environments crashed too often, which ended the call before this one early.
            ConnectionError, redis.RedisError: replay does not answer. The call may be made again.
            ValueError: the policy gave an action that is not finite.
            RuntimeError: the worker was drained.
        """
        if self._drained:
            raise RuntimeError(f"worker {self._actor_id}.{self._incarnation} was drained: it collects no more")
        self._check_crash_budget()
        called_at = time.monotonic()
        self._credit = credit
        for stream in self._streams:
            stream.writer.send()  # what an earlier call could not; its stream may stand still now
        while self._total().rows - self._reported.rows < rows and not self._is_over_budget():
            self._begin_chunks()
            if not any(stream.under_way for stream in self._streams):
                break
            self._sweep()
        return self._report(called_at)

    def drain(self) -> RolloutStats:
        """Closes the environments and writes what is held, episodes under way ending as truncated.

        The worker collects nothing afterwards: the streams are complete.

        Returns:
            What happened since the last report.

        Raises:
            ConnectionError: replay does not answer. The call may be made again.
        """
        called_at = time.monotonic()
        self._drained = True
        self._due.clear()
        for stream in self._streams:
            stream.close()
        return self._report(called_at)

    def _begin_chunks(self) -> None:
        """Begins chunks as far as the credit goes: first where fewest episodes were finished, and one is under way."""
        idle = [stream for stream in self._streams if not stream.under_way]
        for stream in sorted(idle, key=lambda stream: (stream.episodes_finished, not stream.in_episode)):
            if stream.writer.chunk_rows <= self._credit:
                self._credit -= stream.writer.chunk_rows
                stream.begin_chunk()

    def _sweep(self) -> None:
        """Takes one step in every environment that has a chunk under way.

        Actions are taken out of `_due` before they are executed: after an error the next sweep goes on with the rest.
        """
        if not self._due:
            for stream in self._streams:
                if stream.under_way and not stream.in_episode:
                    self._begin(stream)
            self._due.extend(self._decide())
        while self._due:
            self._advance(*self._due.popleft())

    def _advance(self, stream: EnvironmentStream, action: Floats, version: int) -> None:
        try:
            stream.advance(action, version)
        except EnvironmentCrashError as crash:
            self._note_crash(crash)

    def _note_crash(self, crash: EnvironmentCrashError) -> None:
        self._last_crash = crash
        if len(self._crashes) < CRASHES_IN_FULL:
            self._crashes.append(crash.crash)

    def _is_over_budget(self) -> bool:
        counts, rate = self._total(), self._config.crashes_per_1000_episodes
        return counts.crashes > self._config.crash_allowance + rate * counts.episodes / 1000.0

    def _check_crash_budget(self) -> None:
        if self._is_over_budget():
            counts, rate = self._total(), self._config.crashes_per_1000_episodes
            raise CrashBudgetError(
                f"{counts.crashes} environment crashes in {counts.episodes} finished episodes: allowed are "
                f"{self._config.crash_allowance}, and {rate:g} more per 1000 episodes; the last: {self._last_crash}"
            ) from self._last_crash

    def _total(self) -> StreamCounts:
        """Counts of all streams since they were opened."""
        counts = [stream.counts for stream in self._streams]
        return StreamCounts(
            rows=sum(count.rows for count in counts),
            env_steps=sum(count.env_steps for count in counts),
            episodes=sum(count.episodes for count in counts),
            crashes=sum(count.crashes for count in counts),
        )

    def _waited(self) -> float:
        """Seconds that this worker has waited in all, for Redis."""
        return sum(stream.writer.stats()["waited_seconds"] for stream in self._streams)

    def _report(self, called_at: float) -> RolloutStats:
        """What happened since the last report, which a call that raised did not make."""
        total, waited, before = self._total(), self._waited(), self._reported
        stats = RolloutStats(
            actor_id=self._actor_id,
            incarnation=self._incarnation,
            rows=total.rows - before.rows,
            env_steps=total.env_steps - before.env_steps,
            episodes=tuple(result for stream in self._streams for result in stream.take_finished()),
            crashes=total.crashes - before.crashes,
            first_crashes=tuple(self._crashes),
            waited_seconds=waited - self._reported_waited,
            seconds=time.monotonic() - called_at,
            policy_version=self.version,
            memory_mb=resident_memory_mb(),
            pending_rows=sum(stream.writer.chunk_rows for stream in self._streams if stream.under_way),
        )
        self._reported, self._reported_waited = total, waited
        self._crashes.clear()
        return stats


def resident_memory_mb() -> float:
    """Resident memory of this process in 2^20 bytes (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
