"""Every setting of the replay, with its unit, its limits and its default.

The type of each field says what it may be and the text below it what it means: no object can be made with anything
else, and the command line reads and prints both.
"""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Le
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True)

_MIB = 2**20


@dataclass(frozen=True, config=_STRICT)
class ReplayConfig:
    """How much the replay keeps, and how it is written and read."""

    chunk_length: Annotated[int, Ge(2), Le(1000)] = 25
    """T, most rows of a chunk, which is the learner's sequence; chunks hold whole episodes, or as few equal parts of
    each as possible, and are made so much shorter that they do without padding."""
    capacity_steps: Annotated[int, Ge(1), Le(10**10)] = 200_000
    """Rows kept; the oldest chunks go first."""
    capacity_bytes: Annotated[int, Ge(1), Le(10**14)] = 1024 * _MIB
    """Bytes of encoded chunks kept; the oldest chunks go first."""
    shards: Annotated[int, Ge(1), Le(256)] = 1
    """Parts of the replay, spread over the nodes of a Redis Cluster: as many as those, or a multiple; each has its
    share of capacity."""
    compression_level: Annotated[int, Ge(0), Le(19)] = 1
    """Zstd level for images (0: store them raw)."""
    retry_seconds: Annotated[float, Ge(0), Le(86400)] = 60.0
    """Seconds for which an actor tries by itself to write a chunk before it says so."""
    outage_seconds: Annotated[float, Ge(0), Le(10.0**7)] = 1800.0
    """Seconds without an answer from Redis, or in which it refuses, after which a run ends; until then all wait."""
    prefetch: Annotated[int, Ge(0), Le(64)] = 2
    """Batches made ready in the background (0: none, no thread, repeatable)."""
    append_fsync: Literal["no", "everysec", "always"] = "no"
    """When the embedded server forces its log to disk. no: the kernel does, within half a minute, and only losing power
    loses data; everysec: each second, but while the disk is slow the log waits, and killing the server loses up to 2 s;
    always: before each answer, nothing is ever lost."""

    delete_at_end: bool = False
    """Give back what the replay takes when the run is complete; without, it stays, so that the run can be made longer
    (`twist replay delete` gives it back later). On a given server the driver's user then needs UNLINK."""

    def __post_init__(self) -> None:
        if self.shards > min(self.capacity_steps, self.capacity_bytes):
            raise ValueError(f"shards is {self.shards}: each needs a share of capacity_steps and capacity_bytes")

    @property
    def memory_bytes(self) -> int:
        """Memory that Redis needs to hold ``capacity_bytes``, and the least ``maxmemory`` that is accepted."""
        return self.memory_of(self.shards)

    def memory_of(self, shards: int) -> int:
        """Return the memory that a server needs to hold so many of the shards.

        Its allocator rounds a value up to the next of four sizes per doubling (at most 25 % more), and 128 MiB go to
        the index, the buffers of the connections and the quarantine.
        """
        held = self.capacity_bytes * shards // self.shards
        return held + held // 4 + 128 * _MIB
