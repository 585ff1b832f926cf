"""The world model, and the teacher, which is one of the privileged state.

    state or image -> encoder -> embed -> RSSM -> (h, z) -> state or image, reward, continue

Shapes: B batch, T time, S_dim state, H W C image, D deter, E embed, A action; feat as in `learner.rssm`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from learner.config import LearnerConfig, TeacherConfig
from learner.distributions import TwoHot, categorical_kl
from learner.methods.method import Sees
from learner.networks import MLP, GaussianLoss, ImageDecoder, ImageEncoder, masked_mean, normalised, squared_error
from learner.proprioception import Proprioception
from learner.rssm import RSSM, Latent, Observed
from replay.schema import StreamSpec

TensorBatch = dict[str, Tensor]

LEAST_DEVIATION = 0.05
"""Of a normalised state, whose range is 2: the latent is not to spend its few nats on millimetres."""


class WorldModel(nn.Module):
    """A model of what it sees, with what it rebuilds; see the module's docstring."""

    low: Tensor
    high: Tensor

    def __init__(
        self, spec: StreamSpec, config: LearnerConfig, *, sees: Sees = "state", rebuilds: Sees = "state"
    ) -> None:
        """Makes a model for the observations of `spec`.

        Args:
            spec: of state and image.
            config: sizes.
            sees: what goes into it.
            rebuilds: what its latent has to tell.
        """
        super().__init__()
        self.sees, self.rebuilds = sees, rebuilds
        size = config.rssm
        self.two_hot = TwoHot()
        self.register_buffer("low", torch.tensor(spec.state_low, dtype=torch.float32))
        self.register_buffer("high", torch.tensor(spec.state_high, dtype=torch.float32))
        self.encoder: MLP | ImageEncoder = (
            MLP(spec.state_dim, size.hidden, size.hidden)
            if sees == "state"
            else ImageEncoder(spec.image_shape, config.student.channels, size.hidden, config.student.stem)
        )
        self.proprioception = Proprioception(spec, config)
        beside = self.proprioception.size if sees == "image" else 0
        self.rssm = RSSM(size, size.hidden + beside, spec.action_dim)
        feat = self.rssm.feat_size
        self.decoder: MLP | ImageDecoder
        if rebuilds == "state":
            self.decoder = MLP(feat, size.hidden, spec.state_dim)
            self.state_loss = GaussianLoss(spec.state_dim, LEAST_DEVIATION)
        else:
            self.decoder = ImageDecoder(feat, spec.image_shape, config.student.channels)
        self.reward = MLP(feat, size.hidden, self.two_hot.bins, output_scale=0.0)
        self.continues = MLP(feat, size.hidden, 1)

    def normalise(self, state: Tensor) -> Tensor:
        """Physical units [..., S_dim] to [-1, 1] between the observation spec's bounds."""
        return normalised(state, self.low, self.high)

    def denormalise(self, state: Tensor) -> Tensor:
        """Inverse of `normalise`."""
        return (state.float() + 1.0) * 0.5 * (self.high - self.low) + self.low

    def embed(self, state: Tensor) -> Tensor:
        """[..., S_dim] in physical units to [..., E]."""
        y: Tensor = self.encoder(self.normalise(state))
        return y

    def embed_image(self, image: Tensor, state: Tensor | None) -> Tensor:
        """[..., H, W, C] uint8 to [..., E]; of states [..., S_dim] only what a robot measures is looked at."""
        seen: Tensor = self.encoder(image)
        own = self.proprioception
        return own.beside(seen, own.of(state)) if state is not None else seen

    def observe(self, batch: TensorBatch, noise: Tensor) -> Observed:
        """Filters a batch: what it sees, `action`, `is_first` [B, T, ...], noise [T, B, S, K] to Observed."""
        if self.sees == "state":
            seen = self.embed(batch["state"])
        else:
            seen = self.embed_image(batch["image"], batch.get("state"))
        return self.rssm.observe(seen, batch["action"], batch["is_first"], noise)

    def rebuilding_loss(self, feat: Tensor, batch: TensorBatch) -> tuple[Tensor, Tensor]:
        """What the latent tells of what it is to rebuild.

        Args:
            feat: [B, T, F].
            batch: `state` [B, T, S_dim], or `image` [B, T, H, W, C] uint8, and `valid` [B, T].

        Returns:
            Its loss [B, T]: nats of a state, of an image the squared error over all pixels, whose levels go from 0 to 1
            (as DreamerV3's). And the mean absolute error, a scalar without gradient.
        """
        prediction = self.decoder(feat)
        if self.rebuilds == "state":
            target = self.normalise(batch["state"])
            self.state_loss.take_in(prediction, target, batch["valid"])
            loss: Tensor = self.state_loss(prediction, target)
        else:
            target = batch["image"].float() / 255.0
            loss = squared_error(prediction.flatten(-3), target.flatten(-3))
        return loss, (prediction.detach().float() - target).abs().mean()

    def predict_reward(self, latent: Latent) -> Tensor:
        """[...] latents to the expected reward [...], float32."""
        return self.two_hot.mean(self.reward(latent.feat))

    def predict_continue(self, latent: Latent) -> Tensor:
        """[...] latents to the probability that the episode does not terminate there [...], float32."""
        return torch.sigmoid(self.continues(latent.feat).float()).squeeze(-1)


class Teacher(WorldModel):
    """The privileged world model."""

    def __init__(self, spec: StreamSpec, config: LearnerConfig) -> None:
        """Makes a model for the states of `spec`."""
        super().__init__(spec, config)


def teacher_losses(
    model: WorldModel, config: TeacherConfig, batch: TensorBatch, generator: torch.Generator | None = None
) -> tuple[dict[str, Tensor], dict[str, Tensor], Observed]:
    """The terms of DreamerV2's variational bound with DreamerV3's balancing and free bits, unreduced and unscaled.

    Args:
        model: trained.
        config: free nats.
        batch: `state` [B, T, S_dim] or `image` [B, T, H, W, C] uint8, as it sees and rebuilds; `action` [B, T, A],
            `reward` [B, T], `is_first`, `is_terminal`, `valid` [B, T] bool.
        generator: of the draws of z.

    Returns:
        Losses [B, T] by the names of `scales`; metrics (scalars); the filtered sequence for the behaviour.
    """
    observed = model.observe(batch, model.rssm.draw(batch["action"], generator))
    feat = observed.latent.feat
    rebuilding, error = model.rebuilding_loss(feat, batch)
    dynamics = categorical_kl(observed.post.detach(), observed.prior)
    representation = categorical_kl(observed.post, observed.prior.detach())
    losses = {
        model.rebuilds: rebuilding,
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
            f"{model.rebuilds}_error": error,
        }
    return losses, metrics, observed


def means(losses: dict[str, Tensor], batch: TensorBatch) -> dict[str, Tensor]:
    """The mean of each of `teacher_losses`' terms over the steps that it is about, scalars.

    An episode's first step was led to by no action: its reward is nobody's, and is not learnt.
    """
    valid = batch["valid"]
    about = {"reward": valid & ~batch["is_first"]}
    return {name: masked_mean(loss, about.get(name, valid)) for name, loss in losses.items()}


def scales(config: TeacherConfig, rebuilds: Sees = "state") -> dict[str, float]:
    """The weight of each of `teacher_losses`' terms, of a model that rebuilds this."""
    return {
        rebuilds: config.state_scale,
        "reward": config.reward_scale,
        "continue": config.continue_scale,
        "dynamics": config.dynamics_scale,
        "representation": config.representation_scale,
    }
