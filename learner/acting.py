"""Acting with the trained networks: what every method's policy offers, and what most are: a policy on a latent.

A method's module has `acting`, a class below `ActingPolicy`; `acting_policy` makes the one of a config's method.

Shapes: N environments, S_dim state, H W C image, A action.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from learner.behaviour import Policy
from learner.config import LearnerConfig
from learner.devices import make_generator
from learner.distributions import gumbel
from learner.methods import METHODS, Sees, home
from learner.methods.part import Progress
from learner.rssm import RSSM, Latent
from learner.teacher import Teacher
from learner.weights import load_flat
from replay.schema import StreamSpec


class ActingPolicy(ABC):
    """The networks that an actor or an evaluation needs, with their recurrent state kept by the caller.

    Attributes:
        networks: what acts, by the names of `Method.acts`, in that order.
        progress: updates that each part's weights have had, by the part's name.
        version: of the weights in use, 0 before there are any.
    """

    def __init__(self, spec: StreamSpec, config: LearnerConfig, device: str = "cpu", seed: int = 0) -> None:
        """Makes untrained networks of version 0."""
        self.spec, self.config, self.method = spec, config, METHODS[config.method]
        self.device = torch.device(device)
        made = self.make(spec, config)
        self.networks = {name: made[name].to(self.device) for name in self.method.acts}
        self.progress = {part.name: Progress() for part in self.method.parts}
        self.version = 0
        self.generator = make_generator(self.device, seed)

    @staticmethod
    @abstractmethod
    def make(spec: StreamSpec, config: LearnerConfig) -> Mapping[str, nn.Module]:
        """Untrained networks by the names of `Method.acts`, on torch's present device."""

    @abstractmethod
    def initial(self, count: int) -> Any:
        """The carry of `count` environments before their first observation: a tuple of tensors [N, ...], or of such."""

    @abstractmethod
    def step(
        self,
        carry: Any,
        state: np.ndarray,
        image: np.ndarray | None,
        is_first: np.ndarray,
        from_image: np.ndarray,
        explore: bool,
    ) -> tuple[np.ndarray, Any]:
        """One action for every environment.

        Args:
            carry: of the step before.
            state: [N, S_dim] float32.
            image: [N, H, W, C] uint8; may be None when no row is driven from its image.
            is_first: [N] bool, environments whose episode begins here.
            from_image: [N] bool, environments driven from images (constant within an episode), of whose state nothing
                is looked at but what a robot measures (`learner.proprioception`); the others are driven from state, or
                at random, and what is given for those is not used.
            explore: draw the action, and z where there is one; otherwise take z's probabilities and the action's mean.

        Returns:
            Actions [N, A] float32 in [-1, 1], and the next carry.

        Raises:
            ValueError: a row is to be driven from what is not there.
        """

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        """What travels, in order."""
        return *self.networks.values(), *self.progress.values()

    def driver(self, sees: Sees) -> str | None:
        """The name of who may drive from it with the present weights; None where nobody may, yet or ever."""
        found = self.method.driver(sees)
        if found is None or self.version == 0:
            return None
        follows = found.name in {part.name for part in self.method.following}
        if follows and float(self.progress[found.name].updates) < self.config.student.warm_up_updates:
            return None
        return found.name

    def load(self, flat: np.ndarray, version: int) -> None:
        """Takes weights made by the learner's `publish`."""
        load_flat(self.modules, flat)
        self.version = version

    def merged(self, before: Any, after: Any, moved: np.ndarray) -> Any:
        """The carry of environments of which only some took a step.

        Args:
            before: the step.
            after: the step.
            moved: [N] bool; the others keep what they had.
        """
        return _merged(before, after, torch.as_tensor(moved, device=self.device))

    def imagined_states(
        self, state: np.ndarray, image: np.ndarray | None, action: np.ndarray, context: int
    ) -> np.ndarray:
        """What the driver's model makes of an episode that it sees for `context` steps and then imagines.

        Args:
            state: [T, S_dim], what happened.
            image: [T, H, W, C] uint8: the driver from images looks on; None: the one from state does.
            action: [T - 1, A], what was done.
            context: observed steps, 1 to T - 1.

        Returns:
            [T, S_dim] float32 in physical units.

        Raises:
            ValueError: the driver does not imagine (`learner.methods.method.Driver`).
        """
        raise ValueError(f"method {self.method.name} has no model that imagines states")


def acting_policy(spec: StreamSpec, config: LearnerConfig, device: str = "cpu", seed: int = 0) -> ActingPolicy:
    """The untrained policy of the config's method."""
    made: ActingPolicy = home(METHODS[config.method]).acting(spec, config, device, seed)
    return made


def _merged(before: Any, after: Any, moved: Tensor) -> Any:
    if isinstance(before, Tensor):
        return torch.where(moved.reshape(-1, *(1 for _ in before.shape[1:])), after, before)
    return type(before)(*(_merged(a, b, moved) for a, b in zip(before, after, strict=True)))


class Carry(NamedTuple):
    """What acting on a latent remembers of each environment: the latent, and the last action."""

    latent: Latent
    action: Tensor


class LatentPolicy(ActingPolicy):
    """The teacher's policy on a latent: the teacher's own, filtered from states, or one filtered from images.

    What filters images is `seen_in`, a subclass's.
    """

    def __init__(self, spec: StreamSpec, config: LearnerConfig, device: str = "cpu", seed: int = 0) -> None:
        """See `ActingPolicy`."""
        super().__init__(spec, config, device, seed)
        teacher, policy = self.networks["teacher"], self.networks["policy"]
        assert isinstance(teacher, Teacher) and isinstance(policy, Policy)
        self.teacher, self.policy = teacher, policy

    @staticmethod
    def make(spec: StreamSpec, config: LearnerConfig) -> dict[str, nn.Module]:
        """Teacher and policy."""
        teacher = Teacher(spec, config)
        return {"teacher": teacher, "policy": Policy(teacher.rssm.feat_size, spec.action_dim, config)}

    def seen_in(self, image: Tensor, state: Tensor) -> tuple[Tensor, RSSM]:
        """Images [N, H, W, C] uint8 to embeddings [N, E], and the model that they are for.

        Of the states [N, S_dim] nothing is looked at but what a robot measures (`learner.proprioception`).

        Raises:
            ValueError: this method sees no images.
        """
        raise ValueError(f"method {self.method.name} has no driver that sees images")

    def initial(self, count: int) -> Any:
        """See `ActingPolicy`; a `Carry`, unless a subclass remembers more."""
        return Carry(self.teacher.rssm.initial(count), torch.zeros(count, self.spec.action_dim, device=self.device))

    @torch.no_grad()
    def step(
        self,
        carry: Any,
        state: np.ndarray,
        image: np.ndarray | None,
        is_first: np.ndarray,
        from_image: np.ndarray,
        explore: bool,
    ) -> tuple[np.ndarray, Any]:
        """See `ActingPolicy`."""
        first = torch.as_tensor(is_first).to(self.device)
        action = carry.action * (~first)[:, None]
        deter, stoch = torch.empty_like(carry.latent.deter), torch.empty_like(carry.latent.stoch)
        for rows, sees in ((np.flatnonzero(~from_image), False), (np.flatnonzero(from_image), True)):
            if not len(rows):
                continue
            driven = torch.as_tensor(rows).to(self.device)
            embed, rssm = self._seen(state[rows], image if image is None else image[rows], sees)
            before = Latent(carry.latent.deter[driven], carry.latent.stoch[driven])
            noise = gumbel(tuple(before.stoch.shape), self.device, self.generator) if explore else None
            latent = rssm.observe_step(before, embed, action[driven], first[driven], noise)
            deter[driven], stoch[driven] = latent.deter, latent.stoch
        latent = Latent(deter, stoch)
        mean, deviation = self.policy(latent.feat)
        if explore:
            mean = mean + deviation * torch.randn(mean.shape, device=self.device, generator=self.generator)
        chosen = mean.clamp(-1.0, 1.0)
        return chosen.cpu().numpy(), Carry(latent, chosen)

    @torch.no_grad()
    def imagined_states(
        self, state: np.ndarray, image: np.ndarray | None, action: np.ndarray, context: int
    ) -> np.ndarray:
        """See `ActingPolicy`; states are read off the latent by the teacher's decoder."""
        latent = self.teacher.rssm.initial(1)
        padded = np.concatenate((np.zeros_like(action[:1]), action))
        actions = torch.as_tensor(padded).to(self.device)
        states, rssm = [], self.teacher.rssm
        for t in range(len(state)):
            if t < context:
                shown = None if image is None else image[t : t + 1]
                embed, rssm = self._seen(state[t : t + 1], shown, image is not None)
                first = torch.full((1,), t == 0, device=self.device)
                latent = rssm.observe_step(latent, embed, actions[t : t + 1], first, None)
            else:
                latent, _ = rssm.imagine(latent, actions[t : t + 1], None)
            states.append(self.teacher.denormalise(self.teacher.decoder(latent.feat)))
        return torch.cat(states).cpu().numpy()

    def _seen(self, state: np.ndarray, image: np.ndarray | None, from_image: bool) -> tuple[Tensor, RSSM]:
        if not from_image:
            return self.teacher.embed(torch.as_tensor(state).to(self.device)), self.teacher.rssm
        if image is None:
            raise ValueError("the student was asked to act without an image")
        return self.seen_in(torch.as_tensor(image).to(self.device), torch.as_tensor(state).to(self.device))
