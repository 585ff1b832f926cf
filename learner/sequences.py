"""Chunks cut into shorter sequences: fewer steps one after the other, more of them side by side.

Shapes: B chunks, T rows of a chunk, L rows of a sequence, N = ceil(T / L) sequences of a chunk.
"""

import torch
from torch import Tensor

ROWWISE = ("state", "action", "reward", "is_first", "is_last", "is_terminal", "valid")
"""What a batch holds per row; the rest is per chunk."""


def cut(batch: dict[str, Tensor], length: int) -> dict[str, Tensor]:
    """Cuts every chunk of a teacher's batch.

    Args:
        batch: as `replay.sampler.TeacherSampler` gives it, [B, T, ...] or, per chunk, [B].
        length: L; 0 leaves the batch as it is.

    Returns:
        The same rows as [B * N, L, ...]. The last sequence of a chunk is padded as chunks are: zeros that are not
        `valid`, the first of them `is_first`. What is per chunk is left as it was.
    """
    rows = batch["valid"].shape[1]
    if length == 0 or length >= rows:
        return batch
    missing = -rows % length
    pieces = {}
    for name, whole in batch.items():
        if name not in ROWWISE:
            pieces[name] = whole
            continue
        padding = whole.new_zeros((whole.shape[0], missing, *whole.shape[2:]))
        if name == "is_first" and missing:
            padding[:, 0] = True
        pieces[name] = torch.cat((whole, padding), dim=1).reshape(-1, length, *whole.shape[2:])
    return pieces
