"""Random batches of chunks for the learner, made ready in the background.

::

    sample() of the learner  <──  queue of `prefetch` batches  <──  thread: index, draw, read, check, decode, stack

====================  ===================  ==================  =======================  ==============================
loop                  consumes             produces            waits for                who unblocks it
====================  ===================  ==================  =======================  ==============================
thread of a sampler   chunks in Redis      batches             a first chunk; Redis;    an actor; the server;
                                                               room in the queue        `sample`, `close`
sample()              batches              the learner's       a batch                  the thread; its own time-out,
                                           waiting time                                 which says what is missing
====================  ===================  ==================  =======================  ==============================

With ``prefetch=0`` there is no thread: `sample` does the work itself, and the batches follow from the seed and from
what the replay held at each call.
"""

from __future__ import annotations

import queue
import threading
import time
import weakref
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from replay.codec import ImageRows, StateRows
from replay.connection import UNAVAILABLE, outage
from replay.index import ChunkIndex
from replay.store import IndexName, ReplayStore

Batch = dict[str, NDArray[Any]]

_ROWWISE: Final = ("state", "action", "reward", "is_first", "is_last", "is_terminal")
_PAUSE_SECONDS: Final = 0.02
_PAUSE_AFTER_ERROR_SECONDS: Final = 0.5
_CLOSE_SECONDS: Final = 30.0

_Rows = tuple[StateRows, ImageRows | None]
_Found = dict[str, _Rows]


class TeacherSampler:
    """Batches of states: no image byte is read.

    Chunks are drawn uniformly from all that are held, without repetition inside a batch as long as there are enough.
    Of each, the batch holds all rows, or a piece of ``sequence_length`` rows that begins anywhere in it: many short
    sequences are quicker to learn from, and each of them comes from another chunk.

    A piece's place is drawn as if it could stick out at either end of the chunk, by all but one row; one that does is
    moved back inside. So no piece is padded, and of a chunk of L rows and pieces of T, its first and its last row (the
    start, and what an episode ended with) are drawn as often as those in the middle, L / (L + T - 1) times what would
    be even; the rows near to the ends more often, at most twice so. Pieces that stay inside from the beginning would
    show a first row T times more seldom than one in the middle.

    A batch holds, with B sequences of T rows (T is the spec's ``chunk_length``, or ``sequence_length``)::

        state [B,T,S] f32   action [B,T,A] f32   reward [B,T] f32   is_first is_last is_terminal valid [B,T] bool
        policy_version [B] i64

    Shorter ones are padded with zeros, where ``valid`` is False; ``is_first`` is True on the first padded row.
    `sample` may be called from one thread at a time.

    Attributes:
        refusal: Why Redis gave nothing when it was last asked; empty when it did.
    """

    _index_name: IndexName = "index"

    def __init__(
        self, store: ReplayStore, batch_size: int, seed: int, prefetch: int | None = None, sequence_length: int = 0
    ) -> None:
        """Begin sampling.

        Args:
            store: The replay.
            batch_size: B.
            seed: Seed of the draws.
            prefetch: Batches to hold ready; 0 for none and no thread; None for the store's setting.
            sequence_length: Rows of a sequence; 0, and whatever is longer than a chunk, for whole chunks.

        Raises:
            ValueError: If a number is not possible.
        """
        prefetch = store.config.prefetch if prefetch is None else prefetch
        for what, value, least in (
            ("batch_size", batch_size, 1),
            ("prefetch", prefetch, 0),
            ("sequence_length", sequence_length, 0),
        ):
            if value < least:
                raise ValueError(f"{what} is {value}: at least {least}")
        self._store = store
        self._batch_size = batch_size
        self._length = min(sequence_length or store.spec.chunk_length, store.spec.chunk_length)
        self._rng = np.random.default_rng(seed)
        self._index = ChunkIndex(store.config.shards)
        self._missing = ""
        self.refusal = ""
        self._failure: BaseException | None = None
        self._waited_seconds = 0.0
        self._batches = 0
        self._age_seconds = 0.0
        self._closing = threading.Event()
        self._ready: queue.Queue[tuple[Batch, float]] = queue.Queue(max(prefetch, 1))
        self._thread: threading.Thread | None = None
        if prefetch > 0:
            # The thread does not keep a sampler that nobody has any more.
            weakref.finalize(self, self._closing.set)
            arguments = (weakref.ref(self), self._closing, self._ready)
            self._thread = threading.Thread(target=_make_ahead, args=arguments, name=type(self).__name__, daemon=True)
            self._thread.start()

    def sample(self, timeout_s: float) -> Batch:
        """Return a batch of new, contiguous, writable arrays.

        Args:
            timeout_s: Seconds to wait at most.

        Raises:
            TimeoutError: If there was none in time, saying what is missing.
            RuntimeError: If the background thread failed, or the sampler is closed.
        """
        if self._closing.is_set():
            raise RuntimeError("the sampler is closed")
        began = time.monotonic()
        try:
            batch, made = self._next_ready(timeout_s) if self._thread else self._make_within(timeout_s)
        finally:
            self._waited_seconds += time.monotonic() - began
        self._age_seconds = time.monotonic() - made
        self._batches += 1
        return batch

    def stats(self) -> dict[str, float]:
        """Return what the learner had to wait.

        ``waited_seconds`` in `sample` (all of it in total, time-outs included), ``batches`` returned, ``ready``
        batches, ``age_seconds`` of the last batch when it was returned, ``chunks`` to draw from.
        """
        return {
            "waited_seconds": self._waited_seconds,
            "batches": float(self._batches),
            "ready": float(self._ready.qsize()),
            "age_seconds": self._age_seconds,
            "chunks": float(len(self._index)),
        }

    def close(self) -> None:
        """Stop the background thread and wait for it."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join(_CLOSE_SECONDS)

    def _fetch(self, chunk_ids: list[str]) -> _Found:
        return {chunk_id: (rows, None) for chunk_id, rows in self._store.fetch_states(chunk_ids).items()}

    def _next_ready(self, timeout_s: float) -> tuple[Batch, float]:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                # In short waits, so that a failure of the thread is seen at once.
                return self._ready.get(timeout=min(0.1, max(0.0, deadline - time.monotonic())))
            except queue.Empty:
                if self._failure is not None:
                    raise RuntimeError(f"sampling failed: {self._failure}") from self._failure
                if time.monotonic() >= deadline:
                    raise TimeoutError(f"no batch within {timeout_s:g} s: {self._missing}") from None

    def _make_within(self, timeout_s: float) -> tuple[Batch, float]:
        deadline = time.monotonic() + timeout_s
        while (batch := self._make()) is None:
            if time.monotonic() >= deadline:
                raise TimeoutError(f"no batch within {timeout_s:g} s: {self._missing}")
            time.sleep(_PAUSE_SECONDS)
        return batch, time.monotonic()

    def _make(self) -> Batch | None:
        """Return a batch, or None with the reason in `_missing`."""
        self._missing = f"Redis at {self._store.server} has not answered yet"
        try:
            self._store.refresh(self._index, self._index_name)
            chunks = self._draw()
        except UNAVAILABLE as error:
            self.refusal = outage(error)
            self._missing = f"Redis at {self._store.server} does not answer: {self.refusal}"
            self._closing.wait(_PAUSE_AFTER_ERROR_SECONDS)
            return None
        self.refusal = ""
        if chunks is None:
            what = "chunk with images" if self._index_name == "image_index" else "chunk"
            self._missing = f"the replay of run {self._store.run_id} at {self._store.server} holds no {what} yet"
            return None
        return self._stack([self._piece(*chunk) for chunk in chunks])

    def _draw(self) -> list[_Rows] | None:
        """Draw and read until the batch is full; a chunk that was evicted or refused meanwhile is drawn again."""
        chunks: list[_Rows] = []
        while len(chunks) < self._batch_size:
            held = len(self._index)
            if held == 0:
                return None
            lacking = self._batch_size - len(chunks)
            places = self._rng.choice(held, lacking, replace=held < lacking)
            drawn = [self._index[int(place)] for place in places]
            found = self._fetch(list(dict.fromkeys(drawn)))
            chunks += [found[chunk_id] for chunk_id in drawn if chunk_id in found]
            if len(found) < len(set(drawn)):
                self._store.refresh(self._index, self._index_name)
        return chunks

    def _piece(self, rows: StateRows, images: ImageRows | None) -> _Rows:
        """A chunk, or a piece of it where it is longer; see the class."""
        held = len(rows.reward)
        if held <= self._length:
            return rows, images
        begin = min(max(int(self._rng.integers(1 - self._length, held)), 0), held - self._length)
        part = slice(begin, begin + self._length)
        cut = {name: getattr(rows, name)[part] for name in _ROWWISE}
        if images is not None:
            images = ImageRows(images.image[part], images.state_at_exposure[part])
        return replace(rows, **cut), images

    def _stack(self, chunks: list[_Rows]) -> Batch:
        spec = self._store.spec
        shape = (self._batch_size, self._length)
        batch: Batch = {
            "state": np.zeros((*shape, spec.state_dim), np.float32),
            "action": np.zeros((*shape, spec.action_dim), np.float32),
            "reward": np.zeros(shape, np.float32),
            "is_first": np.zeros(shape, np.bool_),
            "is_last": np.zeros(shape, np.bool_),
            "is_terminal": np.zeros(shape, np.bool_),
            "valid": np.zeros(shape, np.bool_),
            "policy_version": np.array([rows.policy_version for rows, _ in chunks], np.int64),
        }
        if chunks[0][1] is not None:
            batch["image"] = np.empty((*shape, spec.views, *spec.image_shape), np.uint8)
            batch["state_at_exposure"] = np.zeros((*shape, spec.state_dim), np.float32)
        for number, (rows, images) in enumerate(chunks):
            length = len(rows.reward)
            for name in _ROWWISE:
                batch[name][number, :length] = getattr(rows, name)
            batch["valid"][number, :length] = True
            if length < self._length:
                batch["is_first"][number, length] = True
            if images is not None:
                batch["image"][number, :length] = images.image
                batch["image"][number, length:] = 0
                batch["state_at_exposure"][number, :length] = images.state_at_exposure
        return batch


def _make_ahead(
    of: weakref.ref[TeacherSampler], closing: threading.Event, ready: queue.Queue[tuple[Batch, float]]
) -> None:
    """A sampler's thread: makes batches ready until the sampler is closed, or dropped."""
    while not closing.is_set() and (sampler := of()) is not None:
        try:
            batch = sampler._make()
        except Exception as error:  # handed to the thread that samples
            sampler._failure = error
            return
        del sampler
        if batch is None:
            closing.wait(_PAUSE_SECONDS)
            continue
        made = time.monotonic()
        while not closing.is_set():
            try:
                ready.put((batch, made), timeout=0.1)
                break
            except queue.Full:
                continue


class StudentSampler(TeacherSampler):
    """As `TeacherSampler`; draws only from chunks that have images.

    Its batches also hold ``image`` [B,T,K,H,W,C] uint8, and what it shows, ``state_at_exposure`` [B,T,S] float32.
    """

    _index_name: IndexName = "image_index"

    def _fetch(self, chunk_ids: list[str]) -> _Found:
        return dict(self._store.fetch_pairs(chunk_ids))
