"""The teacher: a world model of the privileged state.

    state -> encoder -> embed -> RSSM -> (h, z) -> state, reward, continue

Shapes: B batch, T time, S_dim state, D deter, E embed, A action; feat as in `learner.rssm`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from learner.config import LearnerConfig, TeacherConfig
from learner.distributions import TwoHot, categorical_kl
from learner.networks import MLP, GaussianLoss, masked_mean
from learner.rssm import RSSM, Latent, Observed
from replay.schema import StreamSpec

TensorBatch = dict[str, Tensor]

LEAST_DEVIATION = 0.05
"""Of a normalised state, whose range is 2: the latent is not to spend its few nats on millimetres."""


class Teacher(nn.Module):
    """The privileged world model; see the module's docstring."""

    low: Tensor
    high: Tensor

    def __init__(self, spec: StreamSpec, config: LearnerConfig) -> None:
        """Makes a model for the observations of `spec`."""
        super().__init__()
        size = config.rssm
        self.two_hot = TwoHot()
        self.register_buffer("low", torch.tensor(spec.state_low, dtype=torch.float32))
        self.register_buffer("high", torch.tensor(spec.state_high, dtype=torch.float32))
        self.encoder = MLP(spec.state_dim, size.hidden, size.hidden)
        self.rssm = RSSM(size, size.hidden, spec.action_dim)
        feat = self.rssm.feat_size
        self.decoder = MLP(feat, size.hidden, spec.state_dim)
        self.state_loss = GaussianLoss(spec.state_dim, LEAST_DEVIATION)
        self.reward = MLP(feat, size.hidden, self.two_hot.bins, output_scale=0.0)
        self.continues = MLP(feat, size.hidden, 1)

    def normalise(self, state: Tensor) -> Tensor:
        """Physical units [..., S_dim] to [-1, 1] between the observation spec's bounds."""
        return (2.0 * (state - self.low) / (self.high - self.low) - 1.0).float()

    def denormalise(self, state: Tensor) -> Tensor:
        """Inverse of `normalise`."""
        return (state.float() + 1.0) * 0.5 * (self.high - self.low) + self.low

    def embed(self, state: Tensor) -> Tensor:
        """[..., S_dim] in physical units to [..., E]."""
        y: Tensor = self.encoder(self.normalise(state))
        return y

    def observe(self, batch: TensorBatch, noise: Tensor) -> Observed:
        """Filters a batch of chunks: `state`, `action`, `is_first` [B, T, ...], noise [T, B, S, K] to Observed."""
        return self.rssm.observe(self.embed(batch["state"]), batch["action"], batch["is_first"], noise)

    def predict_reward(self, latent: Latent) -> Tensor:
        """[...] latents to the expected reward [...], float32."""
        return self.two_hot.mean(self.reward(latent.feat))

    def predict_continue(self, latent: Latent) -> Tensor:
        """[...] latents to the probability that the episode does not terminate there [...], float32."""
        return torch.sigmoid(self.continues(latent.feat).float()).squeeze(-1)


def teacher_losses(
    model: Teacher, config: TeacherConfig, batch: TensorBatch, generator: torch.Generator | None = None
) -> tuple[dict[str, Tensor], dict[str, Tensor], Observed]:
    """The terms of DreamerV2's variational bound with DreamerV3's balancing and free bits, unreduced and unscaled.

    Args:
        model: the teacher.
        config: free nats.
        batch: `state` [B, T, S_dim], `action` [B, T, A], `reward` [B, T], `is_first`, `is_terminal`, `valid` [B, T]
            bool.
        generator: of the draws of z.

    Returns:
        Losses [B, T] by the names of `scales`; metrics (scalars); the filtered sequence for the behaviour.
    """
    observed = model.observe(batch, model.rssm.draw(batch["action"], generator))
    feat = observed.latent.feat
    prediction = model.decoder(feat)
    target = model.normalise(batch["state"])
    model.state_loss.take_in(prediction, target, batch["valid"])
    dynamics = categorical_kl(observed.post.detach(), observed.prior)
    representation = categorical_kl(observed.post, observed.prior.detach())
    losses = {
        "state": model.state_loss(prediction, target),
        "reward": model.two_hot.loss(model.reward(feat), batch["reward"]),
        "continue": F.binary_cross_entropy_with_logits(
            model.continues(feat).float().squeeze(-1), (~batch["is_terminal"]).float(), reduction="none"
        ),
        "dynamics": dynamics.clamp(min=config.free_nats),
        "representation": representation.clamp(min=config.free_nats),
    }
    with torch.no_grad():
        probs = torch.exp(observed.post)
        metrics = {
            "kl": dynamics.mean(),
            "post_entropy": -(probs * observed.post).sum((-2, -1)).mean(),
            "state_error": (prediction.float() - target).abs().mean(),
        }
    return losses, metrics, observed


def means(losses: dict[str, Tensor], batch: TensorBatch) -> dict[str, Tensor]:
    """The mean of each of `teacher_losses`' terms over the steps that it is about, scalars.

    An episode's first step was led to by no action: its reward is nobody's, and is not learnt.
    """
    valid = batch["valid"]
    about = {"reward": valid & ~batch["is_first"]}
    return {name: masked_mean(loss, about.get(name, valid)) for name, loss in losses.items()}


def scales(config: TeacherConfig) -> dict[str, float]:
    """The weight of each of `teacher_losses`' terms."""
    return {
        "state": config.state_scale,
        "reward": config.reward_scale,
        "continue": config.continue_scale,
        "dynamics": config.dynamics_scale,
        "representation": config.representation_scale,
    }
