"""The counting environment's spec, its streams read back from replay, and whether they are whole."""

from collections import defaultdict

import numpy as np

from replay import Chunk, ReplayStore, StreamSpec
from sim import SimConfig
from sim.counting import decode_count

SIM = SimConfig(image_size=16)
CHUNK_LENGTH = 8


def counting_spec(sim: SimConfig = SIM, chunk_length: int = CHUNK_LENGTH) -> StreamSpec:
    return StreamSpec(
        state_names=("episode_index", "step_in_episode", "step_count"),
        state_low=(0.0,) * 3,
        state_high=(1e6,) * 3,
        image_shape=(sim.image_size, sim.image_size, 3),
        views=sim.views,
        action_dim=3,
        chunk_length=chunk_length,
    )


def read_streams(store: ReplayStore) -> dict[str, list[Chunk]]:
    """All chunks with images, by stream, in order."""
    streams = defaultdict(list)
    for chunk in store.read_pairs(store.image_ids()):
        streams[chunk.meta.stream_id].append(chunk)
    for chunks in streams.values():
        chunks.sort(key=lambda chunk: chunk.meta.first_step)
    return dict(streams)


def joined(chunks: list[Chunk], name: str) -> np.ndarray:
    """One array of all rows of a stream."""
    return np.concatenate([getattr(chunk, name) for chunk in chunks])


def assert_contiguous(chunks: list[Chunk]) -> None:
    """Each chunk begins where the one before ended, the first at 0, and only the first and the last may be short."""
    next_step = 0
    for chunk in chunks:
        assert chunk.meta.first_step == next_step
        next_step += chunk.rows
    assert len({chunk.rows for chunk in chunks[1:-1]}) <= 1


def assert_counted(
    state: np.ndarray, image: np.ndarray | None, reward: np.ndarray, is_first: np.ndarray, is_last: np.ndarray
) -> None:
    """Rows [n] of one uninterrupted environment: each step exactly once, in order, resets where they belong."""
    episode, step, count = state.astype(int).T
    assert count.tolist() == list(range(len(count)))
    assert is_first.tolist() == (step == 0).tolist()
    assert reward.tolist() == step.tolist()
    # An episode is over exactly where the next row begins another; the last row of all may go either way.
    assert is_last[:-1].tolist() == is_first[1:].tolist()
    assert episode.tolist() == (np.cumsum(is_first) - 1).tolist()
    within = ~is_first[1:]
    assert np.all(np.diff(step)[within] == 1)
    if image is not None:
        assert [decode_count(picture) for picture in image] == count.tolist()
