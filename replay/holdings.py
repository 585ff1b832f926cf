"""What a Redis server holds of which runs, and how a run's share of it is given back.

A run's replay stays on a server that was given when the run is over: the same run may be made longer. Nothing here ever
touches a key that is not the run's own, and nothing is flushed.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from replay.connection import Client, nodes
from replay.schema import check_name
from replay.scripts import SHARD_KEYS
from replay.shards import KEY_PREFIX, MARK, RUN_KEYS, hash_tags, key_of

_RUN_KEY: Final = re.compile(rf"{KEY_PREFIX}\{{(?P<run>[^{{}}:]+):0(?:\.\d+)?\}}:run")
_SCANNED: Final = 1000
_WATCHED_SECONDS: Final = 3.0
_FRESH_SECONDS: Final = 60.0


@dataclass(frozen=True)
class HeldRun:
    """A run's replay on a server.

    Attributes:
        run_id: The run.
        rows: Held now.
        size: Bytes of encoded chunks held now.
        driven_at: When its driver was last there, in unix seconds by its own clock; None where it never said so.
    """

    run_id: str
    rows: int
    size: int
    driven_at: float | None


def held_runs(client: Client) -> list[HeldRun]:
    """Return the runs whose replay lies there, the largest first.

    Args:
        client: Of a user who may SCAN.
    """
    run_ids: set[str] = set()
    for node in nodes(client).values():
        for key in node.scan_iter(match=f"{KEY_PREFIX}*:run", count=_SCANNED):
            if found := _RUN_KEY.fullmatch(key.decode(errors="replace")):
                run_ids.add(found["run"])
    held = [held_run(client, run_id) for run_id in run_ids]
    return sorted((run for run in held if run is not None), key=lambda run: (-run.size, run.run_id))


def held_run(client: Client, run_id: str) -> HeldRun | None:
    """Return what is held of a run, or None if nothing is.

    Raises:
        ValueError: If there can be no run of that name.
    """
    check_name("run_id", run_id)
    tags = _tags(client, run_id)
    if tags is None:
        return None
    pipeline = client.pipeline(transaction=False)
    for tag in tags:
        pipeline.hget(key_of(tag, "counters"), "rows")
        pipeline.hget(key_of(tag, "counters"), "bytes")
    pipeline.hget(key_of(tags[0], MARK), "at")
    *counts, marked = pipeline.execute()
    rows, size = (sum(int(count or 0) for count in counts[place::2]) for place in (0, 1))
    return HeldRun(run_id, rows, size, float(marked) if marked else None)


def is_driven(client: Client, run: HeldRun) -> bool:
    """Whether a driver of the run is there; takes seconds, in which its mark would move, whatever its clock says."""
    if run.driven_at is None:
        return False
    if abs(time.time() - run.driven_at) < _FRESH_SECONDS:
        return True
    deadline = time.monotonic() + _WATCHED_SECONDS
    while time.monotonic() < deadline:
        time.sleep(0.5)
        now = held_run(client, run.run_id)
        if now is not None and now.driven_at != run.driven_at:
            return True
    return False


def delete_run(client: Client, run_id: str) -> int:
    """Give back what a run's replay takes, key by key; the server frees the memory in the background.

    What says that the run is there goes last, so that a deletion that was cut short can be done again. Deleting what is
    not there does nothing.

    Args:
        client: Of a user who may UNLINK.
        run_id: The run; nobody drives it.

    Returns:
        How many keys there were.

    Raises:
        redis.RedisError: If the server does not answer or refuses.
    """
    tags = _tags(client, run_id)
    return 0 if tags is None else sum(int(client.unlink(key)) for key in _keys(tags))


def _tags(client: Client, run_id: str) -> list[str] | None:
    """The hash tags of a run's shards, of which the first is the same for any number of them."""
    first: Any = key_of(hash_tags(run_id, 1)[0], "run")
    shards: Any = client.hget(first, "shards")
    return None if shards is None else hash_tags(run_id, int(shards))


def _keys(tags: Sequence[str]) -> Iterator[str]:
    for tag in tags:
        for name in (*SHARD_KEYS, MARK):
            yield key_of(tag, name)
    for name in RUN_KEYS:
        yield key_of(tags[0], name)
