"""The CPU's autocast with CUDA's list of what is computed in float32.

CUDA's autocast computes layer norms, exponentials, sums and the like in float32, where the CPU's leaves them in
bfloat16. A function that is handed one of each may run on the CPU and raise on every GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

BFLOAT16 = frozenset(
    (
        *("_convolution", "_scaled_dot_product_flash_attention", "_thnn_fused_gru_cell", "_thnn_fused_lstm_cell"),
        *("addbmm", "addmm", "addmv", "addr", "baddbmm", "bmm", "chain_matmul", "conv1d", "conv2d", "conv3d"),
        *("conv_tbc", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "convolution", "cudnn_convolution"),
        *("cudnn_convolution_transpose", "einsum", "gru_cell", "linalg_multi_dot", "linalg_vecdot", "linear"),
        *("lstm_cell", "matmul", "mm", "mv", "prelu", "rnn_relu_cell", "rnn_tanh_cell"),
        "scaled_dot_product_attention",
    )
)
"""What CUDA's autocast computes in the lower precision, as the CPU's does."""

WIDEST = frozenset(
    (
        *("addcdiv", "addcmul", "atan2", "bilinear", "cross", "dot", "grid_sampler", "index_put", "scatter_add"),
        *("tensordot", "vdot"),
    )
)
"""What it computes in the widest type among the inputs."""


def cuda_autocast_operators() -> frozenset[str]:
    """The operators that CUDA's autocast treats in this version of torch, without their overloads' names."""
    registered = torch._C._dispatch_get_registrations_for_dispatch_key("AutocastCUDA")
    return frozenset(name.removeprefix("aten::").partition(".")[0] for name in registered)


FLOAT32 = cuda_autocast_operators() - BFLOAT16 - WIDEST

_MADE_OF_THEM = {
    "square": "pow",
    "__pow__": "pow",
    "__rpow__": "pow",
    "softmin": "softmax",
    "cross_entropy": "nll_loss",
}
"""Functions of Python that come down to one of these operators."""


class CudaAutocast(TorchFunctionMode):
    """Inside of it and of the CPU's autocast, functions of CUDA's float32 list get float32."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        name = getattr(func, "__name__", "")
        if torch.is_autocast_enabled("cpu") and _MADE_OF_THEM.get(name, name) in FLOAT32:
            args, kwargs = tree_map(_float32, (args, dict(kwargs or {})))
        return func(*args, **(kwargs or {}))


def _float32(x: object) -> object:
    return x.float() if isinstance(x, Tensor) and x.dtype in (torch.bfloat16, torch.float16) else x
