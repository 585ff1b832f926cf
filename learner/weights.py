"""Weights on their way from the learner to the actors: one flat float32 array and a version."""

import itertools
from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor, nn


def _tensors(modules: Iterable[nn.Module]) -> list[Tensor]:
    return [tensor for module in modules for tensor in module.state_dict().values()]


@torch.no_grad()
def gather(modules: Iterable[nn.Module]) -> list[Tensor]:
    """All parameters and buffers of `modules`, in order, copied into one float32 vector for each run of one device."""
    return _joined(_tensors(modules))


def _joined(tensors: Iterable[Tensor]) -> list[Tensor]:
    runs = itertools.groupby(tensors, key=lambda x: x.device)
    return [torch.cat([x.detach().float().flatten() for x in run]) for _, run in runs]


def to_host(parts: Iterable[Tensor]) -> np.ndarray:
    """The vectors one after the other as one array [P]; waits for their device."""
    arrays = [part.cpu().numpy() for part in parts]
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def flatten(modules: Iterable[nn.Module]) -> np.ndarray:
    """All parameters and buffers of `modules`, in order, as one float32 array [P]."""
    return to_host(gather(modules))


@torch.no_grad()
def to_arrays(tensors: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """float32 tensors as arrays of their own, in one transfer from each device."""
    flat, arrays, offset = to_host(_joined(tensors.values())), {}, 0
    for name, x in tensors.items():
        arrays[name] = flat[offset : offset + x.numel()].reshape(x.shape)
        offset += x.numel()
    return arrays


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
