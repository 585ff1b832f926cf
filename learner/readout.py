"""The state read straight off single images: what an image encoder learns to see by.

    image -> CNN -> embed ─┬─────────────────────────────> readout    what the image tells by itself
                           └─ and what the robot measures -> informed   what both tell together

Shapes: H W C image, E embed, P measured, S_dim state, N frames.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from learner.config import LearnerConfig, StudentConfig
from learner.frames import Frames, random_shift
from learner.networks import GaussianLoss, ImageEncoder
from learner.proprioception import Proprioception
from replay.schema import StreamSpec

LEAST_DEVIATION = 0.02
"""Of a normalised state's readout, whose range is 2: nothing is to be told finer than a hundredth of it."""


class Reader(nn.Module):
    """A network of images that tells the state of single ones; what it makes of that is a subclass's."""

    def __init__(self, spec: StreamSpec, config: LearnerConfig) -> None:
        """Makes the encoder for the images of `spec`; `seen_size` is the width of what `saw` returns."""
        super().__init__()
        hidden = config.rssm.hidden
        self.encoder = ImageEncoder(spec.image_shape, config.student.channels, hidden, config.student.stem)
        self.proprioception = Proprioception(spec, config)
        self.seen_size = hidden + self.proprioception.size

    def make_readout(self, spec: StreamSpec) -> None:
        """Makes the readout; each subclass calls it where its own networks of old have theirs.

        An optimiser's moments are numbered in checkpoints by the order in which networks were made.
        """
        self.readout = nn.Linear(self.seen_size - self.proprioception.size, spec.state_dim)
        self.readout_loss = GaussianLoss(spec.state_dim, LEAST_DEVIATION)
        if self.proprioception.size:
            self.informed = nn.Linear(self.seen_size, spec.state_dim)
            self.informed_loss = GaussianLoss(spec.state_dim, LEAST_DEVIATION)

    def saw(self, embed: Tensor, measured: Tensor) -> Tensor:
        """Embeddings [..., E] and what the robot measured [..., P], physical units, to one vector [..., E + P]."""
        return self.proprioception.beside(embed, measured)

    def read(self, embed: Tensor, measured: Tensor) -> Tensor:
        """The normalised state [..., S_dim] by all that is known of a step; the arguments are those of `saw`."""
        if not self.proprioception.size:
            state: Tensor = self.readout(embed)
            return state
        return self.proprioception.known(self.informed(self.saw(embed, measured)), measured)


class Normalises(Protocol):
    """Knows the state's bounds, as a world model does."""

    def normalise(self, state: Tensor) -> Tensor:
        """Physical units [..., S_dim] to [-1, 1] between them."""


def embedded(encoder: ImageEncoder, image: Tensor, *, with_gradient: bool) -> Tensor:
    """[..., H, W, C] uint8 to [..., E]; without gradient nothing is kept for a backward pass."""
    with torch.set_grad_enabled(with_gradient):
        embed: Tensor = encoder(image)
    return embed


def share_gradient(x: Tensor, share: float) -> Tensor:
    """The same value; of its gradient only a share passes."""
    return x if share == 1.0 else torch.lerp(x.detach(), x, share) if share > 0.0 else x.detach()


def readout_of_frames(
    reader: Reader, bounds: Normalises, config: StudentConfig, frames: Frames, generator: torch.Generator
) -> Tensor:
    """The loss [N] of the state read off N single images."""
    embed = reader.encoder(random_shift(frames.image, config.shift_pixels, generator))
    every = torch.ones(len(embed), dtype=torch.bool, device=embed.device)
    return readout_loss(reader, embed, frames.measured, bounds.normalise(frames.state), every)


def readout_loss(reader: Reader, embed: Tensor, measured: Tensor, state: Tensor, valid: Tensor) -> Tensor:
    """The loss [...] of a state read off embeddings [..., E]; where the robot measures something, the mean of two.

    Args:
        reader: trained.
        embed: of images.
        measured: what the robot measured then [..., P], physical units.
        state: normalised [..., S_dim], as it was when they were taken: all that a single image can tell.
        valid: [...] bool, what counts.
    """
    read = reader.readout(embed)
    reader.readout_loss.take_in(read, state, valid)
    alone: Tensor = reader.readout_loss(read, state)
    if not reader.proprioception.size:
        return alone
    read = reader.informed(reader.saw(embed, measured))
    reader.informed_loss.take_in(read, state, valid)
    together: Tensor = reader.informed_loss(read, state)
    return 0.5 * (alone + together)
