"""The state read straight off single images: what an image encoder learns to see by.

Shapes: H W C image, E embed, S_dim state, N frames.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from learner.config import StudentConfig
from learner.frames import Frames, random_shift
from learner.networks import GaussianLoss, ImageEncoder

LEAST_DEVIATION = 0.02
"""Of a normalised state's readout, whose range is 2: nothing is to be told finer than a hundredth of it."""


class Reader(Protocol):
    """A network of images that tells the state of single ones."""

    encoder: ImageEncoder
    readout: nn.Linear
    readout_loss: GaussianLoss


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
    return readout_loss(reader, embed, bounds.normalise(frames.state), every)


def readout_loss(reader: Reader, embed: Tensor, state: Tensor, valid: Tensor) -> Tensor:
    """The loss [...] of a state read off embeddings [..., E].

    Args:
        reader: trained.
        embed: of images.
        state: normalised [..., S_dim], as it was when they were taken: all that a single image can tell.
        valid: [...] bool, what counts.
    """
    read = reader.readout(embed)
    reader.readout_loss.take_in(read, state, valid)
    loss: Tensor = reader.readout_loss(read, state)
    return loss
