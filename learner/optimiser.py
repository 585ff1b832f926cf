"""Adam with clipped gradients; the one place where optimisers live."""

import torch
from torch import Tensor, nn


class Optimiser:
    """Adam over the trainable parameters of one module."""

    def __init__(self, module: nn.Module, learning_rate: float, gradient_norm: float) -> None:
        """Makes the optimiser; parameters that are frozen now are left out."""
        self.parameters = [x for x in module.parameters() if x.requires_grad]
        self.gradient_norm = gradient_norm
        self.adam = torch.optim.Adam(self.parameters, lr=learning_rate, eps=1e-6, fused=True)

    def backward(self, loss: Tensor) -> Tensor:
        """Fresh gradients of a scalar loss, clipped; returns their norm before clipping."""
        assert loss.ndim == 0, loss.shape
        self.adam.zero_grad(set_to_none=True)
        loss.backward()
        return nn.utils.clip_grad_norm_(self.parameters, self.gradient_norm)

    def step(self) -> None:
        """Moves the parameters."""
        self.adam.step()


def masked_mean(loss: Tensor, valid: Tensor) -> Tensor:
    """Mean of loss [B, T] over the steps where valid [B, T] is True."""
    assert loss.shape == valid.shape, (loss.shape, valid.shape)
    return (loss * valid).sum() / valid.sum().clamp(min=1)
