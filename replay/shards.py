"""Where the parts of a replay lie: the hash tags of its shards, spread evenly over the slots of a Redis Cluster."""

from __future__ import annotations

from binascii import crc_hqx
from itertools import count
from typing import Final

KEY_PREFIX: Final = "twist:"
"""Of every key that we touch."""

RUN_KEYS: Final = (
    *("balance:teacher", "balance:student", "balance:dreamer", "balance:sac", "limiter:teacher", "limiter:student"),
    *("stream_owners", "incarnations", "run"),
)
"""Names of the keys that a run has once, in the slot of its first shard; the limiters' are of older versions. The last
one says that the run is there."""

MARK: Final = "mark"
"""Name of the key in which the driver says that it is there; each shard has one."""

SLOTS: Final = 16384
"""Of every Redis Cluster; each node has some of them, as a rule one unbroken range of equal length."""


def hash_tags(run_id: str, shards: int) -> list[str]:
    """Return what stands in the braces of the keys of each shard: ``RUN:SHARD`` or ``RUN:SHARD.SALT``.

    The slots fall into as many equal ranges as there are shards, and each shard into a range of its own. So on a
    cluster whose nodes have equal ranges all nodes have equally many shards, if their number is a multiple of the
    nodes'. Left to chance, two shards of three would often share a node. The tags follow from the arguments alone,
    wherever the slots are.

    Args:
        run_id: The run.
        shards: How many there are. The tag of the first never depends on it.

    Returns:
        One tag per shard.
    """
    first = slot_range(slot_of(f"{run_id}:0"), shards)
    return [_tag_in(f"{run_id}:{shard}", (first + shard) % shards, shards) for shard in range(shards)]


def key_of(tag: str, name: str) -> str:
    """Return the name of a key with this hash tag."""
    return f"{KEY_PREFIX}{{{tag}}}:{name}"


def slot_of(tag: str) -> int:
    """Return the slot in which keys with this hash tag lie: its CRC-16, modulo the number of slots."""
    return crc_hqx(tag.encode(), 0) % SLOTS


def slot_range(slot: int, ranges: int) -> int:
    """Return in which of so many equal ranges of slots this one lies."""
    return slot * ranges // SLOTS


def _tag_in(name: str, wanted: int, ranges: int) -> str:
    if slot_range(slot_of(name), ranges) == wanted:
        return name
    # A CRC can be continued: with 256 shards, several hundred thousand salts are tried in all.
    begun = crc_hqx(f"{name}.".encode(), 0)
    fits = (salt for salt in count(1) if slot_range(crc_hqx(b"%d" % salt, begun) % SLOTS, ranges) == wanted)
    return f"{name}.{next(fits)}"
