"""The rollout worker: environments that act by a policy, or at random; one batched policy step for all of them.

    reset who needs it -> one policy step for all -> step each -> row to its writer

Chunks and credit, calls and crashes: `actors.stream_worker`.
"""

import functools
from collections.abc import Callable
from typing import Any, Literal, Protocol

import numpy as np

from actors.config import ActorsConfig
from actors.entropy import FIRST_CHUNK, STREAM, entropy
from actors.spaces import Environment, Image
from actors.stream import EnvironmentCrashError, EnvironmentStream, Flags, Floats, draw_first_chunk_rows
from actors.stream_worker import StreamWorker
from replay.schema import RANDOM
from replay.store import ReplayStore
from replay.writer import StreamWriter


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


class PolicyError(RuntimeError):
    """The policy's actions are not finite: its weights are, but so large that what is computed with them is not."""


class RolloutWorker(StreamWorker):
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
        streams = []
        for index in range(config.envs_per_actor):
            renders = index < config.envs_per_actor - config.state_only_envs
            source = functools.partial(entropy, seed, actor_id, incarnation)
            writer = StreamWriter(
                store,
                store.spec,
                run_id=run_id,
                stream_id=f"{actor_id}.{incarnation}.{index}",
                actor_id=actor_id,
                first_chunk_rows=draw_first_chunk_rows(store.spec, np.random.default_rng(source(FIRST_CHUNK, index))),
            )
            factory = make_env if renders or make_state_only_env is None else make_state_only_env
            streams.append(EnvironmentStream(factory, writer, store.spec, source(STREAM, index)))
        super().__init__(streams, config, actor_id=actor_id, incarnation=incarnation)
        self._policy = policy
        self._spec = store.spec
        self._carry = policy.initial(len(streams))

    @property
    def version(self) -> int:
        """Of the weights in use; 0 for none yet."""
        return self._policy.version

    def set_weights(self, flat: Floats, version: int) -> None:
        """Loads weights if they are newer than those in use; recurrent states stay as they are.

        Args:
            flat: all weights in one array, may be read-only.
            version: theirs, above 0.
        """
        if version > self._policy.version:
            self._policy.load(flat, version)

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
