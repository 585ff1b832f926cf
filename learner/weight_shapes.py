"""Whether a file of weights is of the networks that it is to be read into, by its header alone.

Sizes may come from a file that anybody wrote. Nothing is built from them before the weights are seen to have them, so
that no network is larger than what lies on disk.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from learner.config import LearnerConfig
from learner.methods import METHODS, home
from replay.schema import StreamSpec

Shapes = dict[str, tuple[int, ...]]

_TYPE = "F32"


def acting_shapes(spec: StreamSpec, config: LearnerConfig) -> Shapes:
    """The weights of the networks that act, named as in a checkpoint; takes no memory, whatever their sizes."""
    with torch.device("meta"):
        modules: Mapping[str, nn.Module] = home(METHODS[config.method]).acting.make(spec, config)
    return {
        f"{name}/{key}": tuple(tensor.shape)
        for name, module in modules.items()
        for key, tensor in module.state_dict().items()
    }


def require_shapes(file: Path, expected: Mapping[str, tuple[int, ...]]) -> None:
    """Refuses a file that does not hold these matrices and kernels; vectors, which follow from them, may have changed.

    Raises:
        ValueError: naming the file and the first difference.
    """
    try:
        with safe_open(file, framework="numpy") as opened:
            found = {key: opened.get_slice(key) for key in opened.keys()}  # noqa: SIM118 - it is no mapping
            shapes = {key: tuple(entry.get_shape()) for key, entry in found.items()}
            types = {key: entry.get_dtype() for key, entry in found.items()}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{file}: is no file of weights: {error}") from error
    for key, kind in types.items():
        if kind != _TYPE:
            raise ValueError(f"{file}: {key} is of type {kind}; allowed is {_TYPE}")
    for key, shape in expected.items():
        if len(shape) > 1 and shapes.get(key) != shape:
            has = f"has {key} of shape {shapes[key]}" if key in shapes else f"has no {key}"
            raise ValueError(f"{file}: {has}; its settings ask for {shape}")
