"""A machine with two GPUs that are not there: tensors without data that say `cuda:0` of themselves.

torch's `FakeTensorMode` computes shapes, types and devices of everything and refuses what mixes devices; CUDA's own
autocast acts on its tensors. What would wait for a GPU (a number read back, a shape that depends on data, a copy to the
CPU) is noted here. What needs a real GPU is stood in for: the guard that selects a device, streams and page-locked
memory, generators of random numbers, and the engine that walks a graph backwards, whose gradients are zeros here.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_GUARDS = "_ZN3c104impl26device_guard_impl_registryE"
_KINDS_OF_DEVICES, _CUDA, _META = 22, 1, 14

WAITS = {
    "aten._local_scalar_dense",
    "aten.nonzero",
    "aten.masked_select",
    "aten._unique2",
    "aten.is_nonzero",
    "aten.equal",
}
"""Operators whose result the CPU must know before it goes on."""


def missing() -> str:
    """Why there can be no such machine here; empty where there can."""
    if torch.cuda.is_available():
        return "this machine has a CUDA device, on which the tests marked for it run"
    if not hasattr(ctypes.CDLL(str(_library())), _GUARDS):
        return f"this build of torch has no {_GUARDS}"
    return ""


def _library() -> Path:
    return Path(torch.__file__).parent / "lib" / "libc10.so"


@contextlib.contextmanager
def fake_cuda() -> Iterator[Waits]:
    """Inside of it `cuda:0` and `cuda:1` exist; gives the list of what would wait for them."""
    guards = (ctypes.c_void_p * _KINDS_OF_DEVICES).in_dll(ctypes.CDLL(str(_library())), _GUARDS)
    before, guards[_CUDA] = guards[_CUDA], guards[_META]  # the one of `meta` selects nothing, which is right here
    waits = Waits()
    stood_in = (
        mock.patch("torch.cuda.is_available", lambda: True),
        mock.patch("torch.cuda.device_count", lambda: 2),
        mock.patch("torch.cuda.is_bf16_supported", lambda: True),
        mock.patch("torch.cuda.amp.common.amp_definitely_not_available", lambda: False),
        mock.patch("torch.cuda.is_current_stream_capturing", lambda: False),
        mock.patch("torch.cuda.synchronize", lambda device=None: None),
        mock.patch("torch.Tensor.backward", _zero_gradients),
        mock.patch("torch.nn.Module._apply", _converted),
        mock.patch.object(FakeTensorMode, "__deepcopy__", lambda self, memo: self, create=True),
        mock.patch("torch.Tensor.numpy", lambda self: np.zeros(tuple(self.shape), str(self.dtype).partition(".")[2])),
        mock.patch.object(FakeTensor, "tolist", lambda self: np.zeros(tuple(self.shape)).tolist()),
        mock.patch("learner.learner.make_generator", _FakeGenerator),
        mock.patch("learner.acting.make_generator", _FakeGenerator),
        mock.patch("learner.learner.Lane", _FakeLane),
        mock.patch("learner.staging.page_locked", torch.empty_like),
    )
    logging.getLogger("torch._subclasses.fake_tensor").setLevel(logging.CRITICAL)  # tells each error a second time
    try:
        with contextlib.ExitStack() as stack:
            for patch in stood_in:
                stack.enter_context(patch)
            stack.enter_context(_Mode())
            stack.enter_context(waits)
            yield waits
    finally:
        guards[_CUDA] = before


class _Mode(FakeTensorMode):
    """Without the real numbers that it keeps beside tensors of one element, and would send to the device."""

    def may_turn_const(self, t: Tensor) -> bool:
        return False


class Waits(TorchDispatchMode):
    """Notes every operator for which the CPU would wait for a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.on_any_device: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: object, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = str(func.name()).replace("::", ".").split(".", 2)
        on_cuda = any(isinstance(x, Tensor) and x.device.type == "cuda" for x in tree_leaves((args, kwargs)))
        if f"{name[0]}.{name[1]}" in WAITS:
            self.on_any_device.append(func.name())
            if on_cuda:
                self.seen.append(func.name())
        if func.name().startswith("aten::_fused_adam_"):  # which torch cannot run without data
            devices = {x.device for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)}
            assert len(devices) == 1, f"Adam is given tensors on {devices}"
            return None
        result = func(*args, **(kwargs or {}))
        if on_cuda and any(isinstance(x, Tensor) and x.device.type == "cpu" for x in tree_leaves(result)):
            self.seen.append(f"{func.name()} to the CPU")
        return result


class _FakeLane:
    """Stands for `learner.graphs.Lane`: there are no streams."""

    asynchronous = True

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def entered(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def follow(self, other: object) -> None:
        pass

    def event(self) -> _FakeLane:
        return self

    def record(self) -> None:
        pass

    def synchronize(self) -> None:
        pass


class _FakeGenerator(torch.Generator):
    """Stands for a generator on a GPU, whose state has 16 bytes."""

    def __new__(cls, device: torch.device, seed: int) -> _FakeGenerator:
        return super().__new__(cls)

    def __init__(self, device: torch.device, seed: int) -> None:
        super().__init__()
        self.seeds = [seed]

    def manual_seed(self, seed: int) -> _FakeGenerator:
        self.seeds.append(seed)
        return self

    def get_state(self) -> Tensor:
        return torch.zeros(16, dtype=torch.uint8)

    def set_state(self, state: Tensor) -> _FakeGenerator:
        assert state.shape == (16,)
        return self


def _converted(module: nn.Module, function: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
    """Stands for `Module._apply`, which swaps tensors in place and cannot swap these."""
    for child in module.children():
        _converted(child, function)
    for name, parameter in module._parameters.items():
        if parameter is not None:
            module._parameters[name] = nn.Parameter(function(parameter.detach()), parameter.requires_grad)
    for name, buffer in module._buffers.items():
        module._buffers[name] = None if buffer is None else function(buffer)
    return module


def _zero_gradients(loss: Tensor) -> None:
    """Stands for `Tensor.backward`: gradients of zero for every parameter that the loss depends on."""
    seen, waiting = set(), [loss.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            node.variable.grad = torch.zeros_like(node.variable)
        waiting += [following for following, _ in node.next_functions]
