"""A CUDA graph's stand-in on the CPU: every operation of an update is noted once, and repeated on the same memory.

As in a graph, no line of Python runs in a replay: a number that Python had read or counted stays what it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Tape(TorchDispatchMode):
    """Notes what is done inside of it, backward passes and steps of optimisers too."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: list[tuple[Any, tuple[Any, ...], dict[str, Any], object]] = []

    def __torch_dispatch__(
        self, func: Any, types: object, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        self._calls.append((func, args, dict(kwargs or {}), result))
        return result

    @torch.no_grad()
    def replay(self) -> None:
        """Does it again; what was made then is made again in its place."""
        for func, args, kwargs, result in self._calls:
            for before, now in zip(tree_leaves(result), tree_leaves(func(*args, **kwargs)), strict=True):
                if (
                    isinstance(before, Tensor)
                    and before.untyped_storage().data_ptr() != now.untyped_storage().data_ptr()
                ):
                    before.copy_(now)
