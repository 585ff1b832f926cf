"""A reader's own copy of the index of chunks, kept up to date with what changed since it last looked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class IndexUpdate:
    """What one shard answers to a reader.

    Attributes:
        entries: (chunk id, sequence number) of all chunks from the reader's cursor on, that one included if it is held.
        oldest: Sequence number of the oldest chunk held; None if there is none.
        quarantined: How many chunks were ever quarantined, as counted before `entries` were read.
    """

    entries: Sequence[tuple[str, int]]
    oldest: int | None
    quarantined: int


@dataclass
class _ShardIndex:
    """Chunks of one shard in the order of insertion; those before `start` are evicted."""

    ids: list[str] = field(default_factory=list)
    sequences: list[int] = field(default_factory=list)
    start: int = 0
    quarantined: int = 0

    def __len__(self) -> int:
        return len(self.ids) - self.start

    @property
    def cursor(self) -> int:
        return self.sequences[-1] if self.sequences else 0

    def apply(self, update: IndexUpdate) -> bool:
        """Apply an update; False if more than the oldest chunks went, so that all must be read anew."""
        entries = list(update.entries)
        if self.sequences:
            newest = (self.ids[-1], self.sequences[-1])
            if not entries or entries[0] != newest or update.quarantined != self.quarantined:
                return False
            del entries[0]
        self.quarantined = update.quarantined
        self.ids.extend(chunk_id for chunk_id, _ in entries)
        self.sequences.extend(sequence for _, sequence in entries)
        while len(self) and update.oldest is not None and self.sequences[self.start] < update.oldest:
            self.start += 1
        if self.start > len(self):
            # More dead than living entries: now dropping them costs less than a step per entry ever added.
            del self.ids[: self.start], self.sequences[: self.start]
            self.start = 0
        return True


class ChunkIndex:
    """The ids of the chunks held, oldest first within each shard.

    An update costs as much as there are new chunks; only after a chunk was quarantined, all ids are read again.
    """

    def __init__(self, shards: int) -> None:
        """Make an empty copy of an index with so many shards."""
        self._shards = [_ShardIndex() for _ in range(shards)]

    def __len__(self) -> int:
        return sum(len(shard) for shard in self._shards)

    def __getitem__(self, position: int) -> str:
        for shard in self._shards:
            if position < len(shard):
                return shard.ids[shard.start + position]
            position -= len(shard)
        raise IndexError(position)

    @property
    def cursors(self) -> list[int]:
        """Per shard the sequence number of the newest chunk in the copy, 0 if it is empty."""
        return [shard.cursor for shard in self._shards]

    def apply(self, updates: Sequence[IndexUpdate]) -> bool:
        """Apply one update per shard.

        Returns:
            False if the server does not have the newest chunk of the copy (the server lost it), or has quarantined
            any. The copy of that shard is then empty, and the next update will be a full one.
        """
        complete = True
        for number, update in enumerate(updates):
            if not self._shards[number].apply(update):
                self._shards[number] = _ShardIndex()
                complete = False
        return complete
