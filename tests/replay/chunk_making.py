"""Small chunks for the replay's tests: 5 rows, 3 states, 2 actions, images of 4 x 6 pixels."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

from replay import SCHEMA_VERSION, Chunk, ChunkMeta, EpisodeMeta, StreamSpec

RUN = "run"
SPEC = StreamSpec(
    state_names=("gripper_x_m", "gripper_y_m", "speed_m_per_s"),
    state_low=(-1.0, -1.0, 0.0),
    state_high=(1.0, 1.0, 2.5),
    image_shape=(4, 6, 3),
    views=2,
    action_dim=2,
    chunk_length=5,
)


def make_chunk(
    first_step: int = 0,
    *,
    rows: int = 5,
    stream_id: str = "a.0.0",
    run_id: str = RUN,
    images: bool = True,
    is_first: tuple[int, ...] = (0,),
    is_last: tuple[int, ...] = (),
    policy_version: int = 0,
    spec: StreamSpec = SPEC,
) -> Chunk:
    """A chunk of random content that follows from its name; state[0] counts the rows of its stream."""
    rng = np.random.default_rng([zlib.crc32(stream_id.encode()), first_step])
    state = rng.normal(size=(rows, spec.state_dim)).astype(np.float32)
    state[:, 0] = np.arange(first_step, first_step + rows)
    place = np.arange(rows)
    meta = ChunkMeta(
        schema_version=SCHEMA_VERSION,
        run_id=run_id,
        stream_id=stream_id,
        first_step=first_step,
        policy_version=policy_version,
        renderer="tiny",
        actor_id="a",
        episodes=(EpisodeMeta(0, 7, "train", "random", {"table_hue": 0.25, "lights": [1, 2]}),),
    )
    seen = rng.integers(0, 256, (rows, spec.views, *spec.image_shape), dtype=np.uint8)
    return Chunk(
        state=state,
        image=seen if images else None,
        state_at_exposure=state - np.float32(0.25) if images else None,
        action=rng.normal(size=(rows, spec.action_dim)).astype(np.float32),
        reward=rng.normal(size=rows).astype(np.float32),
        is_first=np.isin(place, is_first),
        is_last=np.isin(place, is_last),
        is_terminal=np.zeros(rows, np.bool_),
        meta=meta,
    )


def assert_same_chunk(one: Chunk, other: Chunk, *, images: bool = True) -> None:
    """Equal in every array, its dtype included, and in the metadata."""
    names = ["state", "action", "reward", "is_first", "is_last", "is_terminal"]
    for name in [*names, "image", "state_at_exposure"] if images else names:
        expected: Any = getattr(one, name)
        found: Any = getattr(other, name)
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape), name
        np.testing.assert_array_equal(found, expected, err_msg=name)
    assert other.meta == one.meta
