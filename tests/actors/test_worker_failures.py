"""The rollout worker when environments crash or replay does not answer: nothing is lost, doubled or invented."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import redis
from counting_world import SIM, assert_contiguous, assert_counted, counting_spec, joined, read_streams
from seeded_policy import SeededPolicy

from actors import ActorsConfig, CrashBudgetError
from deploy.settings.specification import spec_of
from replay import Chunk, EmbeddedServer, ReplayConfig, ReplayStore
from sim import SimConfig, make_env

TEACHER_ONLY = np.array([0.0], np.float32)


class Faulty(gym.Wrapper[Any, Any, Any, Any]):
    """A counting environment that does something wrong when it has been reset and stepped so often."""

    def __init__(self, calls: int, fault: Callable[[Any], Any]) -> None:
        super().__init__(make_env("counting", SIM))
        self.calls_left = calls
        self.fault = fault

    def reset(self, **arguments: Any) -> Any:
        return self._answer(super().reset(**arguments))

    def step(self, action: Any) -> Any:
        return self._answer(super().step(action))

    def _answer(self, answer: Any) -> Any:
        self.calls_left -= 1
        return self.fault(answer) if self.calls_left == 0 else answer


def raise_error(answer: Any) -> Any:
    raise ArithmeticError("the solver diverged")


def lose_the_state(answer: Any) -> Any:
    answer[0]["state"][:] = np.nan
    return answer


class Factory:
    """Builds a faulty environment first and sound ones afterwards."""

    def __init__(self, calls: int, fault: Callable[[Any], Any] = raise_error) -> None:
        self.built = 0
        self._first = (calls, fault)

    def __call__(self) -> gym.Env[Any, Any]:
        self.built += 1
        return Faulty(*self._first) if self.built == 1 else make_env("counting", SIM)


def whole_stream(store: ReplayStore) -> list[Chunk]:
    (chunks,) = read_streams(store).values()
    assert_contiguous(chunks)
    return chunks


@pytest.mark.parametrize("fault", [raise_error, lose_the_state], ids=["raises", "state is NaN"])
@pytest.mark.parametrize("calls", range(2, 18))
def test_a_crash_ends_the_sequence_at_the_row_before_it_and_invents_nothing(
    make_store, make_worker, calls: int, fault: Callable[[Any], Any]
) -> None:
    store = make_store()
    factory = Factory(calls, fault)
    worker = make_worker(store, make_env=factory, config=ActorsConfig(envs_per_actor=1))
    parts = [worker.collect(40), worker.drain()]

    chunks = whole_stream(store)
    state, is_first, is_last = (joined(chunks, name) for name in ("state", "is_first", "is_last"))
    count = state[:, 2].astype(int).tolist()
    # All rows before the crash, then those of the new environment, which counts from 0 again.
    good = calls - 1
    assert count == [*range(good), *range(len(count) - good)]
    assert bool(is_last[good - 1]) and bool(is_first[good])
    assert not joined(chunks, "is_terminal").any()
    assert is_first.tolist() == (state[:, 1] == 0).tolist()
    assert is_last[:-1].tolist() == is_first[1:].tolist()
    assert factory.built == 2
    assert sum(part.crashes for part in parts) == 1
    assert sum(part.rows for part in parts) == len(count)


@pytest.mark.parametrize("calls", range(2, 26))
def test_after_a_crash_every_chunk_is_a_whole_episode_again(make_store, make_worker, calls: int) -> None:
    """Episodes of 7 steps, chunks of 8 rows; only what the crash, or the stream's end, cut short is shorter."""
    sim = SimConfig(image_size=16, episode_steps=7)

    class Breaks(Faulty):
        def __init__(self) -> None:
            gym.Wrapper.__init__(self, make_env("counting", sim))
            self.calls_left, self.fault = calls, raise_error

    built: list[Any] = []

    def make() -> Any:
        built.append(Breaks() if not built else make_env("counting", sim))
        return built[-1]

    store = make_store(spec_of(make_env("counting", sim), views=1, chunk_length=8))
    worker = make_worker(store, make_env=make, config=ActorsConfig(envs_per_actor=1))
    worker.collect(80)
    worker.drain()

    (chunks,) = read_streams(store).values()
    assert len(built) == 2
    assert all(chunk.is_first[0] and chunk.is_last[-1] and chunk.is_first.sum() == 1 for chunk in chunks)
    whole = [chunk.rows == 8 for chunk in chunks]
    assert whole.count(False) <= 3  # the first, which is of random length, the crash's and the last
    assert chunks[0].meta.first_step == 0
    rows = joined(chunks, "state")[:, 2].tolist()
    assert rows == [*range(calls - 1), *range(len(rows) - calls + 1)]


def test_an_environment_that_crashes_in_its_first_reset_leaves_no_row(make_store, make_worker) -> None:
    store = make_store()
    worker = make_worker(store, make_env=Factory(calls=1), config=ActorsConfig(envs_per_actor=1))
    stats = worker.collect(40)
    worker.drain()

    assert stats.crashes == 1
    chunks = whole_stream(store)
    assert_counted(*(joined(chunks, name) for name in ("state", "image", "reward", "is_first", "is_last")))


def test_a_crash_of_one_environment_leaves_the_others_alone(make_store, make_worker) -> None:
    store = make_store()
    worker = make_worker(store, make_env=Factory(calls=9))
    worker.collect(100)
    worker.drain()

    streams = read_streams(store)
    for name in ("actor0.0.1", "actor0.0.2"):
        assert_counted(*(joined(streams[name], part) for part in ("state", "image", "reward", "is_first", "is_last")))


def test_environments_that_crash_too_often_end_in_an_error_that_names_the_seed(make_store, make_worker) -> None:
    store = make_store()
    config = ActorsConfig(envs_per_actor=1, crash_allowance=2, crashes_per_1000_episodes=0.0)
    worker = make_worker(store, make_env=lambda: Faulty(5, raise_error), config=config)

    stats = worker.collect(1000)
    assert (stats.crashes, len(stats.first_crashes), stats.rows) == (3, 3, 12)
    for _ in range(2):
        with pytest.raises(
            CrashBudgetError, match=r"3 environment crashes .* allowed are 2.* seed \d+.* solver diverged"
        ):
            worker.collect(1000)
    assert worker.drain().crashes == 0
    assert store.stats()["rows"] == 12


def test_finished_episodes_earn_further_crashes(make_store, make_worker) -> None:
    config = ActorsConfig(envs_per_actor=1, crash_allowance=0, crashes_per_1000_episodes=1000.0)
    worker = make_worker(make_store(), make_env=lambda: Faulty(40, raise_error), config=config)

    assert worker.collect(1000).crashes > 20


# ---------------------------------------------------------------- a server that stops answering


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(tmp_path, max_bytes=ReplayConfig().memory_bytes) as running:
        yield running
        os.kill(running.pid, signal.SIGCONT)


def test_a_silent_server_loses_and_doubles_nothing(own_server: EmbeddedServer, make_worker) -> None:
    client = redis.Redis.from_url(own_server.url, socket_timeout=0.05, retry=None)
    store = ReplayStore(client, "run", counting_spec(), ReplayConfig(retry_seconds=0.0))
    policy = SeededPolicy(3)
    worker = make_worker(store, policy=policy)
    worker.set_weights(TEACHER_ONLY, 1)
    rows = worker.collect(50).rows
    os.kill(own_server.pid, signal.SIGSTOP)
    for _ in range(3):
        with pytest.raises(ConnectionError, match="took no chunk"):
            worker.collect(50)
    os.kill(own_server.pid, signal.SIGCONT)
    rows += worker.collect(50).rows + worker.drain().rows

    streams = read_streams(store)
    for chunks in streams.values():
        assert_contiguous(chunks)
        assert_counted(*(joined(chunks, name) for name in ("state", "image", "reward", "is_first", "is_last")))
    assert sum(chunk.rows for chunks in streams.values() for chunk in chunks) == rows
    # Nor was any observation shown to the policy twice.
    assert all(question.carry.tolist() == question.state[:, 1].tolist() for question in policy.questions)
