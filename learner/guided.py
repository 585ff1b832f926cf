"""A student's RSSM that begins where reading the state off each image ends.

    image -> embed ─┬─> state, read off it ─> the teacher's encoder ─> the teacher's posterior of h ──┐
                    └────────────────────────────────────────────────> its own posterior of h ────────┴─> + ─> z

Encoder and posterior of the teacher are frozen copies. What its own adds to their logits begins at zero, so that the
student is at first the teacher on what was read (method `state_regression`), and learning can but add to that: how far
what is read is to be trusted, and what it was before something hid it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from learner.config import RSSMConfig
from learner.networks import MLP, copy_parameters, frozen_parameters
from learner.rssm import RSSM
from learner.teacher import Teacher


class GuidedRSSM(RSSM):
    """See the module's docstring; it takes an image's embedding and the state read off it, [..., E + S_dim]."""

    def __init__(self, config: RSSMConfig, embed: int, action: int, state: int) -> None:
        """Makes a model for embeddings of `embed` units, actions of `action` and states of `state` dimensions."""
        super().__init__(config, embed, action)
        self.widths = embed, state
        stoch = config.groups * config.classes
        self.guide = nn.ModuleDict(
            {
                "encoder": MLP(state, config.hidden, config.hidden),
                "post_deter": nn.Linear(config.deter, config.hidden, bias=False),
                "post_embed": nn.Linear(config.hidden, config.hidden, bias=False),
                "post_norm": nn.LayerNorm(config.hidden),
                "post_out": nn.Linear(config.hidden, stoch),
            }
        )
        frozen_parameters(self.guide)
        nn.init.zeros_(self.post_out.weight)
        nn.init.zeros_(self.post_out.bias)

    def copy_guide(self, teacher: Teacher) -> None:
        """Takes over the teacher's encoder and posterior."""
        copy_parameters(teacher.encoder, self.guide["encoder"])
        for name in self.guide.keys() - {"encoder"}:
            copy_parameters(getattr(teacher.rssm, name), self.guide[name])

    def project(self, embed: Tensor) -> Tensor:
        """See `RSSM.project`: [..., E + S_dim] to [..., 2 * hidden]."""
        image, read = embed.split(self.widths, dim=-1)
        guiding: Tensor = self.guide["post_embed"](self.guide["encoder"](read))
        return torch.cat((self.post_embed(image).to(guiding.dtype), guiding), dim=-1)

    def post(self, deter: Tensor, embed_in: Tensor) -> Tensor:
        """See `RSSM.post`."""
        own, guiding = embed_in.chunk(2, dim=-1)
        guide = self.guide
        told = guide["post_out"](F.silu(guide["post_norm"](guide["post_deter"](deter) + guiding)))
        added = self.post_out(F.silu(self.post_norm(self.post_deter(deter) + own)))
        return self.log_probs(told + added)
