from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import redis
from chunk_making import RUN, SPEC, assert_same_chunk, make_chunk

from replay import EmbeddedServer, ReplayConfig, ReplayStore, StudentSampler, TeacherSampler, connect
from replay.codec import encode_image, encode_state
from replay.shards import hash_tags
from replay.suitability import require_room

Open = Callable[..., ReplayStore]


def fill(store: ReplayStore, chunks: int, stream_id: str = "a.0.0") -> list[str]:
    """Puts so many chunks of one stream and returns their ids."""
    made = [make_chunk(5 * number, stream_id=stream_id) for number in range(chunks)]
    assert all(store.put(chunk) for chunk in made)
    return [chunk.meta.chunk_id for chunk in made]


def size(first_step: int = 0) -> int:
    chunk = make_chunk(first_step)
    return len(encode_state(chunk)) + len(encode_image(chunk, 1))


def bytes_sent(client: redis.Redis) -> int:
    return int(client.info("stats")["total_net_output_bytes"])


def test_what_was_put_is_read_back_state_and_image_paired(open_store: Open) -> None:
    store = open_store()
    chunks = [make_chunk(0), make_chunk(5), make_chunk(10, rows=2)]
    for chunk in chunks:
        assert store.put(chunk) is True
    ids = [chunk.meta.chunk_id for chunk in chunks]
    assert store.state_ids() == store.image_ids() == ids
    for chunk, found in zip(chunks, store.read_pairs(ids), strict=True):
        assert_same_chunk(chunk, found)
    for chunk, found in zip(chunks, store.read_states(ids), strict=True):
        assert found.image is None
        assert_same_chunk(chunk, found, images=False)


def test_a_chunk_without_images_is_held_but_is_no_pair(open_store: Open) -> None:
    store = open_store()
    store.put(make_chunk(0, images=False))
    store.put(make_chunk(5))
    assert store.state_ids() == ["a.0.0:0", "a.0.0:5"]
    assert store.image_ids() == ["a.0.0:5"]
    assert [chunk.meta.first_step for chunk in store.read_pairs(store.state_ids())] == [5]
    assert (store.stats()["chunks"], store.stats()["image_chunks"]) == (2, 1)
    assert store.stats()["quarantined_chunks"] == 0


def test_reading_states_moves_no_image_byte(client: redis.Redis, open_store: Open) -> None:
    spec = replace(SPEC, image_shape=(64, 64, 3))
    store = open_store(spec=spec, capacity_bytes=2**26)
    chunks = [make_chunk(5 * number, spec=spec) for number in range(20)]
    for chunk in chunks:
        store.put(chunk)
    state_bytes = sum(len(encode_state(chunk)) for chunk in chunks)
    image_bytes = sum(len(encode_image(chunk, 1)) for chunk in chunks)
    sampler = TeacherSampler(store, batch_size=20, seed=0, prefetch=0)
    before = bytes_sent(client)
    sampler.sample(timeout_s=5)
    by_sampler = bytes_sent(client) - before
    store.read_states(store.state_ids())
    by_store = bytes_sent(client) - before - by_sampler
    overhead = 20 * 200 + 20_000  # names, lengths and INFO's own answer
    assert state_bytes < by_sampler < state_bytes + overhead < image_bytes / 10
    assert state_bytes < by_store < state_bytes + overhead


def test_a_repeated_put_changes_nothing(open_store: Open) -> None:
    store = open_store()
    chunk = make_chunk()
    assert store.put(chunk) is True
    before = store.stats()
    assert store.put(chunk) is False
    assert store.stats() == before
    assert store.state_ids() == [chunk.meta.chunk_id]


def test_a_repeated_put_of_an_evicted_chunk_changes_nothing(open_store: Open) -> None:
    store = open_store(capacity_steps=10)
    ids = fill(store, 4)
    before = store.stats()
    for first_step in (0, 5, 10, 15):
        assert store.put(make_chunk(first_step)) is False
    assert store.stats() == before
    assert store.state_ids() == ids[2:]


def test_a_chunk_that_overlaps_its_streams_newest_is_refused(open_store: Open) -> None:
    store = open_store()
    store.put(make_chunk(0))
    with pytest.raises(ValueError, match=r"a.0.0:3 overlaps the newest chunk of its stream"):
        store.put(make_chunk(3))


@pytest.mark.parametrize("capacity_steps", [5, 9, 10, 12, 37])
def test_capacity_in_steps_is_exact_after_each_put_and_the_oldest_go_first(
    open_store: Open, capacity_steps: int
) -> None:
    store = open_store(capacity_steps=capacity_steps)
    held: list[tuple[str, int]] = []
    first_step = 0
    for rows in (5, 5, 1, 5, 4, 5, 5, 5, 2, 5, 5, 5):
        chunk = make_chunk(first_step, rows=rows)
        store.put(chunk)
        first_step += rows
        held.append((chunk.meta.chunk_id, rows))
        while sum(rows for _, rows in held) > capacity_steps:
            held.pop(0)
        assert store.stats()["rows"] == sum(rows for _, rows in held) <= capacity_steps
        assert store.state_ids() == store.image_ids() == [chunk_id for chunk_id, _ in held]


@pytest.mark.parametrize("spare_bytes", [-1, 0, 1])
def test_capacity_in_bytes_is_exact_after_each_put(open_store: Open, spare_bytes: int) -> None:
    sizes = [size(5 * number) for number in range(6)]
    capacity = sum(sizes[3:]) + spare_bytes
    store = open_store(capacity_bytes=capacity)
    held: list[int] = []
    for number, chunk_bytes in enumerate(sizes):
        store.put(make_chunk(5 * number))
        held.append(chunk_bytes)
        while sum(held) > capacity:
            held.pop(0)
        assert store.stats()["bytes"] == sum(held) <= capacity
        assert store.stats()["chunks"] == len(held)
    assert len(held) == (2 if spare_bytes < 0 else 3)


def test_the_counted_bytes_are_those_that_redis_holds(client: redis.Redis, open_store: Open) -> None:
    store = open_store(capacity_steps=35)
    fill(store, 12)
    values = [*client.hvals(store.key("states")), *client.hvals(store.key("images"))]
    assert store.stats()["bytes"] == sum(len(value) for value in values)


def test_evicted_data_is_gone_from_every_key(client: redis.Redis, open_store: Open) -> None:
    store = open_store(capacity_steps=10)
    ids = fill(store, 7)
    for name in ("states", "images", "sizes"):
        assert sorted(key.decode() for key in client.hkeys(store.key(name))) == sorted(ids[-2:])
    for name in ("index", "image_index"):
        assert [key.decode() for key in client.zrange(store.key(name), 0, -1)] == ids[-2:]
    assert store.read_pairs(ids[:5]) == []
    assert store.stats()["quarantined_chunks"] == 0


@pytest.mark.parametrize("settings", [{"capacity_steps": 4}, {"capacity_bytes": 700}])
def test_a_chunk_larger_than_the_capacity_is_refused_and_evicts_nothing(
    open_store: Open, settings: dict[str, int]
) -> None:
    store = open_store(**settings)
    small = make_chunk(0, rows=1)
    store.put(small)
    with pytest.raises(ValueError, match=r"a.0.0:1 of 5 rows and .* bytes is larger than the capacity of"):
        store.put(make_chunk(1))
    assert store.state_ids() == [small.meta.chunk_id]


def test_counters_count_rows_env_steps_and_episodes(open_store: Open) -> None:
    store = open_store(capacity_steps=10)
    store.put(make_chunk(0, is_first=(0, 3), is_last=(2,)))
    store.put(make_chunk(5, is_first=(1,), is_last=(0, 4)))
    store.put(make_chunk(10, rows=3, is_first=(0,), is_last=()))
    stats = store.stats()
    assert stats["inserted_rows"] == 13
    assert stats["env_steps"] == 3 + 4 + 2
    assert stats["inserted_episodes"] == 3
    assert stats["inserted_chunks"] == 3
    assert (stats["evicted_rows"], stats["evicted_chunks"]) == (5, 1)
    assert stats["rows"] == stats["inserted_rows"] - stats["evicted_rows"] - stats["quarantined_rows"] == 8


def test_stats_are_one_round_trip(client: redis.Redis, open_store: Open) -> None:
    store = open_store(shards=3)
    before = client.info("stats")["total_commands_processed"]
    store.stats()
    assert client.info("stats")["total_commands_processed"] - before <= 3 + 1  # one HGETALL a shard, and INFO


def test_every_chunk_of_several_writers_is_there_once(server: EmbeddedServer, open_store: Open) -> None:
    store = open_store(capacity_steps=200)
    failures: list[BaseException] = []

    def write(number: int) -> None:
        try:
            own = ReplayStore(connect(server.url), RUN, SPEC, store.config)
            fill(own, 20, stream_id=f"a.0.{number}")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    stats = store.stats()
    assert (stats["inserted_rows"], stats["evicted_rows"], stats["rows"]) == (400, 200, 200)
    ids = store.state_ids()
    assert len(ids) == len(set(ids)) == len(store.read_pairs(ids)) == 40


def test_ids_are_read_incrementally(client: redis.Redis, open_store: Open) -> None:
    store = open_store(capacity_steps=10_000)
    fill(store, 300)
    store.state_ids()
    before = bytes_sent(client)
    store.put(make_chunk(1500))
    assert len(store.state_ids()) == 301
    assert bytes_sent(client) - before < 300 * 10 + 10_000
    assert store.state_ids() == open_store(capacity_steps=10_000).state_ids()


def test_ids_follow_eviction_and_a_server_that_lost_its_newest_chunks(client: redis.Redis, open_store: Open) -> None:
    store = open_store(capacity_steps=20)
    ids: list[str] = []
    for number in range(40):
        ids.append(make_chunk(5 * number).meta.chunk_id)
        store.put(make_chunk(5 * number))
        if number % 7 == 0:
            assert store.state_ids() == ids[-4:]
    for name in ("index", "image_index"):
        client.zrem(store.key(name), ids[-1])
    assert store.state_ids() == ids[-4:-1]
    client.delete(store.key("index"))
    assert store.state_ids() == []


def test_each_shard_keeps_its_exact_share(client: redis.Redis, open_store: Open) -> None:
    store = open_store(capacity_steps=45, shards=3)
    for stream in range(8):
        fill(store, 5, stream_id=f"a.0.{stream}")
    held = [int(client.hget(store.key("counters", shard), "rows") or 0) for shard in range(3)]
    assert held == [15, 15, 15]
    assert store.stats()["rows"] == 45
    assert len(store.read_pairs(store.image_ids())) == 9


def test_another_spec_is_refused_naming_the_field(open_store: Open) -> None:
    open_store()
    with pytest.raises(ValueError, match=r"differs in action_dim: 2 in the replay of run run at unix://.*, 3 here"):
        open_store(spec=replace(SPEC, action_dim=3, action_low=(), action_high=()))


def test_another_number_of_shards_is_refused(open_store: Open) -> None:
    open_store(shards=2)
    with pytest.raises(ValueError, match=r"shards is 1: the replay of run run at .* was begun with 2"):
        open_store(shards=1)


def test_a_chunk_that_does_not_fit_the_spec_is_refused_at_the_door(open_store: Open) -> None:
    store = open_store()
    with pytest.raises(ValueError, match=r"action of chunk a.0.0:0 is float32"):
        store.put(replace(make_chunk(), action=np.zeros((5, 3), np.float32)))
    with pytest.raises(ValueError, match="is of run other: this is run run"):
        store.put(make_chunk(run_id="other"))
    assert store.stats()["inserted_rows"] == 0


def test_runs_in_one_server_do_not_see_each_other(open_store: Open) -> None:
    one, other = open_store("one"), open_store("other")
    one.put(make_chunk(run_id="one"))
    assert other.state_ids() == []
    assert other.stats()["inserted_rows"] == 0


def test_a_server_smaller_than_the_capacity_is_refused(client: redis.Redis) -> None:
    config = ReplayConfig(capacity_bytes=2**30)
    with pytest.raises(ValueError, match=r"^capacity_bytes is 1073741824, which needs .* has 1073741824$"):
        require_room(client, config, hash_tags(RUN, 1))


def test_a_server_that_would_delete_chunks_by_itself_is_refused(client: redis.Redis) -> None:
    config, tags = ReplayConfig(capacity_bytes=2**20), hash_tags(RUN, 1)
    client.config_set("maxmemory-policy", "allkeys-lru")
    with pytest.raises(
        ValueError, match=r"maxmemory-policy of unix://.* is allkeys-lru: it would delete chunks; use noev"
    ):
        require_room(client, config, tags)
    client.config_set("maxmemory", 0)
    with pytest.raises(ValueError, match="is allkeys-lru"):
        require_room(client, config, tags)
    client.config_set("maxmemory-policy", "volatile-lru")  # nothing of ours is volatile
    require_room(client, config, tags)


def test_who_joins_a_run_does_not_ask_for_room(client: redis.Redis, open_store: Open) -> None:
    """It was asked when the run began; a server whose memory is short for a while must not end an actor that comes."""
    open_store()
    client.config_set("maxmemory", 1)
    assert open_store().stats()["chunks"] == 0


def test_incarnations_of_an_actor_are_never_given_twice(open_store: Open) -> None:
    assert [open_store().claim_incarnation("a0") for _ in range(3)] == [0, 1, 2]
    assert open_store().claim_incarnation("a1") == 0


def test_incarnations_do_not_begin_anew_where_their_count_was_lost(client: redis.Redis, open_store: Open) -> None:
    assert [open_store().claim_incarnation("a0") for _ in range(3)] == [0, 1, 2]
    client.delete(open_store().key("incarnations"))
    open_store().raise_incarnations(600)
    assert [open_store().claim_incarnation(actor) for actor in ("a0", "a1", "a0")] == [600, 600, 601]


def test_a_user_who_may_touch_nothing_but_the_runs_keys_is_enough(
    client: redis.Redis, server: EmbeddedServer, open_store: Open
) -> None:
    open_store()
    rights = ["on", ">secret", "resetkeys", f"~twist:{{{RUN}:*", "+@all", "-@dangerous"]
    client.execute_command("ACL", "SETUSER", "limited", *rights)
    store = ReplayStore(connect(server.url.replace("unix://", "unix://limited:secret@")), RUN, SPEC, ReplayConfig())
    ids = fill(store, 3)
    client.hset(store.key("states"), ids[0], b"damage")
    assert [chunk.meta.chunk_id for chunk in store.read_pairs(ids)] == ids[1:]
    assert store.stats()["quarantined_chunks"] == 1
    assert StudentSampler(store, 4, seed=0, prefetch=0).sample(timeout_s=5)["image"].shape == (4, 5, 2, 4, 6, 3)
