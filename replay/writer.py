"""Cuts one environment stream into chunks and puts them into the replay, each step exactly once and in order."""

from __future__ import annotations

import time
import uuid
from collections import deque
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from replay.connection import UNAVAILABLE, is_outage
from replay.schema import SCHEMA_VERSION, Chunk, ChunkMeta, EpisodeMeta, Step, StreamSpec, check_name
from replay.store import ReplayStore

_FIRST_PAUSE_SECONDS: Final = 0.05
_LONGEST_PAUSE_SECONDS: Final = 1.0


@dataclass(frozen=True)
class _Row:
    step: Step
    episode: EpisodeMeta
    policy_version: int
    renderer: str


class StreamWriter:
    """Writes one stream.

    A chunk ends when it has ``chunk_length`` rows. Where the spec says how many steps an episode takes, a chunk ends
    with an episode too, unless another whole one still fits in behind it: whatever was cut short, by a crash or at the
    end of a stream, the next chunk begins with an episode again. Where episodes are of any length, most chunks would
    then be padding, so that they are cut without looking at episodes.

    The newest row of an unfinished episode is held back: if the environment crashes, `truncate` can still mark that
    row as the last of its episode, so that the stream ends honestly with a step that happened. Not for several
    threads.

    Attributes:
        first_chunk_rows: The most rows of the first chunk.
        chunks: How many chunks are complete, those that the server has not acknowledged included.
    """

    def __init__(
        self,
        store: ReplayStore,
        spec: StreamSpec,
        *,
        run_id: str,
        stream_id: str,
        actor_id: str,
        first_chunk_rows: int | None = None,
    ) -> None:
        """Begin a stream.

        Args:
            store: The replay.
            spec: The store's spec.
            run_id: The store's run.
            stream_id: Never used before in this run, also not by an earlier incarnation of the actor.
            actor_id: The actor.
            first_chunk_rows: The most rows of the first chunk; None for ``chunk_length``. Streams that begin together,
                each with another number, do not all deliver at the same moments.

        Raises:
            ValueError: If ``first_chunk_rows`` is not possible, or the stream was written before, or by another writer.
            redis.RedisError: If the server does not answer; one of `replay.connection.UNAVAILABLE`.
        """
        check_name("stream_id", stream_id)
        spec.require_equal(store.spec, "the store")
        self._store = store
        self._spec = spec
        self._run_id = run_id
        self._stream_id = stream_id
        self._actor_id = actor_id
        self._complete: deque[list[_Row]] = deque()  # whole chunks, not yet acknowledged by the server
        self._open: list[_Row] = []  # of the chunk that goes on
        self.chunks = 0
        self.first_chunk_rows = self._most = spec.chunk_length if first_chunk_rows is None else first_chunk_rows
        if not 1 <= self._most <= spec.chunk_length:
            raise ValueError(f"first_chunk_rows is {first_chunk_rows}: allowed are 1 to {spec.chunk_length}")
        self._held: _Row | None = None  # the newest row, while its episode goes on
        self._episode: EpisodeMeta | None = None
        self._appended = 0
        self._acknowledged = 0
        self._waited_seconds = 0.0
        store.claim_stream(stream_id, uuid.uuid4().hex)

    def append(self, step: Step, episode: EpisodeMeta | None, *, policy_version: int, renderer: str) -> None:
        """Add the stream's next row, and send what is complete.

        The row is taken before anything is sent: after a ConnectionError it must not be appended again; the next
        call sends what is left.

        Args:
            step: The row; its arrays are kept, so they must not be written to afterwards.
            episode: Its episode at `is_first` (its `row` is filled in here), None in all other rows.
            policy_version: Version of the weights that chose its action.
            renderer: What drew its image.

        Raises:
            ValueError: If the row does not fit the spec or cannot follow the row before.
            ConnectionError: If the server did not answer for ``retry_seconds``, or would not take a chunk for so long
                for a reason that may pass; see `replay.connection.is_outage`.
            RuntimeError: If it refused a chunk for another reason; what holds for a ConnectionError holds here.
        """
        self._check(step, episode)
        if episode is not None:
            self._episode = episode
        assert self._episode is not None
        if self._held is not None:
            self._take(self._held)
        self._held = _Row(step, self._episode, policy_version, renderer)
        self._appended += 1
        if step.is_last:
            self._release()
        self.send()

    def truncate(self) -> None:
        """End the current episode at its newest row, if it has not ended: nothing is known of what came after.

        Raises:
            ConnectionError: As in `append`.
        """
        if self._held is not None:
            self._held = replace(self._held, step=replace(self._held.step, is_last=True, is_terminal=False))
            self._release()
        self.send()

    def flush(self) -> None:
        """End the current episode as `truncate` does and send all rows, the last chunk being a short one.

        Raises:
            ConnectionError: As in `append`.
        """
        self.truncate()
        if self._open:
            self._cut()
        self.send()

    def send(self) -> None:
        """Send the chunks that are complete: those that an earlier call could not.

        Raises:
            ConnectionError: As in `append`.
        """
        while self._complete:
            rows = self._complete[0]
            began = time.monotonic()
            try:
                self._put(self._chunk(rows))
            finally:
                self._waited_seconds += time.monotonic() - began
            self._complete.popleft()
            self._acknowledged += len(rows)

    @property
    def chunk_rows(self) -> int:
        """The most rows of the chunk that goes on, or of the next one."""
        return self._most

    def stats(self) -> dict[str, float]:
        """Return ``appended_rows``, ``acknowledged_rows`` and ``waited_seconds`` (for the server and the encoding)."""
        return {
            "appended_rows": float(self._appended),
            "acknowledged_rows": float(self._acknowledged),
            "waited_seconds": self._waited_seconds,
        }

    def _release(self) -> None:
        assert self._held is not None
        self._take(self._held)
        self._held = None
        self._episode = None

    def _take(self, row: _Row) -> None:
        """Add a row to the open chunk, and close that when it is complete."""
        self._open.append(row)
        rows, episode_rows = len(self._open), self._spec.episode_steps + 1
        ends_with_episode = self._spec.episode_steps > 0 and row.step.is_last
        if rows == self._most or (ends_with_episode and rows + episode_rows > self._spec.chunk_length):
            self._cut()

    def _cut(self) -> None:
        self._complete.append(self._open)
        self._open, self._most = [], self._spec.chunk_length
        self.chunks += 1

    def _check(self, step: Step, episode: EpisodeMeta | None) -> None:
        where = f"row {self._appended} of stream {self._stream_id}"
        if step.is_first != (self._episode is None):
            rule = "an episode begins with it" if self._episode is None else "the episode before it has not ended"
            raise ValueError(f"{where} has is_first {step.is_first}: {rule}")
        if step.is_first != (episode is not None):
            raise ValueError(f"{where} has is_first {step.is_first}: an episode is given with is_first and only then")
        if step.is_terminal and not step.is_last:
            raise ValueError(f"{where} is is_terminal but not is_last")
        shapes = {
            "state": (step.state, self._spec.state_dim),
            "state_at_exposure": (step.state_at_exposure, self._spec.state_dim),
            "action": (step.action, self._spec.action_dim),
        }
        for name, (array, size) in shapes.items():
            if array is not None and (array.shape != (size,) or not np.isfinite(array).all()):
                raise ValueError(f"{name} of {where} is {array!r}: {size} finite numbers are required")
        if not np.isfinite(step.reward):
            raise ValueError(f"reward of {where} is {step.reward}: a finite number is required")
        if (step.image is None) != (step.state_at_exposure is None):
            raise ValueError(f"{where} has only one of image and state_at_exposure: both or neither")
        if step.is_first and (step.action.any() or step.reward != 0):
            raise ValueError(f"{where} is is_first: its action and its reward are 0, nothing led to it")
        image_shape = (self._spec.views, *self._spec.image_shape)
        if step.image is not None and (step.image.shape != image_shape or step.image.dtype != np.uint8):
            raise ValueError(
                f"image of {where} is {step.image.dtype}{list(step.image.shape)}: uint8{list(image_shape)}"
            )

    def _put(self, chunk: Chunk) -> None:
        """Put a chunk, trying again for ``retry_seconds`` when the server does not take it."""
        deadline = time.monotonic() + self._store.config.retry_seconds
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                # The stream is ours alone: "there already" means that only the reply to an earlier try was lost.
                self._store.put(chunk)
                return
            except UNAVAILABLE as error:
                left = deadline - time.monotonic()
                if left <= 0:
                    seconds = self._store.config.retry_seconds
                    kind = ConnectionError if is_outage(error) else RuntimeError
                    raise kind(
                        f"Redis at {self._store.server} took no chunk of stream {self._stream_id} for {seconds:g} s: "
                        f"{error}"
                    ) from error
                time.sleep(min(pause, left))
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _chunk(self, rows: list[_Row]) -> Chunk:
        steps = [row.step for row in rows]
        episodes = [replace(rows[0].episode, row=0)]
        for number, row in enumerate(rows[1:], start=1):
            if row.step.is_first:
                episodes.append(replace(row.episode, row=number))
        meta = ChunkMeta(
            schema_version=SCHEMA_VERSION,
            run_id=self._run_id,
            stream_id=self._stream_id,
            first_step=self._acknowledged,
            policy_version=min(row.policy_version for row in rows),
            renderer=rows[0].renderer,
            actor_id=self._actor_id,
            episodes=tuple(episodes),
        )
        images = [step.image for step in steps if step.image is not None]
        shown = [step.state_at_exposure for step in steps if step.state_at_exposure is not None]
        if images and len(images) != len(steps):
            raise ValueError(f"chunk {meta.chunk_id} has {len(images)} images for {len(steps)} rows: all or none")
        return Chunk(
            state=np.stack([step.state for step in steps]).astype(np.float32, copy=False),
            image=np.stack(images) if images else None,
            state_at_exposure=np.stack(shown).astype(np.float32, copy=False) if images else None,
            action=np.stack([step.action for step in steps]).astype(np.float32, copy=False),
            reward=np.array([step.reward for step in steps], np.float32),
            is_first=np.array([step.is_first for step in steps], np.bool_),
            is_last=np.array([step.is_last for step in steps], np.bool_),
            is_terminal=np.array([step.is_terminal for step in steps], np.bool_),
            meta=meta,
        )
