"""Asymmetric SAC: no world model; the critic sees the simulator's state, the actor the last few images.

    state, action ──> two critics ──> the actor's gradient        images of the last steps ──> CNN ──> action

Soft actor-critic (Haarnoja et al., arXiv 1812.05905) with an asymmetric critic (Pinto et al., arXiv 1710.06542): what
trains needs the state, what acts does not. Images are shifted in training as DrQ does (arXiv 2004.13649).

Beside `learner.sac` it has these settings of others: `learner.batch_size`, `sequence_length` and
`teacher_samples_per_insert` (with defaults of its own), `learner.student.channels` and `shift_pixels`,
`learner.behaviour.discount`, `learner.rssm.hidden`.

Shapes: B batch, T time, S_dim state, H W C image, F frames that are stacked, A action.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from learner.acting import ActingPolicy
from learner.config import LearnerConfig
from learner.frames import by_view, random_shift
from learner.methods.part import IMAGES, Ground, Part, TensorBatch, Trained
from learner.networks import MLP, ImageEncoder, frozen_parameters, masked_mean, move_towards, normalised
from learner.proprioception import Proprioception
from learner.tally import Metrics
from replay.schema import StreamSpec

_LOG_DEVIATION = (-5.0, 2.0)
"""Least and most, before the squashing by tanh."""


class StackedActor(nn.Module):
    """The last F images to a Gaussian that tanh squashes into the actions' bounds."""

    def __init__(self, spec: StreamSpec, config: LearnerConfig) -> None:
        """Makes a network for the images of `spec`."""
        super().__init__()
        hidden, (height, width, depth) = config.rssm.hidden, spec.image_shape
        shape = height, width, depth * config.sac.frames
        self.encoder = ImageEncoder(shape, config.student.channels, hidden, config.student.stem)
        self.proprioception = Proprioception(spec, config)
        self.head = MLP(hidden + self.proprioception.size, hidden, 2 * spec.action_dim, output_scale=0.1)

    def forward(self, stack: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """[..., H, W, F*C] uint8 to mean and standard deviation [..., A] float32, before the squashing.

        Of states [..., S_dim] only what a robot measures is looked at.
        """
        seen = self.proprioception.beside(self.encoder(stack), self.proprioception.of(state))
        mean, raw = self.head(seen).float().chunk(2, dim=-1)
        least, most = _LOG_DEVIATION
        return mean, torch.exp(least + 0.5 * (most - least) * (torch.tanh(raw) + 1.0))


class StateCritic(nn.Module):
    """Two estimates of the soft return of an action in a state, with slow copies of both."""

    low: Tensor
    high: Tensor

    def __init__(self, spec: StreamSpec, config: LearnerConfig) -> None:
        """Makes the networks."""
        super().__init__()
        self.register_buffer("low", torch.tensor(spec.state_low, dtype=torch.float32))
        self.register_buffer("high", torch.tensor(spec.state_high, dtype=torch.float32))
        hidden, inputs = config.rssm.hidden, spec.state_dim + spec.action_dim
        self.nets = nn.ModuleList(MLP(inputs, hidden, 1) for _ in range(2))
        self.slow = copy.deepcopy(self.nets)
        frozen_parameters(self.slow)

    def values(self, state: Tensor, action: Tensor, *, slow: bool = False) -> Tensor:
        """[..., S_dim] in physical units and [..., A] to both estimates [2, ...] float32."""
        both = torch.cat((normalised(state, self.low, self.high), action), dim=-1)
        return torch.stack([net(both).squeeze(-1) for net in (self.slow if slow else self.nets)])


class Temperature(nn.Module):
    """What a nat of entropy is worth."""

    def __init__(self, initial: float) -> None:
        """Begins with a value above 0."""
        super().__init__()
        self.log = nn.Parameter(torch.tensor(math.log(initial)))

    def forward(self) -> Tensor:
        """A scalar."""
        return self.log.exp()


def squashed(mean: Tensor, deviation: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Actions tanh(mean + deviation * noise) [..., A], and the logarithm of their density [...]."""
    raw = mean + deviation * noise
    normal = -0.5 * noise.square() - torch.log(deviation) - 0.5 * math.log(2.0 * math.pi)
    # log(1 - tanh(x)^2) = 2 (log 2 - x - softplus(-2 x)), without the cancellation.
    slope = 2.0 * (math.log(2.0) - raw - F.softplus(-2.0 * raw))
    return torch.tanh(raw), (normal - slope).sum(dim=-1)


def stacked(image: Tensor, is_first: Tensor, frames: int) -> Tensor:
    """Each step's last images of its episode, oldest first; before the episode's first stands the first.

    Args:
        image: [B, T, H, W, C].
        is_first: [B, T] bool; a sequence's first step counts as one.
        frames: F.

    Returns:
        [B, T, H, W, F*C].
    """
    batch, time = is_first.shape
    steps = torch.arange(time, device=image.device)
    begun = torch.where(is_first, steps, 0).cummax(dim=1).values
    back = torch.arange(frames - 1, -1, -1, device=image.device)
    places = torch.maximum(steps[:, None] - back, begun[:, :, None])  # [B, T, F]
    rows = torch.arange(batch, device=image.device)[:, None, None]
    return image[rows, places].permute(0, 1, 3, 4, 2, 5).flatten(-2)


def as_acted(is_first: Tensor, frames: int) -> Tensor:
    """Of which steps `stacked` has the images that the actor had.

    Those are the steps whose episode begins in the sequence, and those of which no image of the stack lies before it.

    Args:
        is_first: [B, T] bool.
        frames: F.

    Returns:
        [B, T] bool.
    """
    begun = is_first.cumsum(dim=1) > 0
    return begun | (torch.arange(is_first.shape[1], device=is_first.device) >= frames - 1)


class SACPart(Part):
    """Critics, actor and temperature, from sequences of pairs whose steps are taken one by one."""

    reads = IMAGES

    def __init__(self, ground: Ground) -> None:
        """Makes them untrained."""
        super().__init__("sac", ground, ground.device)
        spec, config = ground.spec, ground.config
        self.actor = StackedActor(spec, config).to(self.device)
        self.critic = StateCritic(spec, config).to(self.device)
        self.temperature = Temperature(config.sac.initial_temperature).to(self.device)

    @property
    def modules(self) -> dict[str, nn.Module]:
        """See `Part`."""
        return {"actor": self.actor, "critic": self.critic, "temperature": self.temperature}

    @property
    def acts(self) -> dict[str, nn.Module]:
        """See `Part`."""
        return {"actor": self.actor}

    def trains(self) -> dict[str, Trained]:
        """See `Part`."""
        config = self.ground.config.sac
        return {
            "actor": Trained(self.actor, config.learning_rate, config.gradient_norm),
            "critic": Trained(self.critic.nets, config.learning_rate, config.gradient_norm),
            "temperature": Trained(self.temperature, config.temperature_learning_rate, config.gradient_norm),
        }

    def update(self, batch: TensorBatch) -> Metrics:
        """One update of each, on every step of the batch that an action led to and whose images are the actor's."""
        config, discount = self.ground.config.sac, self.ground.config.behaviour.discount
        batch = by_view(batch)
        image = random_shift(batch["image"], self.ground.config.student.shift_pixels, self.generator)
        with self.ground.autocast(self.device):
            mean, deviation = self.actor(stacked(image, batch["is_first"], config.frames), batch["state"])
        # A step is from t to t + 1; where an episode begins at t + 1 there was none.
        taken = (batch["valid"] & ~batch["is_first"])[:, 1:]
        known = as_acted(batch["is_first"], config.frames)
        before, after = taken & known[:, :-1], taken & known[:, 1:]
        noise = torch.randn(mean.shape, device=self.device, generator=self.generator)
        action, density = squashed(mean, deviation, noise)
        state, temperature = batch["state"], self.temperature().detach()
        with torch.no_grad():
            future = self.critic.values(state[:, 1:], action[:, 1:], slow=True).amin(0) - temperature * density[:, 1:]
            wanted = batch["reward"][:, 1:] + discount * (~batch["is_terminal"][:, 1:]) * future
        values = self.critic.values(state[:, :-1], batch["action"][:, 1:])
        critic_loss = masked_mean(0.5 * (values - wanted).square().sum(0), after)
        norms = {"critic": self._step("critic", critic_loss)}
        worth = self.critic.values(state[:, :-1], action[:, :-1]).amin(0)
        actor_loss = masked_mean(temperature * density[:, :-1] - worth, before)
        norms["actor"] = self._step("actor", actor_loss)
        surplus = masked_mean(density[:, :-1].detach(), before) - self.ground.spec.action_dim
        temperature_loss = -self.temperature.log * surplus
        norms["temperature"] = self._step("temperature", temperature_loss)
        move_towards(self.critic.slow, self.critic.nets, config.target_rate * (1.0 - self.refused))
        return {
            "loss_critic": critic_loss.detach(),
            "loss_actor": actor_loss.detach(),
            "loss_temperature": temperature_loss.detach(),
            "value": masked_mean(values.detach().mean(0), after),
            "entropy": -masked_mean(density[:, :-1].detach(), before),
            "temperature": temperature,
            **{f"{name}_gradient_norm": norm for name, norm in norms.items()},
        }

    def _step(self, name: str, loss: Tensor) -> Tensor:
        """Moves what the optimiser of this name trains along a loss; gives the gradient's norm."""
        optimiser = self.optimisers[name]
        norm = optimiser.backward(loss)
        with self.ground.moving():
            optimiser.step()
        return norm


def build(ground: Ground) -> Sequence[Part]:
    """See `learner.methods.part.Build`."""
    return (SACPart(ground),)


class LastImages(NamedTuple):
    """Of each environment, the last F images, oldest first: [N, F, H, W, C] uint8."""

    images: Tensor


class SACPolicy(ActingPolicy):
    """The actor on the last images."""

    def __init__(self, spec: StreamSpec, config: LearnerConfig, device: str = "cpu", seed: int = 0) -> None:
        """See `ActingPolicy`."""
        super().__init__(spec, config, device, seed)
        actor = self.networks["actor"]
        assert isinstance(actor, StackedActor)
        self.actor = actor

    @staticmethod
    def make(spec: StreamSpec, config: LearnerConfig) -> dict[str, nn.Module]:
        """See `ActingPolicy`."""
        return {"actor": StackedActor(spec, config)}

    def initial(self, count: int) -> LastImages:
        """See `ActingPolicy`; all are black, as in an episode's first step none of them is looked at."""
        shape = (count, self.config.sac.frames, *self.spec.image_shape)
        return LastImages(torch.zeros(shape, dtype=torch.uint8, device=self.device))

    @torch.no_grad()
    def step(
        self,
        carry: Any,
        state: np.ndarray,
        image: np.ndarray | None,
        is_first: np.ndarray,
        from_image: np.ndarray,
        explore: bool,
    ) -> tuple[np.ndarray, LastImages]:
        """See `ActingPolicy`; rows that are driven at random get actions of 0."""
        rows = np.flatnonzero(from_image)
        action = torch.zeros(len(from_image), self.spec.action_dim, device=self.device)
        if not len(rows):
            return action.cpu().numpy(), carry
        if image is None:
            raise ValueError("method asymmetric_sac was asked to act without an image")
        driven = torch.as_tensor(rows).to(self.device)
        first = torch.as_tensor(is_first).to(self.device)[driven]
        newest = torch.as_tensor(image[rows]).to(self.device).unsqueeze(1)
        moved = torch.cat((carry.images[driven, 1:], newest), dim=1)
        held = torch.where(first[:, None, None, None, None], newest, moved)
        own = torch.as_tensor(state[rows]).to(self.device)
        mean, deviation = self.actor(held.permute(0, 2, 3, 1, 4).flatten(-2), own)
        if explore:
            mean = mean + deviation * torch.randn(mean.shape, device=self.device, generator=self.generator)
        action[driven] = torch.tanh(mean)
        return action.cpu().numpy(), LastImages(carry.images.index_copy(0, driven, held))


acting = SACPolicy
