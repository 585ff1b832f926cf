"""What counts as an outage, by what real servers answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis
from redis_servers import Server, free_port, redis_server

from replay.connection import UNAVAILABLE, connect, is_outage

Refused = Callable[[redis.Redis], object]


def writes(client: redis.Redis) -> object:
    return client.hset("twist:{r:0}:key", "field", "value")


def writes_by_script(client: redis.Redis) -> object:
    return client.eval("return redis.call('HSET', KEYS[1], 'field', 'value')", 1, "twist:{r:0}:key")


def writes_by_script_behind_a_read(client: redis.Redis) -> object:
    """The script has begun when it is refused."""
    return client.eval(
        "redis.call('HGET', KEYS[1], 'field') return redis.call('HSET', KEYS[1], 'field', 'value')", 1, "twist:{r:0}:k"
    )


def writes_in_a_pipeline(client: redis.Redis) -> object:
    pipeline = client.pipeline(transaction=False)
    pipeline.hget("twist:{r:0}:key", "field")
    pipeline.hset("twist:{r:0}:key", "field", "value")
    return pipeline.execute()


def writes_in_a_transaction(client: redis.Redis) -> object:
    return client.pipeline(transaction=True).hset("twist:{r:0}:key", "field", "value").execute()


def reads(client: redis.Redis) -> object:
    return client.hget("twist:{r:0}:key", "field")


WAYS = [writes, writes_by_script, writes_by_script_behind_a_read, writes_in_a_pipeline, writes_in_a_transaction]


def refusal(call: Refused, server: Server, **settings: Any) -> BaseException:
    client = redis.Redis(port=server.port, retry=None, **settings)
    with client, pytest.raises(UNAVAILABLE) as caught:
        call(client)
    return caught.value


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as open_until_the_end:
        yield open_until_the_end


def full(stack: ExitStack, where: Path) -> Server:
    server = stack.enter_context(redis_server(where))
    server.admin.config_set("maxmemory", 1)
    return server


def replica(stack: ExitStack, where: Path) -> Server:
    first = stack.enter_context(redis_server(where / "first"))
    return stack.enter_context(redis_server(where / "second", replicaof=f"127.0.0.1 {first.port}"))


def without_its_disk(stack: ExitStack, where: Path) -> Server:
    """It cannot save, and was told to take no writes then."""
    server = stack.enter_context(redis_server(where, save="3600 1", stop_writes_on_bgsave_error="yes"))
    admin = stack.enter_context(server.admin)
    stack.callback(admin.config_set, "save", "")  # or it would not end without having saved
    (where / "dump.rdb").mkdir()
    admin.bgsave()
    deadline = time.monotonic() + 60.0
    while admin.info("persistence")["rdb_last_bgsave_status"] != "err":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return server


def without_its_replicas(stack: ExitStack, where: Path) -> Server:
    return stack.enter_context(redis_server(where, min_replicas_to_write=1))


def in_a_cluster_without_its_other_nodes(stack: ExitStack, where: Path) -> Server:
    return stack.enter_context(redis_server(where, port=free_port(with_bus=True), cluster_enabled="yes"))


@pytest.mark.parametrize("call", WAYS)
@pytest.mark.parametrize(
    "make", [full, replica, without_its_disk, without_its_replicas, in_a_cluster_without_its_other_nodes]
)
def test_a_server_that_cannot_write_for_now(
    make: Callable[[ExitStack, Path], Server], call: Refused, stack: ExitStack, tmp_path: Path
) -> None:
    server = make(stack, tmp_path / "server")
    error = refusal(call, server)
    assert is_outage(error), repr(error)


def test_a_replica_that_has_lost_its_master(stack: ExitStack, tmp_path: Path) -> None:
    server = replica(stack, tmp_path)
    server.admin.config_set("replica-serve-stale-data", "no")
    server.admin.replicaof("127.0.0.1", "1")
    error = refusal(reads, server)
    assert is_outage(error), repr(error)


def test_a_server_that_is_busy_with_a_script(stack: ExitStack, tmp_path: Path) -> None:
    server = stack.enter_context(redis_server(tmp_path, lua_time_limit=50))

    def loop() -> None:
        with redis.Redis(port=server.port, retry=None) as client, pytest.raises(redis.ResponseError):
            client.eval("while true do end", 0)

    looping = threading.Thread(target=loop)
    looping.start()
    time.sleep(0.5)
    error = refusal(reads, server)
    server.admin.script_kill()
    looping.join()
    assert is_outage(error), repr(error)


def test_users_whose_rights_or_password_were_changed(stack: ExitStack, tmp_path: Path) -> None:
    server = stack.enter_context(redis_server(tmp_path))
    with server.admin as admin:
        admin.execute_command("ACL", "SETUSER", "few", "on", ">secret", "~twist:*", "+ping")
        admin.execute_command("ACL", "SETUSER", "none", "on", ">secret", "+@all")
        errors = [
            refusal(writes, server, username="few", password="secret"),
            refusal(writes, server, username="none", password="secret"),
            refusal(writes, server, username="few", password="wrong"),
        ]
        admin.config_set("requirepass", "asks for it")
    errors.append(refusal(writes, server))
    assert all(map(is_outage, errors)), errors


def test_a_server_that_is_gone(stack: ExitStack, tmp_path: Path) -> None:
    with redis_server(tmp_path) as server:
        url, client = server.url(), redis.Redis(port=server.port, retry=None)
        client.ping()
    with pytest.raises(redis.ConnectionError) as by_a_client:
        client.ping()
    with pytest.raises(ConnectionError) as by_connecting:
        connect(url)
    assert is_outage(by_a_client.value) and is_outage(by_connecting.value)


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.execute_command("NOSUCHCOMMAND"),
        lambda client: client.execute_command("HSET", "twist:{r:0}:key"),
        lambda client: client.lpush("twist:{r:0}:text", "value"),
        lambda client: client.eval("return redis.call('LPUSH', KEYS[1], 'value')", 1, "twist:{r:0}:text"),
        lambda client: client.eval("return no + thing", 0),
    ],
    ids=["unknown command", "too few arguments", "wrong type", "wrong type in a script", "an error in a script"],
)
def test_what_does_not_pass_by_waiting_is_none(call: Refused, stack: ExitStack, tmp_path: Path) -> None:
    server = stack.enter_context(redis_server(tmp_path))
    server.admin.set("twist:{r:0}:text", "BUSY OOM LOADING")
    error = refusal(call, server)
    assert not is_outage(error), repr(error)


def test_errors_that_are_no_answers_of_redis_are_none() -> None:
    assert not any(map(is_outage, (ValueError("OOM"), RuntimeError("LOADING"), KeyError("BUSY"))))
