"""What a robot measures of itself, and so knows beside the image: some numbers of the state (`learner.proprioception`).

A camera's place is never known to the centimetre, and no single image tells a speed; an arm knows both of its gripper.
The numbers are of now, as the state is, where an image may be late.

Shapes: S_dim state, P measured, E embed.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from learner.config import LearnerConfig
from learner.networks import normalised
from replay.schema import StreamSpec


class Proprioception(nn.Module):
    """Takes what is measured out of states, and puts it beside what is seen. It has no weights."""

    columns: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, spec: StreamSpec, config: LearnerConfig) -> None:
        """Finds the numbers in the states of `spec`.

        Raises:
            ValueError: there is no such number.
        """
        super().__init__()
        columns = spec.columns(config.proprioception)
        self.names = tuple(spec.state_names[at] for at in columns)
        self.size = len(columns)
        bounds = {"low": spec.state_low, "high": spec.state_high}
        self.register_buffer("columns", torch.tensor(columns, dtype=torch.int64), persistent=False)
        for name, bound in bounds.items():
            values = torch.tensor([bound[at] for at in columns], dtype=torch.float32)
            self.register_buffer(name, values, persistent=False)

    def of(self, state: Tensor) -> Tensor:
        """States [..., S_dim] in physical units to what is measured of them [..., P]; nothing else is looked at."""
        return state.index_select(-1, self.columns)

    def scaled(self, measured: Tensor) -> Tensor:
        """[..., P] in physical units to [-1, 1] between the state's bounds, float32."""
        return normalised(measured, self.low, self.high)

    def beside(self, embed: Tensor, measured: Tensor) -> Tensor:
        """Embeddings [..., E] and what is measured [..., P] in physical units to [..., E + P]."""
        return torch.cat((embed, self.scaled(measured).to(embed.dtype)), dim=-1) if self.size else embed

    def known(self, state: Tensor, measured: Tensor) -> Tensor:
        """Normalised states [..., S_dim] with what is measured [..., P], in physical units, in its place."""
        return state.index_copy(-1, self.columns, self.scaled(measured).to(state.dtype)) if self.size else state
