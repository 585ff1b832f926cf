"""What it takes to play a run's episodes again, read out of its replay, and the bytes in which that is kept.

An episode follows from its seed, its visual domain and its actions. Its states go with them, so that whoever plays it
again can tell whether it has become the same one; its images do not: they are what is made anew.

    header   magic, format, lengths, CRC-32 of all that follows
    about    JSON: run, spec of the stream, domains, drivers, how many episodes and rows
    body     one zstd frame: seed [N] u64 | rows [N] u32 | domain [N] u16 | driver [N] u8 | state [R,S] f32 |
             action [R,A] f32

Letters in shapes: N episodes, R rows of all of them, L rows of one, S state, A action.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import zstandard
from numpy.typing import NDArray

from replay.codec import CorruptChunkError, decompressed
from replay.schema import Chunk, EpisodeMeta, StreamSpec
from replay.store import ReplayStore

FORMAT: Final = 1

# magic, format, length of the JSON, length of the zstd frame | CRC-32 of all before and of both
_HEADER: Final = struct.Struct("<4sHxxIQI")
_CHECKED: Final = _HEADER.size - 4
_MAGIC: Final = b"TWEP"
_CHUNKS_AT_ONCE: Final = 256
_EPISODE_BYTES: Final = 8 + 4 + 2 + 1
_MOST_BYTES: Final = 2**34
"""Of a body: no run's states and actions come near this; a larger size is damage, not data."""


@dataclass(frozen=True, eq=False)
class Episode:
    """One episode, with its rows aligned as in `replay.schema`: row 0 is the reset's, and no action led to it.

    Attributes:
        seed: With it and the domain, `reset` gives the episode's beginning.
        domain: Its visual domain.
        driver: Who chose the actions, as in `replay.schema.EpisodeMeta`.
        state: [L, S] float32, L at least 2.
        action: [L, A] float32 in [-1, 1].
    """

    seed: int
    domain: str
    driver: str
    state: NDArray[np.float32]
    action: NDArray[np.float32]

    @property
    def env_steps(self) -> int:
        """Rows that an action led to."""
        return len(self.state) - 1


@dataclass(frozen=True, eq=False)
class Episodes:
    """The episodes of a run.

    Attributes:
        run_id: The run that collected them.
        spec: Of their stream.
        all: In the order of their streams.
    """

    run_id: str
    spec: StreamSpec
    all: tuple[Episode, ...]

    @property
    def env_steps(self) -> int:
        """Of all of them."""
        return sum(episode.env_steps for episode in self.all)


def read_episodes(store: ReplayStore, wanted: Callable[[EpisodeMeta], bool] | None = None) -> Episodes:
    """Read the episodes of which a student could learn out of a run's replay, and move no image byte.

    Those whose beginning is not held any more are left out. One that is cut off at its end, as a killed actor leaves
    it, ends there.

    Args:
        store: Of the run.
        wanted: Whether to read an episode. None: those with images, whose states are without errors.

    Raises:
        redis.RedisError: If the server does not answer; one of `replay.connection.UNAVAILABLE`.
    """
    named = (chunk_id.rpartition(":") for chunk_id in (store.state_ids() if wanted else store.image_ids()))
    places = sorted((stream, int(first)) for stream, _, first in named)
    reading = _Reading(wanted)
    for begin in range(0, len(places), _CHUNKS_AT_ONCE):
        ids = [f"{stream}:{first}" for stream, first in places[begin : begin + _CHUNKS_AT_ONCE]]
        reading.take(store.read_states(ids))
    return Episodes(store.run_id, store.spec, reading.finish())


class _Reading:
    """Puts the chunks of streams together to episodes."""

    def __init__(self, wanted: Callable[[EpisodeMeta], bool] | None) -> None:
        self._wanted = wanted
        self._whole: list[Episode] = []
        self._place = "", 0  # stream and row at which what is open goes on
        self._open: EpisodeMeta | None = None
        self._parts: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []

    def take(self, chunks: Iterable[Chunk]) -> None:
        """Chunks in the order of their streams, each stream's in order."""
        for chunk in chunks:
            meta = chunk.meta
            if (meta.stream_id, meta.first_step) != self._place:
                self._end()
            self._place = meta.stream_id, meta.first_step + chunk.rows
            ends = [*(episode.row for episode in meta.episodes[1:]), chunk.rows]
            for episode, end in zip(meta.episodes, ends, strict=True):
                self._take_rows(chunk, episode, end)

    def finish(self) -> tuple[Episode, ...]:
        """All episodes."""
        self._end()
        return tuple(self._whole)

    def _take_rows(self, chunk: Chunk, episode: EpisodeMeta, end: int) -> None:
        rows = slice(episode.row, end)
        if chunk.is_first[episode.row]:
            self._end()
            self._open = episode
        self._parts.append((chunk.state[rows], chunk.action[rows]))
        if chunk.is_last[end - 1]:
            self._end()

    def _end(self) -> None:
        if self._open is not None:
            meta = self._open
            state, action = (np.concatenate(arrays) for arrays in zip(*self._parts, strict=True))
            if len(state) > 1 and (self._wanted is None or self._wanted(meta)):
                self._whole.append(Episode(meta.seed, meta.domain, meta.driver, state, action))
        self._open = None
        self._parts.clear()


def encode_episodes(episodes: Episodes) -> bytes:
    """Return the bytes that `decode_episodes` reads."""
    every = episodes.all
    domains = sorted({episode.domain for episode in every})
    drivers = sorted({episode.driver for episode in every})
    spec = episodes.spec
    about = {
        "run_id": episodes.run_id,
        "spec": json.loads(spec.to_json()),
        "domains": domains,
        "drivers": drivers,
        "episodes": len(every),
        "rows": sum(len(episode.state) for episode in every),
    }
    numbers = {
        "u8": [episode.seed for episode in every],
        "u4": [len(episode.state) for episode in every],
        "u2": [domains.index(episode.domain) for episode in every],
        "u1": [drivers.index(episode.driver) for episode in every],
    }
    parts = [np.array(values, f"<{kind}").tobytes() for kind, values in numbers.items()]
    parts += [episode.state.astype("<f4").tobytes() for episode in every]
    parts += [episode.action.astype("<f4").tobytes() for episode in every]
    told, body = json.dumps(about).encode(), zstandard.ZstdCompressor(level=3).compress(b"".join(parts))
    checked = _HEADER.pack(_MAGIC, FORMAT, len(told), len(body), 0)[:_CHECKED]
    return b"".join([checked, zlib.crc32(told + body, zlib.crc32(checked)).to_bytes(4, "little"), told, body])


def decode_episodes(data: bytes) -> Episodes:
    """Read what `encode_episodes` returned.

    Raises:
        ValueError: If anything in it is not as it should be; in one line.
    """
    about, frame = _unpack(data)
    try:
        spec = StreamSpec.from_json(json.dumps(about["spec"]))
        run_id, domains, drivers = (about[key] for key in ("run_id", "domains", "drivers"))
        count, rows = about["episodes"], about["rows"]
        if not all(isinstance(word, str) for word in (run_id, *domains, *drivers)):
            raise TypeError("run_id, domains and drivers are no words")
        if type(count) is not int or type(rows) is not int:
            raise TypeError(f"{count!r} episodes of {rows!r} rows are no whole numbers")
        size = _EPISODE_BYTES * count + 4 * rows * (spec.state_dim + spec.action_dim)
        if min(count, rows) < 0 or size > _MOST_BYTES:
            raise ValueError(f"{count} episodes of {rows} rows: they take {size} bytes, {_MOST_BYTES} are allowed")
        body = decompressed(frame, size)
    except (KeyError, TypeError, CorruptChunkError) as error:
        raise ValueError(f"not a run's episodes: {error}") from error
    place = 0

    def following(kind: str, number: int) -> NDArray[Any]:
        nonlocal place
        array = np.frombuffer(body, f"<{kind}", number, place)
        place += array.nbytes
        return array

    seeds, lengths, domain, driver = (following(kind, count) for kind in ("u8", "u4", "u2", "u1"))
    state = following("f4", rows * spec.state_dim).reshape(rows, spec.state_dim)
    action = following("f4", rows * spec.action_dim).reshape(rows, spec.action_dim)
    possible = count == 0 or (lengths.min() > 1 and domain.max() < len(domains) and driver.max() < len(drivers))
    if lengths.sum() != rows or not possible or not (np.isfinite(state).all() and np.isfinite(action).all()):
        raise ValueError("not a run's episodes: its rows are not those of its episodes, or not finite")
    ends = np.cumsum(lengths, dtype=np.int64)
    every = tuple(
        Episode(
            seed=int(seeds[number]),
            domain=domains[domain[number]],
            driver=drivers[driver[number]],
            state=state[end - length : end],
            action=action[end - length : end],
        )
        for number, (length, end) in enumerate(zip(lengths.tolist(), ends.tolist(), strict=True))
    )
    return Episodes(run_id, spec, every)


def _unpack(data: bytes) -> tuple[dict[str, Any], memoryview]:
    """What the JSON tells, and the zstd frame."""
    if len(data) < _HEADER.size:
        raise ValueError(f"not a run's episodes: {len(data)} bytes are no header of {_HEADER.size}")
    magic, version, about_bytes, body_bytes, crc = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        raise ValueError(f"not a run's episodes: begins with {magic!r} instead of {_MAGIC!r}")
    if version != FORMAT:
        raise ValueError(f"episodes of format {version}: this version reads format {FORMAT}")
    if len(data) != _HEADER.size + about_bytes + body_bytes:
        raise ValueError(f"not a run's episodes: {len(data)} bytes, its header tells of another number")
    rest = memoryview(data)[_HEADER.size :]
    if zlib.crc32(rest, zlib.crc32(data[:_CHECKED])) != crc:
        raise ValueError("not a run's episodes: its contents have changed since they were written")
    try:
        about = json.loads(bytes(rest[:about_bytes]))
    except ValueError as error:
        raise ValueError(f"not a run's episodes: {error}") from error
    if not isinstance(about, dict):
        raise ValueError("not a run's episodes: there is no JSON object in it")
    return about, rest[about_bytes:]
