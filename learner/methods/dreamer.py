"""Dreamer on images: the teacher's world model and behaviour, with an image for the state, and nobody to follow.

    image -> CNN -> RSSM -> image (as Dreamer does), or the privileged state; reward; continue ──> policy in imagination

Methods: `dreamer_dr` in randomised worlds, `dreamer_no_dr` in worlds of one look, `dreamer_state_recon` in randomised
ones with the state rebuilt. They have the settings of the teacher, `learner.teacher` and `learner.behaviour`, and the
channels of `learner.student`. Their images are not shifted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from learner.acting import ActingPolicy, Carry
from learner.behaviour import Policy
from learner.config import LearnerConfig
from learner.distributions import gumbel
from learner.frames import by_view
from learner.methods.part import IMAGES, Ground, Part, TensorBatch
from learner.methods.teaching import WorldModelPart
from learner.rssm import Latent
from learner.tally import Metrics
from learner.teacher import WorldModel
from replay.schema import StreamSpec

REBUILDS_STATE = frozenset({"dreamer_state_recon"})
"""Methods whose model rebuilds the state; the others' rebuilds the image."""


def model_of(spec: StreamSpec, config: LearnerConfig) -> WorldModel:
    """The untrained world model of the config's method."""
    return WorldModel(spec, config, sees="image", rebuilds="state" if config.method in REBUILDS_STATE else "image")


class DreamerPart(WorldModelPart[WorldModel]):
    """World model of images, policy and critic."""

    def __init__(self, ground: Ground) -> None:
        """Makes them untrained."""
        super().__init__("dreamer", ground, model_of(ground.spec, ground.config), "model")
        looks = self.model.rebuilds == "state" or self.model.proprioception.size > 0
        self.reads = tuple(name for name in IMAGES if name != "state" or looks)

    def update(self, batch: TensorBatch) -> Metrics:
        """One update; each view is a sequence of its own."""
        return super().update(by_view(batch))


def build(ground: Ground) -> Sequence[Part]:
    """See `learner.methods.part.Build`."""
    return (DreamerPart(ground),)


class DreamerPolicy(ActingPolicy):
    """The policy on the latent of a world model of images."""

    def __init__(self, spec: StreamSpec, config: LearnerConfig, device: str = "cpu", seed: int = 0) -> None:
        """See `ActingPolicy`."""
        super().__init__(spec, config, device, seed)
        model, policy = self.networks["model"], self.networks["policy"]
        assert isinstance(model, WorldModel) and isinstance(policy, Policy)
        self.model, self.policy = model, policy

    @staticmethod
    def make(spec: StreamSpec, config: LearnerConfig) -> dict[str, nn.Module]:
        """See `ActingPolicy`."""
        model = model_of(spec, config)
        return {"model": model, "policy": Policy(model.rssm.feat_size, spec.action_dim, config)}

    def initial(self, count: int) -> Carry:
        """See `ActingPolicy`."""
        return Carry(self.model.rssm.initial(count), torch.zeros(count, self.spec.action_dim, device=self.device))

    @torch.no_grad()
    def step(
        self,
        carry: Any,
        state: np.ndarray,
        image: np.ndarray | None,
        is_first: np.ndarray,
        from_image: np.ndarray,
        explore: bool,
    ) -> tuple[np.ndarray, Carry]:
        """See `ActingPolicy`; rows that are driven at random get actions of 0."""
        rows = np.flatnonzero(from_image)
        action = torch.zeros(len(from_image), self.spec.action_dim, device=self.device)
        if not len(rows):
            return action.cpu().numpy(), Carry(carry.latent, action)
        if image is None:
            raise ValueError(f"method {self.method.name} was asked to act without an image")
        driven = torch.as_tensor(rows).to(self.device)
        first = torch.as_tensor(is_first).to(self.device)[driven]
        before = Latent(carry.latent.deter[driven], carry.latent.stoch[driven])
        last = carry.action[driven] * (~first)[:, None]
        embed = self._embed(image[rows], state[rows])
        noise = gumbel(tuple(before.stoch.shape), self.device, self.generator) if explore else None
        latent = self.model.rssm.observe_step(before, embed, last, first, noise)
        mean, deviation = self.policy(latent.feat)
        if explore:
            mean = mean + deviation * torch.randn(mean.shape, device=self.device, generator=self.generator)
        action[driven] = mean.clamp(-1.0, 1.0)
        after = Latent(_put(carry.latent.deter, driven, latent.deter), _put(carry.latent.stoch, driven, latent.stoch))
        return action.cpu().numpy(), Carry(after, action)

    @torch.no_grad()
    def imagined_states(
        self, state: np.ndarray, image: np.ndarray | None, action: np.ndarray, context: int
    ) -> np.ndarray:
        """See `ActingPolicy`; only a model that rebuilds the state can tell it."""
        if self.model.rebuilds != "state" or image is None:
            return super().imagined_states(state, image, action, context)
        latent = self.model.rssm.initial(1)
        actions = torch.as_tensor(np.concatenate((np.zeros_like(action[:1]), action))).to(self.device)
        states = []
        for t in range(len(state)):
            if t < context:
                embed = self._embed(image[t : t + 1], state[t : t + 1])
                first = torch.full((1,), t == 0, device=self.device)
                latent = self.model.rssm.observe_step(latent, embed, actions[t : t + 1], first, None)
            else:
                latent, _ = self.model.rssm.imagine(latent, actions[t : t + 1], None)
            states.append(self.model.denormalise(self.model.decoder(latent.feat)))
        return torch.cat(states).cpu().numpy()

    def _embed(self, image: np.ndarray, state: np.ndarray) -> Tensor:
        return self.model.embed_image(*(torch.as_tensor(x).to(self.device) for x in (image, state)))


def _put(x: Tensor, rows: Tensor, values: Tensor) -> Tensor:
    """A copy of x [N, ...] with values [M, ...] in its rows [M]."""
    return x.index_copy(0, rows, values.to(x.dtype))


acting = DreamerPolicy
