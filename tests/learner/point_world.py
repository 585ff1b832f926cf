"""A world whose answers are known: a point on a line, seen as a white stripe, worth its position at every step.

position' = clip(position + 0.2 action, -1, 1)        reward = position'        best: always to the right
"""

from __future__ import annotations

import numpy as np

from replay import SCHEMA_VERSION, Chunk, ChunkMeta, EpisodeMeta, ReplayStore, StreamSpec

STEP = 0.2
SIDE = 16
SPEC = StreamSpec(
    state_names=("position_m",),
    state_low=(-1.0,),
    state_high=(1.0,),
    image_shape=(SIDE, SIDE, 3),
    views=1,
    action_dim=1,
    chunk_length=8,
)


def moved(position: np.ndarray, action: np.ndarray) -> np.ndarray:
    """[N] positions and [N] actions to the next positions."""
    return np.clip(position + STEP * action, -1.0, 1.0).astype(np.float32)


def seen(position: np.ndarray) -> np.ndarray:
    """[...] positions to [..., H, W, C] uint8: a bright column, five pixels wide, where the point is."""
    column = (position[..., None] + 1.0) / 2.0 * (SIDE - 1)
    brightness = np.clip(2.5 - np.abs(np.arange(SIDE) - column), 0.0, 1.0)
    image = np.broadcast_to(brightness[..., None, :, None], (*position.shape, SIDE, SIDE, 3))
    return (255 * image).astype(np.uint8)


def random_batch(rng: np.random.Generator, chunks: int, *, image: bool) -> dict[str, np.ndarray]:
    """Episodes of random driving, one a chunk, from random places."""
    shape = (chunks, SPEC.chunk_length)
    action = rng.uniform(-1.0, 1.0, shape).astype(np.float32)
    action[:, 0] = 0.0
    position = np.zeros(shape, np.float32)
    position[:, 0] = rng.uniform(-1.0, 1.0, chunks)
    for t in range(1, SPEC.chunk_length):
        position[:, t] = moved(position[:, t - 1], action[:, t])
    is_first = np.zeros(shape, np.bool_)
    is_first[:, 0] = True
    batch = {
        "state": position[..., None],
        "action": action[..., None],
        "reward": np.where(is_first, 0.0, position).astype(np.float32),
        "is_first": is_first,
        "is_last": is_first[:, ::-1].copy(),
        "is_terminal": np.zeros(shape, np.bool_),
        "valid": np.ones(shape, np.bool_),
        "policy_version": np.zeros(chunks, np.int64),
    }
    if image:
        batch["image"] = seen(position)[:, :, None]
        batch["state_at_exposure"] = batch["state"]
    return batch


def fill(store: ReplayStore, chunks: int, last_rows: int = SPEC.chunk_length) -> None:
    """One stream of `chunks` chunks, the last of which has `last_rows` rows."""
    batch = random_batch(np.random.default_rng(0), chunks, image=True)
    for k in range(chunks):
        rows = slice(0, SPEC.chunk_length if k < chunks - 1 else last_rows)
        names = ("state", "image", "state_at_exposure", "action", "reward", "is_first", "is_last", "is_terminal")
        meta = ChunkMeta(
            schema_version=SCHEMA_VERSION,
            run_id=store.run_id,
            stream_id="a.0.0",
            first_step=k * SPEC.chunk_length,
            policy_version=1,
            renderer="numpy",
            actor_id="a",
            episodes=(EpisodeMeta(0, k, "train", "random", {}),),
        )
        assert store.put(Chunk(**{name: batch[name][k, rows] for name in names}, meta=meta))
