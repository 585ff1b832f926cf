"""The driver's counters while Redis is away, with a real server that is killed and started again."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis_servers import redis_server

from deploy.errors import RunEndedError
from deploy.training.replay_watch import SILENT_SECONDS, ReplayWatch
from replay import EmbeddedServer, ReplayConfig, ReplayStore, StreamSpec, connect

SPEC = StreamSpec(("x",), (-1.0,), (1.0,), image_shape=(8, 8, 3), views=1, action_dim=1, chunk_length=5)
CONFIG = ReplayConfig(capacity_bytes=2**20)

Events = list[tuple[str, dict[str, Any]]]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(tmp_path / "redis", max_bytes=2**30) as running:
        yield running


def watch(store: ReplayStore, events: Events, **changes: Any) -> ReplayWatch:
    def event(name: str, **values: float | int | str) -> None:
        events.append((name, values))

    return ReplayWatch(store, **{"lost_env_steps": 0, "outage_seconds": 60.0, "event": event, **changes})


def count(store: ReplayStore, env_steps: int) -> None:
    counted = {"env_steps": str(env_steps), "inserted_rows": str(env_steps)}
    store.client.hset(store.key("counters"), mapping=counted)


def watched_until(watched: ReplayWatch, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60.0
    while not condition():
        assert time.monotonic() < deadline
        watched.stats()
        time.sleep(0.02)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def test_counters_stay_while_redis_is_away_and_go_on_when_it_is_back(server: EmbeddedServer) -> None:
    store, events = ReplayStore(connect(server.url), "run", SPEC, CONFIG), Events()
    watched = watch(store, events, lost_env_steps=7)
    count(store, 100)
    assert watched.env_steps() == 107
    kill(server.pid)
    assert watched.env_steps() == watched.env_steps() == 107
    assert watched.away
    server.revive()
    count(store, 130)
    assert watched.env_steps() == 137
    watched_until(watched, lambda: not watched.away)
    (away, told), (back, values) = events
    assert (away, back) == ("replay_away", "replay_back")
    assert told["reason"]
    assert values["seconds"] > 0


def test_a_server_that_was_silent_and_answers_before_the_client_gives_up_was_away(server: EmbeddedServer) -> None:
    events = Events()
    watched = watch(ReplayStore(connect(server.url), "run", SPEC, CONFIG), events)
    os.kill(server.pid, signal.SIGSTOP)
    awakes = threading.Timer(SILENT_SECONDS + 0.5, os.kill, (server.pid, signal.SIGCONT))
    awakes.start()
    watched.stats()
    awakes.join()
    watched_until(watched, lambda: not watched.away)
    (away, told), (back, values) = events
    assert (away, back) == ("replay_away", "replay_back")
    assert re.fullmatch(r"it did not answer for \d+ s", told["reason"])
    assert values["seconds"] >= SILENT_SECONDS


def test_an_embedded_server_that_ended_is_started_again(server: EmbeddedServer) -> None:
    store, events = ReplayStore(connect(server.url), "run", SPEC, CONFIG), Events()
    watched = watch(store, events, revive=server.revive)
    count(store, 100)
    kill(server.pid)
    watched.stats()
    assert watched.stats()["env_steps"] == 100
    watched_until(watched, lambda: not watched.away)
    assert [name for name, _ in events] == ["replay_away", "replay_back"]


def test_steps_that_redis_does_not_have_any_more_stay_counted_and_are_told(tmp_path: Path) -> None:
    """A server without a log: what it acknowledged goes with it."""
    events = Events()
    with redis_server(tmp_path / "first", appendonly="no") as first:
        store = ReplayStore(connect(first.url()), "run", SPEC, CONFIG)
        watched = watch(store, events)
        count(store, 100)
        assert watched.env_steps() == 100
        port = first.port
    assert watched.env_steps() == 100
    with redis_server(tmp_path / "second", port=port):
        count(store, 40)
        assert watched.env_steps() == 100
        assert ("replay_lost", {"lost_env_steps": 60}) in events
        count(store, 50)
        assert watched.env_steps() == 110


def test_a_run_does_not_wait_for_ever(server: EmbeddedServer) -> None:
    store, events = ReplayStore(connect(server.url), "run", SPEC, CONFIG), Events()
    watched = watch(store, events, outage_seconds=0.5)
    kill(server.pid)
    began = time.monotonic()
    with pytest.raises(
        RunEndedError,
        match=rf"^Redis at {server.url} has been away for \d+ s \(replay.outage_seconds=0.5\): .+; the same command",
    ):
        while time.monotonic() < began + 60.0:
            watched.stats()


def test_a_server_that_refuses_to_write_is_away_though_it_can_be_read(server: EmbeddedServer) -> None:
    client = connect(server.url)
    store, events = ReplayStore(client, "run", SPEC, CONFIG), Events()
    watched = watch(store, events)
    count(store, 100)
    client.config_set("maxmemory", 1)
    watched_until(watched, lambda: watched.away)
    assert "maxmemory" in events[0][1]["reason"]
    assert watched.env_steps() == 100
    client.config_set("maxmemory", 0)
    watched_until(watched, lambda: not watched.away)
    assert [name for name, _ in events] == ["replay_away", "replay_back"]
    assert watched.env_steps() == 100


def test_what_others_are_refused_is_an_outage_too(server: EmbeddedServer) -> None:
    store, events = ReplayStore(connect(server.url), "run", SPEC, CONFIG), Events()
    watched = watch(store, events, outage_seconds=0.5)
    watched.heed("the learner", "this user has no permissions to run the 'hget' command")
    watched.stats()
    assert watched.away
    watched.heed("the learner", "")
    watched_until(watched, lambda: not watched.away)
    assert [name for name, _ in events] == ["replay_away", "replay_back"]
    watched.heed("actors", "invalid password")
    with pytest.raises(RunEndedError, match="has been away for .*: actors: invalid password; the same command"):
        watched_until(watched, lambda: False)


def test_a_server_that_takes_small_writes_between_large_ones_that_it_refuses_is_away_once(
    server: EmbeddedServer,
) -> None:
    store, events = ReplayStore(connect(server.url), "run", SPEC, CONFIG), Events()
    watched = watch(store, events)
    for reason in ("used memory > 'maxmemory'", "", "used memory > 'maxmemory'", ""):
        watched.heed("actors", reason)
        watched.stats()
        assert watched.away
    watched_until(watched, lambda: not watched.away)
    assert [name for name, _ in events] == ["replay_away", "replay_back"]


@pytest.mark.parametrize(("counted", "lost"), [(None, 100), (90, 10)], ids=["emptied", "a replica that lags took over"])
def test_counters_that_fall_without_an_outage_are_noticed(
    server: EmbeddedServer, counted: int | None, lost: int
) -> None:
    store, events = ReplayStore(connect(server.url), "run", SPEC, CONFIG), Events()
    watched = watch(store, events)
    count(store, 100)
    watched.stats()
    assert store.claim_incarnation("actor0") == 0
    if counted is None:
        store.client.flushdb()
    else:
        count(store, counted)
    assert watched.env_steps() == 100
    assert events == [("replay_lost", {"lost_env_steps": lost})]
    assert store.claim_incarnation("actor0") >= 100, "not one that was there before"
    count(store, (counted or 0) + 20)
    assert watched.env_steps() == 120
