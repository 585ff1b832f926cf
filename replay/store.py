"""The replay: paired state and image chunks of one run in Redis, with an exact capacity."""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from replay.codec import (
    CorruptChunkError,
    ImageRows,
    StateRows,
    decode_image,
    decode_state,
    encode_image,
    encode_state,
)
from replay.config import ReplayConfig
from replay.connection import Client, server_name
from replay.index import ChunkIndex, IndexUpdate
from replay.schema import SCHEMA_VERSION, Chunk, StreamSpec, check_name
from replay.scripts import CLAIM, PUT, QUARANTINE, SET_ONCE, SHARD_KEYS
from replay.shards import MARK, hash_tags, key_of

QUARANTINE_KEPT: Final = 8

_COUNTERS: Final = (
    "chunks",
    "image_chunks",
    "rows",
    "bytes",
    "inserted_chunks",
    "inserted_rows",
    "inserted_episodes",
    "env_steps",
    "evicted_chunks",
    "evicted_rows",
    "quarantined_chunks",
    "quarantined_rows",
)

IndexName = Literal["index", "image_index"]
_INDEX_OF: Final[dict[str, IndexName]] = {"states": "index", "images": "image_index"}


@dataclass(frozen=True)
class QuarantinedChunk:
    """A chunk that failed its check, as it was found.

    Attributes:
        chunk_id: Its id.
        reason: What was wrong with it.
        state_value: Its state value as stored.
        image_value: Its image value as stored; empty if it had none.
    """

    chunk_id: str
    reason: str
    state_value: bytes
    image_value: bytes


class ReplayStore:
    """Writes chunks to Redis and reads them back; may be shared by threads.

    State and image of a chunk are two values, so that reading states moves no image byte. Each shard evicts its
    oldest chunks so that, after every put, it holds at most its share of ``capacity_steps`` rows and
    ``capacity_bytes`` bytes of values.

    Attributes:
        run_id: The run whose replay this is.
        spec: What the chunks look like.
        config: The settings.
        client: The connection.
        server: Where the server is, for messages; without password.
    """

    def __init__(self, client: Client, run_id: str, spec: StreamSpec, config: ReplayConfig) -> None:
        """Open a run's replay, or begin it.

        Args:
            client: A client from `replay.connection.connect`, with `decode_responses` off.
            run_id: The run; part of every key.
            spec: Stored on first use and compared afterwards.
            config: Capacity, shards and so on.

        Raises:
            ValueError: If the run was begun with another spec or number of shards.
        """
        check_name("run_id", run_id)
        self.run_id = run_id
        self.spec = spec
        self.config = config
        self.server = server_name(client)
        self.client = client
        self._put = client.register_script(PUT)
        self._move = client.register_script(QUARANTINE)
        self._set_once = client.register_script(SET_ONCE)
        self._claim = client.register_script(CLAIM)
        self._tags = hash_tags(run_id, config.shards)
        self._keys = [{name: self.key(name, shard) for name in SHARD_KEYS} for shard in range(config.shards)]
        self._index_lock = threading.Lock()
        self._indices: dict[IndexName, ChunkIndex] = {
            "index": ChunkIndex(config.shards),
            "image_index": ChunkIndex(config.shards),
        }
        self._refuse_other_spec()

    @staticmethod
    def is_begun(client: Client, run_id: str) -> bool:
        """Return whether a run's replay is there; one round trip, nothing is begun."""
        return client.hget(key_of(hash_tags(run_id, 1)[0], "run"), "spec") is not None

    @classmethod
    def of_held_run(cls, client: Client, run_id: str, config: ReplayConfig) -> ReplayStore | None:
        """Open a run's replay by the spec that it was begun with; None if it is not there, nothing is begun."""
        spec = client.hget(key_of(hash_tags(run_id, 1)[0], "run"), "spec")
        return None if spec is None else cls(client, run_id, StreamSpec.from_json(spec, SCHEMA_VERSION), config)

    def key(self, name: str, shard: int = 0) -> str:
        """Return the name of a Redis key of this run; all keys of a shard lie in one slot of a Redis Cluster."""
        return key_of(self._tags[shard], name)

    def put(self, chunk: Chunk) -> bool:
        """Store a chunk in one atomic step, evicting the oldest as needed.

        The chunks of a stream must come in order; a repeated put changes nothing, even if the chunk was evicted since.

        Returns:
            True if it was stored, False if it was there already.

        Raises:
            ValueError: If it does not fit the spec, belongs to another run, overlaps its stream's newest chunk, or
                is larger than the capacity alone.
            redis.RedisError: If the server did not answer or refused; one of `replay.connection.UNAVAILABLE`.
        """
        chunk.check(self.spec)
        if chunk.meta.run_id != self.run_id:
            raise ValueError(f"chunk {chunk.meta.chunk_id} is of run {chunk.meta.run_id}: this is run {self.run_id}")
        state = encode_state(chunk)
        image = b"" if chunk.image is None else encode_image(chunk, self.config.compression_level)
        rows, size = chunk.rows, len(state) + len(image)
        capacity_rows = self.config.capacity_steps // self.config.shards
        capacity_bytes = self.config.capacity_bytes // self.config.shards
        if rows > capacity_rows or size > capacity_bytes:
            raise ValueError(
                f"chunk {chunk.meta.chunk_id} of {rows} rows and {size} bytes is larger than the capacity of "
                f"{capacity_rows} rows and {capacity_bytes} bytes"
            )
        args: list[Any] = [chunk.meta.chunk_id, chunk.meta.stream_id, state, image, chunk.meta.first_step, rows]
        args += [chunk.env_steps, int(np.count_nonzero(chunk.is_last)), capacity_rows, capacity_bytes]
        answer = self._put(keys=self._shard_keys(chunk.meta.chunk_id), args=args)
        if answer == -1:
            raise ValueError(f"chunk {chunk.meta.chunk_id} overlaps the newest chunk of its stream")
        return bool(answer)

    def state_ids(self) -> list[str]:
        """Return the ids of all chunks held, oldest first within each shard; reads only what is new."""
        return self._ids("index")

    def image_ids(self) -> list[str]:
        """Return the ids of all chunks that have images, oldest first within each shard; reads only what is new."""
        return self._ids("image_index")

    def refresh(self, index: ChunkIndex, name: IndexName) -> None:
        """Bring a reader's copy of an index up to date, in one round trip."""
        while not index.apply(self._index_updates(index.cursors, name)):
            pass

    def read_states(self, chunk_ids: Iterable[str]) -> list[Chunk]:
        """Read chunks without their images, and move no image byte.

        Returns:
            The chunks in the order asked for, without those that are gone or were found corrupt. Those are
            quarantined and counted.
        """
        return self._chunks({chunk_id: (rows, None) for chunk_id, rows in self.fetch_states(chunk_ids).items()})

    def read_pairs(self, chunk_ids: Iterable[str]) -> list[Chunk]:
        """Read chunks with their images; as `read_states`, and chunks without images are left out."""
        return self._chunks(dict(self.fetch_pairs(chunk_ids)))

    def fetch_states(self, chunk_ids: Iterable[str]) -> dict[str, StateRows]:
        """Read and decode state values; what is gone or corrupt (and then quarantined) is left out."""
        decoded: dict[str, StateRows] = {}
        for chunk_id, value in self._values("states", list(chunk_ids)).items():
            try:
                decoded[chunk_id] = decode_state(value, self.spec, chunk_id)
            except CorruptChunkError as error:
                self._quarantine(chunk_id, f"state: {error}", "index")
        return decoded

    def fetch_pairs(self, chunk_ids: Iterable[str]) -> dict[str, tuple[StateRows, ImageRows]]:
        """Read and decode state and image values; what is gone or corrupt (and then quarantined) is left out."""
        states = self.fetch_states(chunk_ids)
        decoded: dict[str, tuple[StateRows, ImageRows]] = {}
        for chunk_id, value in self._values("images", list(states)).items():
            rows = states[chunk_id]
            try:
                images = decode_image(value, self.spec, chunk_id)
                if len(images.image) != len(rows.reward):
                    raise CorruptChunkError(f"{len(images.image)} images for {len(rows.reward)} states")
            except CorruptChunkError as error:
                self._quarantine(chunk_id, f"image: {error}", "image_index")
            else:
                decoded[chunk_id] = (rows, images)
        return decoded

    def quarantined(self) -> list[QuarantinedChunk]:
        """Return the newest `QUARANTINE_KEPT` quarantined chunks of each shard, newest first."""
        chunks = []
        for keys in self._keys:
            flat: list[Any] = list(self.client.lrange(keys["quarantine"], 0, -1))
            for first in range(0, len(flat), 3):
                chunk_id, _, reason = flat[first].decode().partition(" ")
                chunks.append(QuarantinedChunk(chunk_id, reason, flat[first + 1], flat[first + 2]))
        return chunks

    def stats(self) -> dict[str, float]:
        """Return counters of the whole run, in one round trip.

        What is held now: ``chunks``, ``image_chunks``, ``rows``, ``bytes``. Since the run began: ``inserted_chunks``,
        ``inserted_rows``, ``inserted_episodes`` (their last rows), ``env_steps`` (inserted rows that an action led
        to), ``evicted_chunks``, ``evicted_rows``, ``quarantined_chunks``, ``quarantined_rows``. Always
        ``rows == inserted_rows - evicted_rows - quarantined_rows``.
        """
        pipeline = self.client.pipeline(transaction=False)
        for keys in self._keys:
            pipeline.hgetall(keys["counters"])
        shards = pipeline.execute()
        return {name: float(sum(int(shard.get(name.encode(), 0)) for shard in shards)) for name in _COUNTERS}

    def mark(self) -> None:
        """Say in each shard that the driver is there; whether a server takes writes, reading does not tell.

        Raises:
            redis.RedisError: If it does not; one of `replay.connection.UNAVAILABLE`.
        """
        pipeline = self.client.pipeline(transaction=False)
        for shard in range(self.config.shards):
            pipeline.hset(self.key(MARK, shard), "at", repr(time.time()))
        pipeline.execute()

    def claim_incarnation(self, actor_id: str) -> int:
        """Return a number that no incarnation of this actor had before in this run: 0, 1, 2 ...

        Part of a stream's id, it keeps a restarted actor (or run) from going on under the id of a stream that is
        already there, and from drawing the same seeds again.
        """
        return int(self._claim(keys=[self.key("incarnations")], args=[actor_id]))

    def raise_incarnations(self, floor: int) -> None:
        """Let no actor claim an incarnation below a number: where the count itself is lost, it does not begin anew.

        Args:
            floor: The run's environment steps will do. Every incarnation whose rows are in took at least one.
        """
        self.client.hset(self.key("incarnations"), "", str(floor))

    def claim_stream(self, stream_id: str, owner: str) -> None:
        """Make a stream one writer's own, so that none goes on in the middle of another's rows.

        Args:
            stream_id: The stream.
            owner: The writer; claiming again with the same name changes nothing.

        Raises:
            ValueError: If the stream is another's.
        """
        if self._set_once(keys=[self.key("stream_owners")], args=[stream_id, owner]) != [owner.encode()]:
            raise ValueError(
                f"stream {stream_id} of run {self.run_id} has a writer already: each incarnation of an actor needs "
                f"its own stream ids (see claim_incarnation)"
            )

    def _shard_of(self, chunk_id: str) -> int:
        stream_id = chunk_id.rpartition(":")[0]
        return zlib.crc32(stream_id.encode()) % self.config.shards

    def _shard_keys(self, chunk_id: str) -> list[str]:
        keys = self._keys[self._shard_of(chunk_id)]
        return [keys[name] for name in SHARD_KEYS]

    def _ids(self, name: IndexName) -> list[str]:
        with self._index_lock:
            index = self._indices[name]
            self.refresh(index, name)
            return [index[position] for position in range(len(index))]

    def _index_updates(self, cursors: Sequence[int], name: IndexName) -> list[IndexUpdate]:
        pipeline = self.client.pipeline(transaction=False)
        for keys, cursor in zip(self._keys, cursors, strict=True):
            pipeline.hget(keys["counters"], "quarantined_chunks")
            pipeline.zrangebyscore(keys[name], cursor, "+inf", withscores=True)
            pipeline.zrange(keys[name], 0, 0, withscores=True)
        answers = pipeline.execute()
        updates = []
        for quarantined, entries, oldest in zip(answers[::3], answers[1::3], answers[2::3], strict=True):
            new = [(chunk_id.decode(), int(sequence)) for chunk_id, sequence in entries]
            updates.append(IndexUpdate(new, int(oldest[0][1]) if oldest else None, int(quarantined or 0)))
        return updates

    def _values(self, part: Literal["states", "images"], chunk_ids: Sequence[str]) -> dict[str, bytes]:
        """Read values in one round trip, one command each: an answer of many megabytes is slow to parse.

        A chunk without the value is left out: evicted meanwhile, without images, or else its value is lost.
        """
        pipeline = self.client.pipeline(transaction=False)
        for chunk_id in chunk_ids:
            pipeline.hget(self._keys[self._shard_of(chunk_id)][part], chunk_id)
        found: dict[str, bytes] = {}
        for chunk_id, value in zip(chunk_ids, pipeline.execute() if chunk_ids else [], strict=True):
            if value is not None:
                found[chunk_id] = value
            else:
                self._quarantine(chunk_id, f"{part}: the value is missing", _INDEX_OF[part])
        return found

    def _quarantine(self, chunk_id: str, reason: str, named_by: IndexName) -> None:
        """Move a chunk out of the replay and count it, if it is still in that index."""
        self._move(keys=self._shard_keys(chunk_id), args=[chunk_id, reason, QUARANTINE_KEPT, named_by])

    def _chunks(self, decoded: dict[str, tuple[StateRows, ImageRows | None]]) -> list[Chunk]:
        chunks = []
        for chunk_id, (rows, images) in decoded.items():
            try:
                meta = rows.meta()
            except CorruptChunkError as error:
                self._quarantine(chunk_id, f"state: {error}", "index")
                continue
            image, shown = (None, None) if images is None else (images.image, images.state_at_exposure)
            arrays = (rows.action, rows.reward, rows.is_first, rows.is_last, rows.is_terminal)
            chunks.append(Chunk(rows.state, image, shown, *arrays, meta))
        return chunks

    def _refuse_other_spec(self) -> None:
        begun_with = {"spec": self.spec.to_json(), "shards": str(self.config.shards)}
        named = [text for pair in begun_with.items() for text in pair]
        spec, shards = self._set_once(keys=[self.key("run")], args=named)
        where = f"the replay of run {self.run_id} at {self.server}"
        try:
            begun_with_spec = StreamSpec.from_json(spec, oldest=SCHEMA_VERSION)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
        self.spec.require_equal(begun_with_spec, where)
        if int(shards) != self.config.shards:
            raise ValueError(f"shards is {self.config.shards}: {where} was begun with {int(shards)}")
