"""The rollout worker: several environments, one batched policy step for all of them, chunks out, weights in.

    begin chunks as credit allows -> reset who needs it -> one policy step for all -> step each -> row to its writer

An environment moves while it has a chunk under way, and a chunk is begun only when the worker has credit for all of it
(`replay.credits`). With less credit than environments some of them stand still, in turn.

The worker is plain Python without Ray and without threads. It keeps all of its state between calls, so that a call may
end anywhere, and a call that failed because replay did not answer can simply be made again: no step is taken twice and
no row is lost or doubled.
"""

import functools
import math
import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from actors.config import ActorsConfig
from actors.entropy import FIRST_CHUNK, STREAM, entropy
from actors.rollout_stats import Crash, RolloutStats
from actors.spaces import Environment, Image
from actors.stream import (
    EnvironmentCrashError,
    EnvironmentStream,
    Flags,
    Floats,
    StreamCounts,
    draw_first_chunk_rows,
)
from replay.schema import RANDOM
from replay.store import ReplayStore
from replay.writer import StreamWriter

CRASHES_IN_FULL = 3
"""Crashes of one report that are told in full; what crashes more often than that mostly does so for the same reason."""


class ActingPolicyLike(Protocol):
    """What the worker asks of a policy; `learner.acting.ActingPolicy` is one. N environments, S state, A action."""

    @property
    def version(self) -> int:
        """Of the weights in use; 0 when none were ever loaded."""

    def driver(self, sees: Literal["state", "image"], /) -> str | None:
        """The name of who may drive from it with these weights; None where nobody may, yet or ever."""

    def load(self, flat: Floats, version: int, /) -> None:
        """Takes over weights. `flat` may be read-only and shared: it must be copied."""

    def initial(self, n: int, /) -> Any:
        """The recurrent state of n environments before their first step."""

    def step(
        self,
        carry: Any,
        state: Floats,
        image: Image | None,
        is_first: Flags,
        from_image: Flags,
        explore: bool,
        /,
    ) -> tuple[Floats, Any]:
        """One step of all environments.

        Args:
            carry: what the step before returned.
            state: [N, S].
            image: [N, H, W, C], meaningful where `from_image`; None where nobody acts from an image.
            is_first: [N], rows that begin an episode.
            from_image: [N], rows that act from their image.
            explore: whether to sample the policy rather than to take its mode.

        Returns:
            action [N, A] in [-1, 1] and the new carry.
        """

    def merged(self, before: Any, after: Any, moved: Flags, /) -> Any:
        """The carry of environments of which only some took the step: `after` where `moved` [N], else `before`."""


class CrashBudgetError(RuntimeError):
    """The environments crash too often to go on; the message names the last crash with its episode seed."""


class PolicyError(RuntimeError):
    """The policy's actions are not finite: its weights are, but so large that what is computed with them is not."""


class RolloutWorker:
    """Collects rows from several environments.

    Each episode has one driver, drawn at its start: "random" (uniform actions) while the policy was never loaded or
    nobody may drive, then the policy's driver from state, or the one from images, with probability
    `config.student_fraction` where there are both. With several views per step it drives on the first.

    Args:
        make_env: builds one environment.
        policy: loaded by `set_weights`.
        store: where chunks go; its spec says what an environment must give.
        config: number of environments, student's share, crash budget.
        run_id: of the run.
        actor_id: of this worker, unique in the run.
        seed: the run's. With actor id, incarnation and environment it determines all episode seeds and random draws.
        incarnation: differs each time that a worker of this id is made, so that streams and seeds are not used twice.
        make_state_only_env: builds the last `config.state_only_envs` environments, which render nothing.

    Raises:
        ValueError: an environment does not fit the store's spec; environments without images are asked for but
            `make_state_only_env` is not given.
    """

    def __init__(
        self,
        make_env: Callable[[], Environment],
        policy: ActingPolicyLike,
        store: ReplayStore,
        config: ActorsConfig,
        *,
        run_id: str,
        actor_id: str,
        seed: int,
        incarnation: int = 0,
        make_state_only_env: Callable[[], Environment] | None = None,
    ) -> None:
        if config.state_only_envs and make_state_only_env is None:
            raise ValueError(f"state_only_envs={config.state_only_envs} needs make_state_only_env")
        self._policy = policy
        self._config = config
        self._spec = store.spec
        self._actor_id = actor_id
        self._incarnation = incarnation
        self._streams: list[EnvironmentStream] = []
        for index in range(config.envs_per_actor):
            renders = index < config.envs_per_actor - config.state_only_envs
            stream_id = f"{actor_id}.{incarnation}.{index}"
            source = functools.partial(entropy, seed, actor_id, incarnation)
            writer = StreamWriter(
                store,
                store.spec,
                run_id=run_id,
                stream_id=stream_id,
                actor_id=actor_id,
                first_chunk_rows=draw_first_chunk_rows(store.spec, np.random.default_rng(source(FIRST_CHUNK, index))),
            )
            factory = make_env if renders or make_state_only_env is None else make_state_only_env
            self._streams.append(EnvironmentStream(factory, writer, store.spec, source(STREAM, index)))
        self._carry = policy.initial(len(self._streams))
        self._due: deque[tuple[EnvironmentStream, Floats, int]] = deque()
        self._credit = 0.0
        self._drained = False
        self._reported = StreamCounts()
        self._reported_waited = 0.0
        self._crashes: list[Crash] = []
        self._last_crash: EnvironmentCrashError | None = None

    def set_weights(self, flat: Floats, version: int) -> None:
        """Loads weights if they are newer than those in use; recurrent states stay as they are.

        Args:
            flat: all weights in one array, may be read-only.
            version: theirs, above 0.
        """
        if version > self._policy.version:
            self._policy.load(flat, version)

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
            stream, action, version = self._due.popleft()
            try:
                stream.advance(action, version)
            except EnvironmentCrashError as crash:
                self._note_crash(crash)

    def _begin(self, stream: EnvironmentStream) -> None:
        # Drawn even where it decides nothing: the seeds of later episodes do not depend on the policy's progress.
        share = stream.episode_rng.random()
        driver = self._policy.driver("state")
        by_image = self._policy.driver("image") if stream.renders else None
        sees_image = by_image is not None and (driver is None or share < self._config.student_fraction)
        driver = by_image if sees_image else driver
        try:
            stream.begin(driver or RANDOM, self._policy.version if driver else 0, sees_image=sees_image)
        except EnvironmentCrashError as crash:
            self._note_crash(crash)

    def _decide(self) -> list[tuple[EnvironmentStream, Floats, int]]:
        """Gives each environment that moves its action [A], and the version of the weights that chose it."""
        chosen: Floats | None = None
        moving = np.array([stream.in_episode and stream.under_way for stream in self._streams])
        if any(stream.driver != RANDOM for stream, moves in zip(self._streams, moving, strict=True) if moves):
            chosen = self._policy_step(moving)
        due = []
        for index, stream in enumerate(self._streams):
            if not moving[index]:
                continue
            if stream.driver == RANDOM:
                random = stream.action_rng.uniform(-1.0, 1.0, self._spec.action_dim)
                due.append((stream, random.astype(np.float32), 0))
            else:
                assert chosen is not None
                due.append((stream, np.array(chosen[index], np.float32), self._policy.version))
        return due

    def _policy_step(self, moving: Flags) -> Floats:
        """One batched step of the policy for all N environments; the rows that are not its own are not used.

        An environment that stands still in mid-episode keeps its recurrent state.
        """
        streams = self._streams
        from_image = moving & np.array([stream.sees_image for stream in streams])
        image: Image | None = None
        if from_image.any():
            image = np.zeros((len(streams), *self._spec.image_shape), np.uint8)
            for index in np.flatnonzero(from_image):
                views = streams[index].image
                assert views is not None
                image[index] = views[0]
        action, carry = self._policy.step(
            self._carry,
            np.stack([stream.state for stream in streams]),
            image,
            np.array([stream.is_first for stream in streams]),
            from_image,
            True,
        )
        if action.shape != (len(streams), self._spec.action_dim):
            raise ValueError(f"the policy gave actions {action.shape}, not {(len(streams), self._spec.action_dim)}")
        if not np.isfinite(action).all():
            raise PolicyError(f"the policy's actions are not finite at version {self._policy.version}")
        paused = np.array([stream.in_episode for stream in streams]) & ~moving
        self._carry = self._policy.merged(self._carry, carry, ~paused) if paused.any() else carry
        return action

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
            policy_version=self._policy.version,
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
