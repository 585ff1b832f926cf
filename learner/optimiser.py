"""Adam with clipped gradients; the one place where optimisers live."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

FINAL_SHARE = 0.1
"""Of the step size, what is left when it has decayed."""


class Optimiser:
    """Adam over the trainable parameters of one module."""

    def __init__(self, module: nn.Module, learning_rate: float, gradient_norm: float) -> None:
        """Makes the optimiser; parameters that are frozen now are left out."""
        self.parameters = [x for x in module.parameters() if x.requires_grad]
        self.gradient_norm = gradient_norm
        self.adam = torch.optim.Adam(self.parameters, lr=learning_rate, eps=1e-6, fused=True)

    def backward(self, loss: Tensor) -> Tensor:
        """Fresh gradients of a scalar loss, clipped; returns their norm before clipping.

        A loss that depends on no parameter (every scale is 0) has gradients of zero.
        """
        assert loss.ndim == 0, loss.shape
        self.adam.zero_grad(set_to_none=True)
        if loss.requires_grad:
            loss.backward()
        else:
            for parameter in self.parameters:
                parameter.grad = torch.zeros_like(parameter)
        return nn.utils.clip_grad_norm_(self.parameters, self.gradient_norm)

    def step(self, learning_rate: float | None = None) -> None:
        """Moves the parameters, from now on with another step size where one is given."""
        if learning_rate is not None:
            self.adam.param_groups[0]["lr"] = learning_rate
        self.adam.step()


def decayed(learning_rate: float, updates: int, decay_updates: int) -> float:
    """The step size after so many updates: falls evenly to `FINAL_SHARE` over `decay_updates`; 0 of them keep it."""
    if decay_updates == 0:
        return learning_rate
    return learning_rate * (1.0 - (1.0 - FINAL_SHARE) * min(updates / decay_updates, 1.0))


def weighted_sum(terms: Mapping[str, Tensor], scales: Mapping[str, float]) -> Tensor:
    """Sum of scalar terms, each by its scale; one whose scale is 0 is left out, so that it costs no backward pass."""
    assert terms.keys() == scales.keys(), (terms.keys(), scales.keys())
    total = torch.zeros(())
    for name, term in terms.items():
        if scales[name] != 0.0:
            total = total + scales[name] * term
    return total


def masked_mean(loss: Tensor, valid: Tensor) -> Tensor:
    """Mean of loss [B, T] over the steps where valid [B, T] is True."""
    assert loss.shape == valid.shape, (loss.shape, valid.shape)
    return (loss * valid).sum() / valid.sum().clamp(min=1)
