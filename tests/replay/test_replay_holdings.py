"""What a server holds of which runs, giving it back, and room that others take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from chunk_making import SPEC, make_chunk
from redis_servers import Server, make_user, redis_cluster, redis_server

from replay import ReplayConfig, ReplayStore, SamplesPerInsert, StreamWriter, TeacherSampler, connect
from replay.access import ROLES, acl_rules
from replay.connection import Client
from replay.holdings import delete_run, held_run, held_runs, is_driven
from replay.limiter import LimiterPlan
from replay.shards import hash_tags
from replay.suitability import require_room

CONFIG = ReplayConfig(capacity_bytes=2**26)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with redis_server(tmp_path) as running:
        yield running


def used(client: Client, run_id: str, shards: int = 1, chunks: int = 4) -> ReplayStore:
    """A run's replay after all that actors, learner and driver do with it."""
    store = ReplayStore(client, run_id, SPEC, ReplayConfig(shards=shards))
    incarnation = store.claim_incarnation("a")
    StreamWriter(store, SPEC, run_id=run_id, stream_id=f"a.{incarnation}.9", actor_id="a")
    for stream in range(3):
        for number in range(chunks):
            store.put(make_chunk(5 * number, run_id=run_id, stream_id=f"a.{incarnation}.{stream}"))
    for name in ("teacher", "student"):
        SamplesPerInsert(store, LimiterPlan(name, 1.0, 0), None).record_sampled(3)
    damaged = store.state_ids()[0]
    for shard in range(shards):
        if client.hexists(store.key("states", shard), damaged):
            client.hset(store.key("states", shard), damaged, b"damage")
    TeacherSampler(store, 12, seed=0, prefetch=0).sample(timeout_s=5.0)
    assert store.stats()["quarantined_chunks"] == 1
    store.mark()
    store.raise_incarnations(7)
    return store


def test_runs_are_listed_with_what_they_hold_the_largest_first(server: Server) -> None:
    client = connect(server.url())
    stores = {name: used(client, name, chunks=chunks) for name, chunks in (("small", 2), ("large", 9), ("mid", 5))}
    client.set("somebody:elses", "twist:{small:0}:run")
    found = held_runs(client)
    assert [run.run_id for run in found] == ["large", "mid", "small"]
    for run in found:
        counted = stores[run.run_id].stats()
        assert (run.rows, run.size) == (counted["rows"], counted["bytes"])
        assert run.driven_at == pytest.approx(time.time(), abs=60)
    assert held_runs(connect(server.url(database=1))) == []


def test_a_run_that_is_deleted_leaves_no_key_and_takes_no_other_with_it(server: Server) -> None:
    client = connect(server.url())
    used(client, "gone", shards=3)
    kept = used(client, "gone.2", shards=2)
    client.set("somebody:elses", "theirs")
    before = kept.stats(), sorted(client.keys("twist:{gone.2*")), kept.state_ids()
    assert delete_run(client, "gone") > 0
    assert (kept.stats(), sorted(client.keys("twist:{gone.2*")), kept.state_ids()) == before
    assert client.keys("twist:{gone:*") == []
    assert client.get("somebody:elses") == b"theirs"
    assert delete_run(client, "gone") == 0
    assert held_run(client, "gone") is None


def test_on_a_cluster_too(tmp_path: Path) -> None:
    with redis_cluster(tmp_path) as cluster:
        client = connect(cluster[0].url())
        for name in ("one", "two"):
            used(client, name, shards=6)
        assert {run.run_id for run in held_runs(client)} == {"one", "two"}
        delete_run(client, "one")
        assert [run.run_id for run in held_runs(client)] == ["two"]
        assert all(b"{one:" not in key for server in cluster for key in redis.Redis(port=server.port).scan_iter())


def test_a_deletion_that_was_cut_short_can_be_done_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    client = connect(server.url())
    used(client, "run", shards=2)
    unlink: Callable[[str], int] = client.unlink
    left = 5

    def cut_short(key: str) -> int:
        nonlocal left
        left -= 1
        if left < 0:
            raise redis.ConnectionError("the line is cut")
        return unlink(key)

    monkeypatch.setattr(client, "unlink", cut_short)
    with pytest.raises(redis.ConnectionError):
        delete_run(client, "run")
    assert held_run(client, "run") is not None
    left = 1000
    delete_run(client, "run")
    assert client.keys("twist:*") == []


def test_a_run_whose_driver_is_there_is_told_apart(server: Server) -> None:
    client = connect(server.url())
    store = used(client, "run")
    fresh = held_run(client, "run")
    assert fresh is not None and is_driven(client, fresh)
    for seconds, driven in ((-7200, False), (7200, False)):
        client.hset(store.key("mark"), "at", repr(time.time() + seconds))
        found = held_run(client, "run")
        assert found is not None and is_driven(client, found) is driven
    client.delete(store.key("mark"))
    found = held_run(client, "run")
    assert found is not None and found.driven_at is None and not is_driven(client, found)


def test_the_role_that_deletes_has_the_rights_for_it_and_no_more(server: Server) -> None:
    with connect(server.url()) as admin:
        used(admin, "run")
    make_user([server], "deleter", "secret", acl_rules("deleter"))
    with connect(server.url("deleter", "secret")) as client:
        with pytest.raises(redis.ResponseError):
            client.hset("twist:{run:0}:counters", "rows", "0")
        assert delete_run(client, "run") > 0
    assert "unlink" not in {name for role in ROLES if role != "deleter" for name in ROLES[role]}


def test_room_that_others_take_is_counted_and_a_run_s_own_is_not(server: Server) -> None:
    client = connect(server.url())
    client.config_set("maxmemory", CONFIG.memory_bytes)
    tags = hash_tags("new", 1)
    require_room(client, CONFIG, tags)
    for number in range(30):
        client.set(f"twist:{{other:0}}:{number}", b"x" * 2**20)
    with pytest.raises(ValueError, match=r"of which others hold \d{8}: `twist replay list` shows the runs$"):
        require_room(client, CONFIG, tags)
    client.config_set("maxmemory", CONFIG.memory_bytes + 40 * 2**20)
    require_room(client, CONFIG, tags)
    client.config_set("maxmemory", CONFIG.memory_bytes)
    store = ReplayStore(client, "other", SPEC, CONFIG)
    client.hset(store.key("counters"), "bytes", str(30 * 2**20))
    require_room(client, CONFIG, hash_tags("other", 1))
