"""What an update does around its losses: their weighted sum, and the size of its step."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

FINAL_SHARE = 0.1
"""Of the step size, what is left when it has decayed."""


def decayed(learning_rate: float, updates: Tensor, decay_updates: int) -> Tensor:
    """The step size after so many updates, a scalar: falls evenly to `FINAL_SHARE` over `decay_updates`, then stays."""
    return learning_rate * (1.0 - (1.0 - FINAL_SHARE) * (updates / decay_updates).clamp(max=1.0))


def weighted_sum(terms: Mapping[str, Tensor], scales: Mapping[str, float]) -> Tensor:
    """Sum of scalar terms, each by its scale; one whose scale is 0 is left out, so that it costs no backward pass."""
    assert terms.keys() == scales.keys(), (terms.keys(), scales.keys())
    total = torch.zeros((), device=next(iter(terms.values())).device)
    for name, term in terms.items():
        if scales[name] != 0.0:
            total = total + scales[name] * term
    return total
