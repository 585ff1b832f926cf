"""The same replay on a Redis Cluster of three nodes: each refuses every command for keys that another one has."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import redis
from chunk_making import RUN, SPEC, make_chunk
from redis.cluster import RedisCluster
from redis_servers import SLOTS, Server, await_agreement, equal_ranges, redis_cluster

from replay import (
    EmbeddedServer,
    ReplayConfig,
    ReplayStore,
    SamplesPerInsert,
    Step,
    StreamWriter,
    StudentSampler,
    connect,
)
from replay.connection import UNAVAILABLE, nodes
from replay.limiter import LimiterPlan
from replay.shards import hash_tags, slot_of
from replay.suitability import require_suitable, shards_by_node

SHARDS = 6


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    with redis_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture
def client(cluster: list[Server]) -> Iterator[RedisCluster]:
    connected = connect(cluster[1].url())
    assert isinstance(connected, RedisCluster)
    yield connected
    for node in cluster:
        with node.admin as admin:
            admin.flushall()
    connected.close()


def fill(store: ReplayStore, streams: int = 12, chunks: int = 8) -> None:
    for stream in range(streams):
        for number in range(chunks):
            assert store.put(make_chunk(5 * number, stream_id=f"a.0.{stream}")) is True


def test_the_whole_replay_works_on_a_cluster(client: RedisCluster) -> None:
    store = ReplayStore(client, RUN, SPEC, ReplayConfig(capacity_steps=120, shards=SHARDS))
    fill(store)
    assert store.put(make_chunk(35, stream_id="a.0.0")) is False
    ids = store.state_ids()
    damaged = ids[0]
    [states] = [key for key in (store.key("states", shard) for shard in range(SHARDS)) if client.hexists(key, damaged)]
    client.hset(states, damaged, b"damage")
    assert sorted(chunk.meta.chunk_id for chunk in store.read_pairs(ids)) == sorted(ids[1:])
    stats = store.stats()
    assert (stats["inserted_rows"], stats["quarantined_rows"]) == (480, 5)
    assert stats["rows"] == 5 * len(store.state_ids()) <= 120
    assert [found.chunk_id for found in store.quarantined()] == [damaged]
    limiter = SamplesPerInsert(store, LimiterPlan("student", samples_per_insert=1.0, min_rows=10), None)
    assert limiter.may_sample()
    limiter.record_sampled(7)
    assert (limiter.stats()["inserted_rows"], limiter.stats()["sampled_rows"]) == (480, 7)
    batch = StudentSampler(store, batch_size=8, seed=0, prefetch=0).sample(timeout_s=5)
    np.testing.assert_array_equal(batch["state"][:, 1:, 0] - batch["state"][:, :-1, 0], np.ones((8, 4)))


def test_a_batch_is_drawn_from_all_nodes(client: RedisCluster) -> None:
    store = ReplayStore(client, RUN, SPEC, ReplayConfig(shards=3))
    fill(store, streams=12, chunks=1)
    sampler = StudentSampler(store, batch_size=12, seed=0, prefetch=2)
    sampler.sample(timeout_s=10)
    sampler.close()
    held = [node.hlen(store.key("images", shard)) for shard, node in enumerate(nodes_of(client, store, 3))]
    assert sum(held) == 12
    assert min(held) >= 1
    assert sampler.stats()["chunks"] == 12


def nodes_of(client: RedisCluster, store: ReplayStore, shards: int) -> list[redis.Redis]:
    """Where each shard lies; all on different nodes."""
    owners = [client.get_node_from_key(store.key("states", shard)) for shard in range(shards)]
    assert len({owner.name for owner in owners}) == shards
    return [owner.redis_connection for owner in owners]


def test_each_node_has_as_many_shards_and_all_keys_of_a_shard_lie_in_one_slot(client: RedisCluster) -> None:
    store = ReplayStore(client, RUN, SPEC, ReplayConfig(shards=SHARDS))
    fill(store, streams=40, chunks=1)
    SamplesPerInsert(store, LimiterPlan("student", samples_per_insert=1.0, min_rows=10), None)
    slots_by_node = {
        name: {int(node.execute_command("CLUSTER KEYSLOT", key)) for key in node.scan_iter()}
        for name, node in nodes(client).items()
    }
    assert [len(slots) for slots in slots_by_node.values()] == [SHARDS // 3] * 3
    assert set().union(*slots_by_node.values()) == {slot_of(tag) for tag in hash_tags(RUN, SHARDS)}
    held = shards_by_node(client, hash_tags(RUN, SHARDS))
    assert {name: len(tags) for name, tags in held.items()} == dict.fromkeys(nodes(client), SHARDS // 3)


def test_any_node_leads_to_the_cluster_and_a_server_is_not_mistaken_for_one(
    cluster: list[Server], tmp_path: Path
) -> None:
    for node in cluster:
        with connect(node.url()) as connected:
            assert isinstance(connected, RedisCluster)
            assert len(nodes(connected)) == 3
    with EmbeddedServer(tmp_path, max_bytes=2**27) as server, connect(server.url) as connected:
        assert isinstance(connected, redis.Redis)


def test_a_database_of_a_cluster_is_refused(cluster: list[Server]) -> None:
    port = cluster[0].port
    with pytest.raises(
        ValueError, match=f"^Redis URL 'redis://127.0.0.1:{port}/3' names database 3: a Redis Cluster has"
    ):
        connect(cluster[0].url(database=3))


def test_fewer_shards_than_nodes_are_told_and_as_many_are_not(client: RedisCluster) -> None:
    [said] = require_suitable(client, ReplayConfig(shards=1), ["twist"])
    assert said.startswith("replay.shards is 1: the replay lies on 1 of the 3 nodes of redis://127.0.0.1:")
    assert said.endswith("(cluster); replay.shards=3 uses all of them")
    assert require_suitable(client, ReplayConfig(shards=3), ["twist"]) == []


def test_a_node_that_is_too_small_for_its_shards_is_named(cluster: list[Server], client: RedisCluster) -> None:
    config = ReplayConfig(shards=3, capacity_bytes=3 * 2**30)
    limit = config.memory_of(1)
    assert limit < config.memory_bytes / 2
    with cluster[2].admin as admin:
        admin.config_set("maxmemory", limit)
        require_suitable(client, config, ["twist"])
        admin.config_set("maxmemory", limit - 1)
        where = rf"node 127.0.0.1:{cluster[2].port} of .* \(1 of replay.shards=3 lie there\) has {limit - 1}$"
        with pytest.raises(
            ValueError, match=f"capacity_bytes is {3 * 2**30}, .* maxmemory of at least {limit}: {where}"
        ):
            require_suitable(client, config, ["twist"])
        admin.config_set("maxmemory", 0)


def test_a_node_that_would_delete_chunks_is_named(cluster: list[Server], client: RedisCluster) -> None:
    with cluster[0].admin as admin:
        admin.config_set("maxmemory-policy", "allkeys-lfu")
        with pytest.raises(
            ValueError, match=f"maxmemory-policy of node 127.0.0.1:{cluster[0].port} of .* is allkeys-lfu"
        ):
            require_suitable(client, ReplayConfig(), ["twist"])
        admin.config_set("maxmemory-policy", "noeviction")


def test_a_shard_moves_to_another_node_while_it_is_written_and_read(
    cluster: list[Server], client: RedisCluster
) -> None:
    config = ReplayConfig(shards=3, retry_seconds=30.0)
    store = ReplayStore(client, RUN, SPEC, config)
    slot = slot_of(hash_tags(RUN, 3)[0])
    there = next(number for number, slots in enumerate(equal_ranges(3)) if slot in slots)
    failures: list[BaseException] = []
    moved = threading.Event()
    written = [0]

    def write() -> None:
        try:
            while written[0] < 60 or not moved.is_set():
                for stream in range(6):
                    assert store.put(make_chunk(5 * written[0], stream_id=f"a.0.{stream}", images=stream % 2 == 0))
                written[0] += 1
        except BaseException as error:
            failures.append(error)

    writing = threading.Thread(target=write)
    writing.start()
    sampler = StudentSampler(ReplayStore(connect(cluster[there].url()), RUN, SPEC, config), 8, seed=0, prefetch=2)
    sampler.sample(timeout_s=30)
    move_slot(cluster, slot, there, (there + 1) % 3)
    moved.set()
    for _ in range(5):
        sampler.sample(timeout_s=30)
    writing.join()
    sampler.close()
    assert not failures
    stats = store.stats()
    assert stats["inserted_chunks"] == stats["chunks"] == 6 * written[0] == len(set(store.state_ids()))
    assert stats["quarantined_chunks"] == 0
    with cluster[(there + 1) % 3].admin as admin:
        assert admin.hlen(store.key("states", 0)) > 0
    move_slot(cluster, slot, (there + 1) % 3, there)


def move_slot(cluster: Sequence[Server], slot: int, source: int, target: int) -> None:
    """As redis-cli's reshard does it, key by key."""
    with cluster[source].admin as giving, cluster[target].admin as taking:
        giver, taker = (admin.execute_command("CLUSTER MYID") for admin in (giving, taking))
        taking.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", giver)
        giving.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", taker)
        while keys := giving.execute_command("CLUSTER GETKEYSINSLOT", slot, 100):
            for key in keys:
                giving.execute_command("MIGRATE", "127.0.0.1", cluster[target].port, key, 0, 10_000)
    for node in (cluster[target], cluster[source], *cluster):
        with node.admin as admin:
            admin.execute_command("CLUSTER SETSLOT", slot, "NODE", taker)
    await_agreement(cluster)


def test_a_cluster_whose_slots_are_not_all_given_out_is_refused(tmp_path: Path) -> None:
    with (
        redis_cluster(tmp_path, ranges=[range(0, SLOTS // 2), range(0, 0)]) as half,
        pytest.raises(ConnectionError) as caught,
    ):
        connect(half[0].url())
    assert "All slots are not covered" in str(caught.value)
    assert "\n" not in str(caught.value)


def write_episode(writer: StreamWriter) -> None:
    chunk = make_chunk(0, is_last=(4,))
    for row in range(5):
        first = row == 0
        action = np.zeros(2, np.float32) if first else chunk.action[row]
        seen = chunk.image[row], chunk.state_at_exposure[row]
        step = Step(chunk.state[row], *seen, action, 0.0, first, row == 4, False)
        writer.append(step, chunk.meta.episodes[0] if first else None, policy_version=0, renderer="tiny")


def test_a_cluster_that_is_gone_is_said_in_one_line(tmp_path: Path) -> None:
    with redis_cluster(tmp_path) as nodes_:
        store = ReplayStore(connect(nodes_[0].url()), RUN, SPEC, ReplayConfig(shards=3, retry_seconds=0.5))
        fill(store, streams=3, chunks=1)
        sampler = StudentSampler(store, batch_size=2, seed=0, prefetch=0)
        sampler.sample(timeout_s=10)
        writer = StreamWriter(store, SPEC, run_id=RUN, stream_id="b.0.0", actor_id="b")
    with pytest.raises(
        ConnectionError, match=r"^Redis at redis://127.0.0.1:\d+ \(cluster\) took no chunk of stream b.0.0"
    ):
        write_episode(writer)
    with pytest.raises(
        TimeoutError, match=r"^no batch within 0 s: Redis at redis://127.0.0.1:\d+ \(cluster\) does not"
    ):
        sampler.sample(timeout_s=0)
    with pytest.raises(UNAVAILABLE):
        store.stats()
