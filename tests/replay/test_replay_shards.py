"""Hash tags: each shard in a part of the slots of its own, always the same."""

from __future__ import annotations

import pytest
from redis.crc import key_slot

from replay.shards import SLOTS, hash_tags, slot_of, slot_range


@pytest.mark.parametrize("shards", [1, 2, 3, 7, 64, 256])
@pytest.mark.parametrize("run_id", ["run", "0123456789ab", "x" * 128])
def test_each_shard_has_a_range_of_slots_of_its_own(run_id: str, shards: int) -> None:
    tags = hash_tags(run_id, shards)
    assert sorted(slot_range(slot_of(tag), shards) for tag in tags) == list(range(shards))
    assert len(set(tags)) == shards
    assert hash_tags(run_id, shards) == tags


@pytest.mark.parametrize("nodes", [2, 3, 5])
def test_nodes_with_equal_ranges_have_equally_many_shards(nodes: int) -> None:
    bounds = [number * SLOTS // nodes for number in range(nodes + 1)]
    for run in range(50):
        slots = [slot_of(tag) for tag in hash_tags(f"run{run}", 2 * nodes)]
        assert [sum(first <= slot < end for slot in slots) for first, end in zip(bounds, bounds[1:], strict=False)] == [
            2
        ] * nodes


def test_a_slot_is_that_of_redis() -> None:
    for tag in hash_tags("run", 100):
        assert slot_of(tag) == key_slot(f"twist:{{{tag}}}:states".encode())


def test_the_first_shard_has_the_same_tag_however_many_there_are() -> None:
    """So that a run which is opened with another number of shards is found, and refused."""
    assert {hash_tags("run", shards)[0] for shards in range(1, 40)} == {"run:0"}
