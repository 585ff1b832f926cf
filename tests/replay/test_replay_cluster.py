"""A Redis server in cluster mode refuses every command and every script whose keys lie in different slots."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import redis
from chunk_making import RUN, SPEC, make_chunk

from replay import ReplayConfig, ReplayStore, SamplesPerInsert, StudentSampler, connect
from replay.server import find_redis_server

SHARDS = 4
ALL_SLOTS = range(16384)


def free_port() -> int:
    """A port whose neighbour, 10,000 higher, can be the cluster's own."""
    while True:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port: int = free.getsockname()[1]
        if port < 55_000:
            return port


@pytest.fixture
def client(tmp_path: Path) -> Iterator[redis.Redis]:
    """Connected to a cluster of one node that has all slots."""
    port = free_port()
    settings = {"port": port, "bind": "127.0.0.1", "dir": tmp_path, "save": "", "cluster-enabled": "yes"}
    arguments = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
    process = subprocess.Popen([find_redis_server(), *arguments], stdout=subprocess.DEVNULL)
    try:
        connected = first_answer(f"redis://127.0.0.1:{port}")
        connected.execute_command("CLUSTER", "ADDSLOTS", *ALL_SLOTS)
        while connected.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
            time.sleep(0.02)
        yield connected
        connected.close()
    finally:
        process.terminate()
        process.wait()


def first_answer(url: str) -> redis.Redis:
    deadline = time.monotonic() + 20
    while True:
        try:
            return connect(url)
        except ConnectionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def test_the_whole_replay_works_on_a_cluster(client: redis.Redis) -> None:
    store = ReplayStore(client, RUN, SPEC, ReplayConfig(capacity_steps=120, shards=SHARDS))
    for stream in range(12):
        for first_step in range(0, 40, 5):
            assert store.put(make_chunk(first_step, stream_id=f"a.0.{stream}")) is True
    ids = store.state_ids()
    damaged = ids[0]
    [states] = [key for key in (store.key("states", shard) for shard in range(SHARDS)) if client.hexists(key, damaged)]
    client.hset(states, damaged, b"damage")
    assert sorted(chunk.meta.chunk_id for chunk in store.read_pairs(ids)) == sorted(ids[1:])
    stats = store.stats()
    assert (stats["inserted_rows"], stats["quarantined_rows"]) == (480, 5)
    assert stats["rows"] == 5 * len(store.state_ids()) <= 120
    assert [found.chunk_id for found in store.quarantined()] == [damaged]
    limiter = SamplesPerInsert(store, "student", samples_per_insert=1.0, min_rows=10, tolerance_rows=10.0)
    assert limiter.can_sample()
    batch = StudentSampler(store, batch_size=8, seed=0, prefetch=0).sample(timeout_s=5)
    np.testing.assert_array_equal(batch["state"][:, 1:, 0] - batch["state"][:, :-1, 0], np.ones((8, 4)))


def test_all_keys_of_a_shard_lie_in_one_slot(client: redis.Redis) -> None:
    store = ReplayStore(client, RUN, SPEC, ReplayConfig(shards=SHARDS))
    for stream in range(12):
        store.put(make_chunk(0, stream_id=f"a.0.{stream}"))
    slots = {key: client.execute_command("CLUSTER", "KEYSLOT", key) for key in client.scan_iter()}
    assert all(key.startswith(b"twist:{run:") for key in slots)
    by_shard = {key.partition(b"}")[0] for key in slots}
    assert len(by_shard) == len(set(slots.values())) == SHARDS
