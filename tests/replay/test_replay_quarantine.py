from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import redis
from chunk_making import make_chunk

from replay import ChunkMeta, ReplayStore, StudentSampler, TeacherSampler
from replay.codec import encode_image, encode_state
from replay.store import QUARANTINE_KEPT

Open = Callable[..., ReplayStore]
GOOD, BAD = make_chunk(5), make_chunk(0)
BAD_ID, GOOD_ID = BAD.meta.chunk_id, GOOD.meta.chunk_id


@pytest.fixture
def store(open_store: Open) -> ReplayStore:
    opened = open_store()
    opened.put(BAD)
    opened.put(GOOD)
    return opened


def test_a_corrupt_state_is_moved_counted_and_never_raised(store: ReplayStore, client: redis.Redis) -> None:
    client.hset(store.key("states"), BAD_ID, b"not a chunk")
    assert [chunk.meta.chunk_id for chunk in store.read_states([BAD_ID, GOOD_ID])] == [GOOD_ID]
    stats = store.stats()
    assert (stats["quarantined_chunks"], stats["quarantined_rows"]) == (1, 5)
    assert (stats["chunks"], stats["rows"], stats["image_chunks"]) == (1, 5, 1)
    assert stats["bytes"] == len(encode_state(GOOD)) + len(encode_image(GOOD, 1))
    assert store.state_ids() == store.image_ids() == [GOOD_ID]
    [found] = store.quarantined()
    assert (found.chunk_id, found.state_value) == (BAD_ID, b"not a chunk")
    assert found.image_value == encode_image(BAD, 1)
    assert found.reason == "state: 11 bytes are no header of 56"


def test_a_corrupt_image_takes_its_whole_chunk_along(store: ReplayStore, client: redis.Redis) -> None:
    client.hset(store.key("images"), BAD_ID, encode_image(BAD, 1)[:-1])
    assert [chunk.meta.chunk_id for chunk in store.read_pairs([BAD_ID, GOOD_ID])] == [GOOD_ID]
    assert store.state_ids() == [GOOD_ID]
    assert store.quarantined()[0].reason.startswith("image: ")


def test_images_of_another_number_of_rows_are_corrupt(store: ReplayStore, client: redis.Redis) -> None:
    client.hset(store.key("images"), BAD_ID, encode_image(make_chunk(0, rows=3), 1))
    assert store.read_pairs([BAD_ID]) == []
    assert store.quarantined()[0].reason == "image: 3 images for 5 states"


def test_metadata_that_is_none_is_corrupt(open_store: Open, client: redis.Redis) -> None:
    class NoMeta(ChunkMeta):
        def to_json(self) -> str:
            return "[]"

    store = open_store()
    store.put(replace(BAD, meta=NoMeta(**vars(BAD.meta))))
    store.put(GOOD)
    assert [chunk.meta.chunk_id for chunk in store.read_states([BAD_ID, GOOD_ID])] == [GOOD_ID]
    assert store.quarantined()[0].reason.startswith("state: metadata: ")


@pytest.mark.parametrize("part", ["states", "images"])
def test_a_value_that_is_lost_while_the_index_names_it_is_quarantined(
    store: ReplayStore, client: redis.Redis, part: str
) -> None:
    client.hdel(store.key(part), GOOD_ID)
    assert [chunk.meta.chunk_id for chunk in store.read_pairs([BAD_ID, GOOD_ID])] == [BAD_ID]
    assert store.quarantined()[0].reason == f"{part}: the value is missing"
    assert store.state_ids() == store.image_ids() == [BAD_ID]


def test_damage_found_twice_is_counted_once(store: ReplayStore, open_store: Open, client: redis.Redis) -> None:
    other = open_store()
    client.hset(store.key("states"), BAD_ID, b"")
    index_of_both = store.state_ids()
    store.read_states(index_of_both)
    other.read_states(index_of_both)
    assert store.stats()["quarantined_chunks"] == 1


def test_a_reader_that_had_listed_the_chunk_before_lists_it_no_more(
    store: ReplayStore, open_store: Open, client: redis.Redis
) -> None:
    other = open_store()
    store.put(make_chunk(10))
    assert len(store.state_ids()) == len(store.image_ids()) == 3
    client.hset(store.key("states"), GOOD_ID, b"damage")
    other.read_states([GOOD_ID])
    assert store.state_ids() == store.image_ids() == [BAD_ID, "a.0.0:10"]


def test_a_bounded_number_is_kept_to_look_at_newest_first(open_store: Open, client: redis.Redis) -> None:
    store = open_store()
    chunks = [make_chunk(5 * number) for number in range(QUARANTINE_KEPT + 3)]
    for chunk in chunks:
        store.put(chunk)
        client.hset(store.key("states"), chunk.meta.chunk_id, b"damage")
        store.read_states([chunk.meta.chunk_id])
    newest_first = [chunk.meta.chunk_id for chunk in reversed(chunks)]
    assert [found.chunk_id for found in store.quarantined()] == newest_first[:QUARANTINE_KEPT]
    assert store.stats()["quarantined_chunks"] == QUARANTINE_KEPT + 3
    assert store.stats()["rows"] == store.stats()["bytes"] == 0


@pytest.mark.parametrize("sampler", [TeacherSampler, StudentSampler])
@pytest.mark.parametrize("prefetch", [0, 2])
def test_sampling_goes_on_without_the_corrupt_chunk(
    store: ReplayStore, client: redis.Redis, sampler: type[TeacherSampler], prefetch: int
) -> None:
    client.hset(store.key("states"), BAD_ID, b"damage")
    running = sampler(store, batch_size=8, seed=0, prefetch=prefetch)
    for _ in range(3):
        assert set(running.sample(timeout_s=10)["state"][:, 0, 0]) == {5.0}
    running.close()
    assert store.stats()["quarantined_chunks"] == 1


def test_a_sampler_of_several_shards_forgets_the_corrupt_chunk(open_store: Open, client: redis.Redis) -> None:
    store = open_store(shards=3)
    for stream in range(9):
        store.put(make_chunk(0, stream_id=f"a.0.{stream}"))
        store.put(make_chunk(5, stream_id=f"a.0.{stream}"))
    sampler = TeacherSampler(store, batch_size=17, seed=0, prefetch=0)
    sampler.sample(timeout_s=5)
    damaged = store.state_ids()[-2]
    for shard in range(3):
        client.hdel(store.key("states", shard), damaged)
    for _ in range(10):
        sampler.sample(timeout_s=5)
    assert sampler.stats()["chunks"] == len(store.state_ids()) == 17


def test_a_sampler_whose_newest_chunk_was_quarantined_sees_what_comes_after(
    store: ReplayStore, client: redis.Redis
) -> None:
    sampler = TeacherSampler(store, batch_size=8, seed=0, prefetch=0)
    sampler.sample(timeout_s=5)
    client.hset(store.key("states"), GOOD_ID, b"damage")
    assert set(sampler.sample(timeout_s=5)["state"][:, 0, 0]) == {0.0}
    store.put(make_chunk(10))
    assert set(np_first_rows(sampler)) == {0.0, 10.0}


def np_first_rows(sampler: TeacherSampler) -> list[float]:
    return [float(value) for _ in range(4) for value in sampler.sample(timeout_s=5)["state"][:, 0, 0]]
