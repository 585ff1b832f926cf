"""One environment and the stream of rows that it writes.

A stream is one environment's life, episode after episode, without a gap; rows follow the time alignment drawn in
`replay.schema`. When the environment raises, the row before the crash becomes the last of its episode (truncated), the
environment is closed and built anew for the next episode, and the stream goes on: nothing is invented.
"""

import contextlib
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from actors.rollout_stats import Crash, EpisodeResult
from actors.spaces import Environment, Image, check_spaces, with_views
from replay.schema import RANDOM, EpisodeMeta, Step, StreamSpec
from replay.writer import StreamWriter
from sim.seeds import training_seed

Floats = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]


def draw_first_chunk_rows(spec: StreamSpec, rng: np.random.Generator) -> int:
    """How many rows a stream's first chunk has at most, of any length alike.

    So the chunks of streams that begin together do not all arrive at the same moments.
    """
    rows = int(rng.integers(min(2, spec.chunk_length), spec.chunk_length + 1))
    # An episode's first row alone is worth no chunk, and the one behind it would begin in mid-episode.
    begins_episode = spec.episode_steps > 0 and rows % (spec.episode_steps + 1) == 1
    return min(rows + begins_episode, spec.chunk_length)


class EnvironmentCrashError(RuntimeError):
    """An environment raised, or returned what cannot be stored; the message names episode seed, step and cause.

    Attributes:
        crash: what it takes to see it again.
    """

    def __init__(self, message: str, crash: Crash) -> None:
        super().__init__(message)
        self.crash = crash

    def __reduce__(self) -> tuple[type, tuple[str, Crash]]:
        """Both arguments, for the way to another process."""
        return type(self), (str(self), self.crash)


@dataclass
class StreamCounts:
    """What happened in a stream since it was opened."""

    rows: int = 0
    env_steps: int = 0
    episodes: int = 0
    crashes: int = 0


class EnvironmentStream:
    """Steps one environment and writes every row.

    Where an append to replay fails with ConnectionError, environment and stream stay in step: the row is in the
    writer's hands, everything is counted, and the call must not be repeated.

    Attributes:
        writer: of this stream.
        episode_rng: of what is drawn once per episode.
        action_rng: of random actions.
        in_episode: whether `advance` may be called; if not, `begin`.
        is_first: whether the current row is the first of its episode.
        driver: of the current episode.
        sees_image: whether that one acts from images.
        state: [S], of the current row.
        image: [K, H, W, C], what the camera had delivered by the current row; None where nothing is rendered.
        renders: whether this environment gives images.
        counts: since the stream was opened.

    Only with a chunk under way do rows come: see `begin_chunk`.

    Args:
        make_env: builds the environment, at once and after each crash.
        writer: of this stream alone.
        spec: what replay stores; an environment that gives something else is refused.
        entropy: of the episode seeds, the drivers and the random actions.

    Raises:
        ValueError: the environment's spaces do not fit `spec`.
    """

    def __init__(
        self,
        make_env: Callable[[], Environment],
        writer: StreamWriter,
        spec: StreamSpec,
        entropy: np.random.SeedSequence,
    ) -> None:
        # Two generators, so that the seeds of the episodes do not depend on how many random actions were drawn.
        episodes, actions = entropy.spawn(2)
        self.writer = writer
        self.episode_rng = np.random.default_rng(episodes)
        self.action_rng = np.random.default_rng(actions)
        self.in_episode = False
        self.is_first = True
        self.driver, self.sees_image = RANDOM, False
        self.state: Floats = np.zeros(spec.state_dim, np.float32)
        self.image: Image | None = None
        self.counts = StreamCounts()
        self._begun = 0  # episodes
        self._chunk: int | None = None  # number of the last one that was begun
        self._finished: list[EpisodeResult] = []
        self._make_env = make_env
        self._spec = spec
        self._env: Environment | None = make_env()
        self.renders = check_spaces(self._env, spec)
        self._episode = EpisodeMeta(row=0, seed=0, domain="", driver=RANDOM, randomisation={})
        self._renderer = ""
        self._steps = 0
        self._return = 0.0
        self._actions: list[npt.NDArray[Any]] = []  # as the environment was given them

    @property
    def under_way(self) -> bool:
        """Whether a chunk is begun and not yet complete. The newest row of an episode that goes on completes none."""
        return self._chunk == self.writer.chunks

    @property
    def episodes_finished(self) -> int:
        """Episodes that have ended, whatever ended them."""
        return self._begun - int(self.in_episode)

    def begin_chunk(self) -> None:
        """Lets the next rows come, up to `writer.chunk_rows` of them."""
        self._chunk = self.writer.chunks

    def begin(
        self,
        driver: str,
        policy_version: int,
        *,
        sees_image: bool = False,
        seed: int | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        """Resets the environment and writes the episode's first row.

        Args:
            driver: who acts in this episode.
            policy_version: of the weights in use.
            sees_image: whether it acts from images.
            seed: the episode's; None: a fresh one.
            options: of the reset.

        Raises:
            EnvironmentCrashError: it raised; the stream is ready for another `begin`.
            ConnectionError: replay does not answer; the episode has begun nevertheless.
        """
        seed = training_seed(self.episode_rng) if seed is None else seed
        self._steps, self._return, self._actions = 0, 0.0, []
        try:
            if self._env is None:
                self._env = self._make_env()
                check_spaces(self._env, self._spec)
            observation, info = self._env.reset(seed=seed, options=options)
            state, image, state_at_exposure = self._read(observation, info)
            episode = EpisodeMeta(
                row=0,
                seed=int(info["seed"]),
                domain=str(info["domain"]),
                driver=driver,
                randomisation=dict(info["randomisation"]),
            )
            renderer = str(info["renderer"])
        except Exception as error:
            raise self._crash(seed, error) from error
        self.driver, self.sees_image, self.state, self.image = driver, sees_image, state, image
        self.in_episode = self.is_first = True
        self._begun += 1
        self._episode, self._renderer = episode, renderer
        no_action = np.zeros(self._spec.action_dim, np.float32)
        self._write(Step(state, image, state_at_exposure, no_action, 0.0, True, False, False), policy_version)

    def advance(self, action: Floats, policy_version: int) -> None:
        """Takes one step and writes its row.

        Args:
            action: [A], in [-1, 1]; the environment is given it in its own bounds, replay as it is.
            policy_version: of the weights that chose it; 0 for none.

        Raises:
            EnvironmentCrashError: it raised; the row before is marked as the episode's last.
            ConnectionError: replay does not answer; the step has been taken nevertheless.
        """
        assert self._env is not None and self.in_episode
        given = self._spec.environment_action(action, self._env.action_space.dtype)
        self._actions.append(given)
        try:
            observation, reward, terminated, truncated, info = self._env.step(given)
            state, image, state_at_exposure = self._read(observation, info)
            if not np.isfinite(float(reward)):
                raise ValueError(f"reward {reward}: it must be finite")
            success = bool(info["is_success"])
        except Exception as error:
            raise self._crash(self._episode.seed, error) from error
        self.state, self.image, self.is_first = state, image, False
        self._steps += 1
        self._return += float(reward)
        ended = bool(terminated or truncated)
        if ended:
            self._finish(success, policy_version)
        elif self._is_cut_here():
            ended, self.in_episode = True, False
        step = Step(state, image, state_at_exposure, action, float(reward), False, ended, bool(terminated))
        self._write(step, policy_version)

    def truncate(self) -> None:
        """Ends the episode at its newest row.

        Raises:
            ConnectionError: replay does not answer; the episode has ended nevertheless.
        """
        self.in_episode = False
        self.writer.truncate()

    def take_finished(self) -> list[EpisodeResult]:
        """Hands over the results of the episodes that ended since the last time."""
        results, self._finished = self._finished, []
        return results

    def close(self) -> None:
        """Closes the environment and writes the rows that are held; may be called again after a ConnectionError."""
        self.in_episode = False
        self._close_env()
        self.writer.flush()

    def _is_cut_here(self) -> bool:
        """Whether the next row ends the first chunk, and with it an episode that would go on into the second.

        Where chunks hold whole episodes, streams that begin together would else deliver together for good. The episode
        is truncated, which is what replay is told; it is no result.
        """
        first, whole = self.writer.first_chunk_rows, self._spec.chunk_length
        return self._spec.episode_steps > 0 and first < whole and self.counts.rows + 1 == first

    def _finish(self, success: bool, policy_version: int) -> None:
        self.in_episode = False
        self.counts.episodes += 1
        self._finished.append(
            EpisodeResult(
                driver=self.driver,
                domain=self._episode.domain,
                seed=self._episode.seed,
                steps=self._steps,
                episode_return=self._return,
                success=success,
                policy_version=policy_version,
            )
        )

    def _write(self, step: Step, policy_version: int) -> None:
        self.counts.rows += 1
        self.counts.env_steps += not step.is_first
        episode = self._episode if step.is_first else None
        self.writer.append(step, episode, policy_version=policy_version, renderer=self._renderer)

    def _read(self, observation: dict[str, Any], info: dict[str, Any]) -> tuple[Floats, Image | None, Floats | None]:
        """Copies what the environment may overwrite: state [S], image [K, H, W, C], and the state [S] that it shows.

        An environment that does not tell what its image shows has a camera without delay: it shows the state.
        """
        state = self._read_state("state", observation["state"])
        if not self.renders:
            return state, None, None
        shown = self._read_state("state_at_exposure", info.get("state_at_exposure", state))
        return state, with_views(np.array(observation["image"], np.uint8), self._spec), shown

    def _read_state(self, name: str, given: Any) -> Floats:
        state = np.array(given, np.float32)
        if state.shape != (self._spec.state_dim,) or not np.isfinite(state).all():
            raise ValueError(f"{name} {state}: it must be {self._spec.state_dim} finite numbers")
        return state

    def _crash(self, seed: int, error: Exception) -> EnvironmentCrashError:
        """Ends the episode honestly and lets go of the environment."""
        self.in_episode = False
        self.counts.crashes += 1
        self._close_env()
        self.writer.truncate()
        said = " ".join(f"{type(error).__name__}: {error}".split())
        actions = tuple(tuple(map(float, action)) for action in self._actions)
        in_full = "".join(traceback.format_exception(error))
        crash = Crash(seed=seed, renders=self.renders, actions=actions, error=said, traceback=in_full)
        return EnvironmentCrashError(f"episode seed {seed}, step {self._steps}: {said}", crash)

    def _close_env(self) -> None:
        env, self._env = self._env, None
        if env is not None:
            # What is broken may well break again on closing, and there is nothing more to save in it.
            with contextlib.suppress(Exception):
                env.close()
