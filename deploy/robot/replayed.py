"""A run's replay as a dataset: whole episodes, state and pictures of the same steps, seed and draw of each.

The replay's rows hold the action that led to them (`replay.schema`), a dataset's rows the action that was chosen
there: row t of a dataset has the observation of the replay's row t and action and reward of its row t + 1, and an
episode's last observation is left out. Episodes whose beginning or end is not held, or of which a chunk has no
pictures, are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.errors import UserError
from deploy.robot.dataset import Columns, DatasetEpisode, DatasetHead, camera_key, require_new, write_dataset
from replay.schema import Chunk, EpisodeMeta, StreamSpec
from replay.store import ReplayStore

_CHUNKS_AT_ONCE = 256
"""Of which the states are read; they are small."""

_MEASURED = "gripper_"
"""What a robot itself would know of the state begins like this."""


@dataclass(frozen=True)
class ReplayedEpisode:
    """T + 1 rows of one stream, from the first of an episode to its last.

    Attributes:
        about: where it comes from.
        parts: chunks and the rows of each.
    """

    about: EpisodeMeta
    parts: tuple[tuple[str, slice], ...]


def write_replay(
    store: ReplayStore, target: Path, *, task: str, fps: int, action_names: Sequence[str], most: int | None
) -> int:
    """Writes a run's replay as a dataset.

    Args:
        store: of the run; may be written to meanwhile.
        target: a new directory.
        task: of the run.
        fps: control steps per second.
        action_names: of the entries of an action.
        most: so many of the newest episodes; None: all.

    Returns:
        Episodes written.

    Raises:
        UserError: `target` exists, no whole episode with pictures is held, or a library is missing.
    """
    require_new(target)
    held = list(whole_episodes(store))
    if not held:
        raise UserError(f"run {store.run_id}: the replay holds no whole episode with pictures")
    spec, measured = store.spec, _measured(store.spec)
    head = DatasetHead(
        task=task,
        fps=fps,
        robot="panda_sim",
        cameras=tuple(camera_key(view) for view in range(spec.views)),
        image_shape=spec.image_shape,
        names={
            "observation.state": [spec.state_names[index] for index in measured],
            "observation.environment_state": spec.state_names,
            "complementary_info.state_at_exposure": spec.state_names,
            "action": action_names,
        },
    )
    chosen = held if most is None else held[-most:]
    return write_dataset(target, head, (read for each in chosen if (read := _read(store, each)) is not None))


def whole_episodes(store: ReplayStore) -> Iterator[ReplayedEpisode]:
    """The whole episodes with pictures that are held, in the order in which they ended; reads no picture."""
    begun: dict[str, _Begun] = {}
    ids = store.image_ids()
    for first in range(0, len(ids), _CHUNKS_AT_ONCE):
        for chunk in store.read_states(ids[first : first + _CHUNKS_AT_ONCE]):
            stream = begun.setdefault(chunk.meta.stream_id, _Begun())
            yield from stream.take(chunk)


class _Begun:
    """What was seen of a stream's newest episode."""

    def __init__(self) -> None:
        self._next_step = -1
        self._about: EpisodeMeta | None = None
        self._parts: list[tuple[str, slice]] = []

    def take(self, chunk: Chunk) -> Iterator[ReplayedEpisode]:
        """Takes in the stream's next chunk; gives the episodes that end in it."""
        if chunk.meta.first_step != self._next_step:
            self._about = None
        self._next_step = chunk.meta.first_step + chunk.rows
        described = {episode.row: episode for episode in chunk.meta.episodes}
        ends = np.flatnonzero(chunk.is_last)
        starts = [0, *(ends + 1)]
        for start, end in zip(starts, [*(ends + 1), chunk.rows], strict=True):
            if start == end:
                continue
            if chunk.is_first[start]:
                self._about, self._parts = described[start], []
            if self._about is None:
                continue
            self._parts.append((chunk.meta.chunk_id, slice(int(start), int(end))))
            if chunk.is_last[end - 1]:
                yield ReplayedEpisode(self._about, tuple(self._parts))
                self._about = None


def _read(store: ReplayStore, episode: ReplayedEpisode) -> DatasetEpisode | None:
    """An episode with its pictures; None if it is gone meanwhile, or too short to have an action."""
    chunks = {chunk.meta.chunk_id: chunk for chunk in store.read_pairs([name for name, _ in episode.parts])}
    if len(chunks) < len(episode.parts):
        return None
    parts = [(chunks[name], rows) for name, rows in episode.parts]

    def rows_of(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(chunk, name)[rows] for chunk, rows in parts])

    state, action = rows_of("state"), rows_of("action")
    count = len(state) - 1
    if count < 1:
        return None
    columns: Columns = {
        "observation.state": state[:-1, _measured(store.spec)],
        "observation.environment_state": state[:-1],
        "complementary_info.state_at_exposure": rows_of("state_at_exposure")[:-1],
        "action": action[1:],
        "next.reward": rows_of("reward")[1:],
        "next.done": np.arange(count) == count - 1,
        "complementary_info.is_intervention": np.zeros(count, bool),
    }
    images = rows_of("image")[:-1]
    about = {
        "seed": episode.about.seed,
        "domain": episode.about.domain,
        "driver": episode.about.driver,
        "randomisation": dict(episode.about.randomisation),
        "terminated": bool(rows_of("is_terminal")[-1]),
        "policy_version": min(chunk.meta.policy_version for chunk, _ in parts),
        "renderer": parts[0][0].meta.renderer,
    }
    return DatasetEpisode(columns, {camera_key(view): images[:, view] for view in range(store.spec.views)}, about)


def _measured(spec: StreamSpec) -> list[int]:
    found = [index for index, name in enumerate(spec.state_names) if name.startswith(_MEASURED)]
    return [index for index in found if "_from_" not in spec.state_names[index]] or list(range(spec.state_dim))
