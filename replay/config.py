"""Settings of the replay."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

_MIB = 2**20


@dataclass(frozen=True)
class ReplayConfig:
    """How much the replay keeps, and how it is written and read."""

    chunk_length: int = field(
        default=25,
        metadata={
            "help": "T, most rows of a chunk, which is the learner's sequence; chunks hold whole episodes, or as few "
            "equal parts of each as possible, and are made so much shorter that they do without padding",
            "min": 2,
            "max": 1000,
        },
    )
    capacity_steps: int = field(
        default=200_000,
        metadata={"help": "rows kept; the oldest chunks go first", "min": 1, "max": 10**10},
    )
    capacity_bytes: int = field(
        default=1024 * _MIB,
        metadata={"help": "bytes of encoded chunks kept; the oldest chunks go first", "min": 1, "max": 10**14},
    )
    shards: int = field(
        default=1,
        metadata={
            "help": "parts of the replay, spread over the nodes of a Redis Cluster: as many as those, or a multiple; "
            "each has its share of capacity",
            "min": 1,
            "max": 256,
        },
    )
    compression_level: int = field(
        default=1,
        metadata={"help": "zstd level for images (0: store them raw)", "min": 0, "max": 19},
    )
    retry_seconds: float = field(
        default=60.0,
        metadata={
            "help": "seconds for which an actor tries by itself to write a chunk before it says so",
            "min": 0.0,
            "max": 86_400.0,
        },
    )
    outage_seconds: float = field(
        default=1800.0,
        metadata={
            "help": "seconds without an answer from Redis after which a run ends; until then all wait for it",
            "min": 0.0,
            "max": 10.0**7,
        },
    )
    prefetch: int = field(
        default=2,
        metadata={"help": "batches made ready in the background (0: none, no thread, repeatable)", "min": 0, "max": 64},
    )
    append_fsync: str = field(
        default="no",
        metadata={
            "help": "when the embedded server forces its log to disk. no: the kernel does, within half a minute, and "
            "only losing power loses data; everysec: each second, but while the disk is slow the log waits, and "
            "killing the server loses up to 2 s; always: before each answer, nothing is ever lost",
            "choices": ("no", "everysec", "always"),
        },
    )

    def __post_init__(self) -> None:
        for setting in fields(self):
            value, limits = getattr(self, setting.name), setting.metadata
            if "choices" in limits and value not in limits["choices"]:
                raise ValueError(f"{setting.name} is {value!r}: allowed are {', '.join(limits['choices'])}")
            if "min" in limits and not limits["min"] <= value <= limits["max"]:
                raise ValueError(f"{setting.name} is {value}: allowed are {limits['min']} to {limits['max']}")
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
