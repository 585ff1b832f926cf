"""Plays another run's episodes again, in a world that may look otherwise, and writes them as an actor writes its own.

    next number (Redis) -> its episode -> reset with its seed -> its actions, one by one -> row to its writer
                                                    |
                                          its states: the same as then?

Every pair of state and image that is written is of one simulation, this one: where it goes another way than the first
one did, the states are those that it went through, and the images show them. Such an episode is a true one, of which
the actions were chosen for another; it is counted (`Resimulated`).

The episodes come in an order drawn from the run's seed, each once. An actor that is lost takes with it the episode
that it was playing; so that there are as many rows in the end, the order then begins anew.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from actors.config import ActorsConfig
from actors.entropy import STREAM, entropy
from actors.rollout_stats import Resimulated, RolloutStats
from actors.spaces import Environment
from actors.stream import EnvironmentCrashError, EnvironmentStream, Floats
from actors.stream_worker import StreamWorker
from replay.episodes import Episode, Episodes, decode_episodes
from replay.schema import StreamSpec
from replay.store import ReplayStore
from replay.writer import StreamWriter
from sim import make_env
from sim.config import SimConfig

DRIFT = 0.01
"""Share of an entry's range by which a state may differ before it counts as another one: less than a student's
readout is asked to tell."""

TRAINING = "train"
"""The domain of all that a student is trained on."""

_NUMBERS = "episodes"
"""Under which the numbers of episodes are claimed, as actors claim those of their incarnations."""


def difference(state: Floats, other: Floats, spec: StreamSpec) -> float:
    """Of two states [..., S], the largest of any entry, as a share of its range."""
    span = np.array(spec.state_high) - np.array(spec.state_low)
    return float(np.max(np.abs(np.asarray(state, np.float64) - other) / span))


def resimulate(env: Environment, episode: Episode, spec: StreamSpec) -> Resimulated:
    """Plays one episode and looks whether it becomes the same one.

    Args:
        env: one that renders nothing will do.
        episode: of a run with this spec.
        spec: gives the states' ranges and the actions' bounds.
    """
    playing = _Playing(episode, spec)
    observation, _ = env.reset(seed=episode.seed, options={"domain": episode.domain})
    ended = playing.look(observation["state"], goes_on=True)
    while not ended:
        given = spec.environment_action(playing.next_action(), env.action_space.dtype)
        observation, _, terminated, truncated, _ = env.step(given)
        ended = playing.look(observation["state"], goes_on=not (terminated or truncated))
    return playing.result


def require_training(episodes: Episodes) -> None:
    """Refuses episodes of worlds that no training is given, such as the lab's or held-out ones.

    Raises:
        ValueError: naming their domains.
    """
    others = sorted({episode.domain for episode in episodes.all} - {TRAINING})
    if others:
        raise ValueError(f"there are episodes of {episodes.run_id} in {', '.join(others)} visuals, allowed: {TRAINING}")


class _Playing:
    """An episode that is played again, and how far."""

    def __init__(self, episode: Episode, spec: StreamSpec) -> None:
        self._episode, self._spec = episode, spec
        self._row = 0
        self._same = True
        self._largest = 0.0
        self.result = Resimulated()

    def look(self, state: Floats, *, goes_on: bool) -> bool:
        """Compares a state [S] with that of the present row.

        Args:
            state: as it is now.
            goes_on: whether the environment would take another action.

        Returns:
            Whether the episode is over; `result` then says how it went.
        """
        then = self._episode.state[self._row]
        self._same &= np.array_equal(state, then)
        self._largest = max(self._largest, difference(state, then, self._spec))
        is_last = self._row == len(self._episode.state) - 1
        if not is_last and goes_on:
            return False
        drifted = self._largest > DRIFT or not is_last
        self.result = Resimulated(1, int(not self._same or drifted), int(drifted), self._largest)
        return True

    def next_action(self) -> Floats:
        """The one [A] that leads to the next row."""
        self._row += 1
        return np.array(self._episode.action[self._row], np.float32)


class RerenderingWorker(StreamWorker):
    """Plays episodes again in one environment and writes their rows.

    Args:
        make_env: builds the environment.
        store: where chunks go; its spec says what the environment must give.
        config: crash budget.
        episodes: which.
        run_id: of the run that is written.
        actor_id: of this worker, unique in the run.
        seed: the run's; the order follows from it.
        incarnation: differs each time that a worker of this id is made, so that streams are not used twice.

    Raises:
        ValueError: the environment does not fit the store's spec, or as `require_training`.
    """

    def __init__(
        self,
        make_env: Callable[[], Environment],
        store: ReplayStore,
        config: ActorsConfig,
        episodes: Episodes,
        *,
        run_id: str,
        actor_id: str,
        seed: int,
        incarnation: int = 0,
    ) -> None:
        require_training(episodes)
        writer = StreamWriter(
            store, store.spec, run_id=run_id, stream_id=f"{actor_id}.{incarnation}.0", actor_id=actor_id
        )
        stream = EnvironmentStream(make_env, writer, store.spec, entropy(seed, actor_id, incarnation, STREAM, 0))
        super().__init__([stream], config, actor_id=actor_id, incarnation=incarnation)
        self._store, self._episodes, self._seed = store, episodes, seed
        self._playing: _Playing | None = None
        self._resimulated = Resimulated()

    @property
    def version(self) -> int:
        """None of this run's weights chose an action."""
        return 0

    def set_weights(self, flat: Floats, version: int) -> None:
        """Does nothing: all actions are chosen."""

    def _begin(self, stream: EnvironmentStream) -> None:
        episode = self._next()
        self._playing = _Playing(episode, self._episodes.spec)
        try:
            stream.begin(episode.driver, self.version, seed=episode.seed, options={"domain": episode.domain})
        except EnvironmentCrashError as crash:
            self._note_crash(crash)
        finally:
            self._look(stream)

    def _next(self) -> Episode:
        passes, place = divmod(self._store.claim_incarnation(_NUMBERS), len(self._episodes.all))
        order = np.random.default_rng([self._seed, passes]).permutation(len(self._episodes.all))
        return self._episodes.all[int(order[place])]

    def _decide(self) -> list[tuple[EnvironmentStream, Floats, int]]:
        return [
            (stream, self._playing.next_action(), self.version)
            for stream in self._streams
            if self._playing is not None and stream.in_episode and stream.under_way
        ]

    def _advance(self, stream: EnvironmentStream, action: Floats, version: int) -> None:
        try:
            super()._advance(stream, action, version)
        finally:
            self._look(stream)

    def _note_crash(self, crash: EnvironmentCrashError) -> None:
        """What was played has no end, and is not played once more: it would crash again."""
        super()._note_crash(crash)
        self._playing = None

    def _look(self, stream: EnvironmentStream) -> None:
        """After a step, also after one whose row Redis did not take: it has been taken."""
        if self._playing is not None and self._playing.look(stream.state, goes_on=stream.in_episode):
            self._resimulated += self._playing.result
            self._playing = None
            if stream.in_episode:
                stream.truncate()

    def _report(self, called_at: float) -> RolloutStats:
        """Without the episodes' results, which are none of this run's."""
        stats = super()._report(called_at)
        resimulated, self._resimulated = self._resimulated, Resimulated()
        return replace(stats, episodes=(), resimulated=resimulated)


@dataclass(frozen=True)
class RerenderingPlan:
    """What all workers of a run have in common that plays another one's episodes; see `actors.plan.WorkerPlan`.

    Attributes:
        task: of `sim.make_env`.
        sim: the world's settings; its `views` is the spec's.
        actors: the worker's settings.
        run_id: of the run.
        seed: of the run.
        episodes: file of `replay.episodes`, which every worker reads for itself.
    """

    task: str
    sim: SimConfig
    actors: ActorsConfig
    run_id: str
    seed: int
    episodes: Path

    def build(self, store: ReplayStore, actor_id: str, incarnation: int) -> RerenderingWorker:
        """One worker.

        Args:
            store: the run's replay.
            actor_id: of the worker.
            incarnation: how often a worker of this id had been started before.

        Raises:
            ValueError: as `RerenderingWorker`, or the file is damaged.
            OSError: the file cannot be read.
        """
        return RerenderingWorker(
            functools.partial(make_env, self.task, self.sim, quiet=True),
            store,
            self.actors,
            decode_episodes(self.episodes.read_bytes()),
            run_id=self.run_id,
            actor_id=actor_id,
            seed=self.seed,
            incarnation=incarnation,
        )
