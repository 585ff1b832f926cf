"""Weights on their way from the learner to the actors: one flat float32 array and a version."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn


def _tensors(modules: Iterable[nn.Module]) -> list[Tensor]:
    return [tensor for module in modules for tensor in module.state_dict().values()]


@torch.no_grad()
def flatten(modules: Iterable[nn.Module]) -> np.ndarray:
    """All parameters and buffers of `modules`, in order, as one float32 array [P]."""
    return torch.cat([x.detach().float().flatten().cpu() for x in _tensors(modules)]).numpy()


@torch.no_grad()
def load_flat(modules: Iterable[nn.Module], flat: np.ndarray) -> None:
    """Copies an array made by `flatten` into modules of the same structure.

    Args:
        modules: in the order in which they were flattened.
        flat: [P] float32; may be read-only (arrays out of Ray's object store are).

    Raises:
        ValueError: the array has another length than the modules.
    """
    tensors = _tensors(modules)
    expected = sum(x.numel() for x in tensors)
    if flat.shape != (expected,):
        raise ValueError(f"weights of shape {flat.shape} do not fit a model of {expected} values")
    source = torch.from_numpy(flat if flat.flags.writeable else flat.copy())
    offset = 0
    for x in tensors:
        x.copy_(source[offset : offset + x.numel()].view_as(x))
        offset += x.numel()
