"""Single frames for the image encoder: a pool to draw them from, and the shift that makes more of them.

A batch of whole episodes shows few visual worlds, and each of them many times over. An encoder that learns from such
batches needs several times as many images as from frames that each come from another episode: docs/results/log.md.

Shapes: B batch, T time, K views, H W C image, S_dim state, N frames.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Frames(NamedTuple):
    """image [N, H, W, C] uint8 and the state that it shows, [N, S_dim] in physical units."""

    image: Tensor
    state: Tensor


class FramePool:
    """The newest frames of the student's batches. It costs no reading: the batches were read in any case."""

    def __init__(self, capacity: int, device: torch.device) -> None:
        """Makes an empty pool.

        Args:
            capacity: frames that it holds; a further one takes the place of the oldest.
            device: where it holds them.
        """
        self.capacity = capacity
        self._device = device
        self._frames: Frames | None = None
        self._added = 0

    def __len__(self) -> int:
        return min(self._added, self.capacity)

    def add(self, batch: Mapping[str, np.ndarray]) -> None:
        """Takes in the valid rows of a student batch: `image` [B, T, K, H, W, C], `state_at_exposure`, `valid`."""
        valid = batch["valid"]
        views = batch["image"].shape[2]
        images = batch["image"][valid].reshape(-1, *batch["image"].shape[3:])[-self.capacity :]
        states = np.repeat(batch["state_at_exposure"][valid], views, axis=0)[-self.capacity :]
        new = Frames(torch.as_tensor(images).to(self._device), torch.as_tensor(states).to(self._device))
        if self._frames is None:
            self._frames = Frames(*(x.new_zeros((self.capacity, *x.shape[1:])) for x in new))
        places = (torch.arange(len(images), device=self._device) + self._added) % self.capacity
        for held, x in zip(self._frames, new, strict=True):
            held[places] = x
        self._added += len(images)

    def draw(self, count: int, generator: torch.Generator) -> Frames:
        """`count` random frames, each drawn from all that are held."""
        assert self._frames is not None, "nothing was added yet"
        rows = torch.randint(len(self), (count,), generator=generator, device=self._device)
        return Frames(*(x[rows] for x in self._frames))


def random_shift(image: Tensor, pixels: int, generator: torch.Generator) -> Tensor:
    """Moves images by up to `pixels` along both axes, as DrQ does (arXiv 2004.13649); edges repeat their last pixel.

    Args:
        image: [N, ..., H, W, C]; all that is behind one n is moved alike.
        pixels: largest shift; 0 moves nothing.
        generator: of the N shifts.

    Returns:
        The same shape and type.
    """
    if pixels == 0:
        return image
    count, (height, width, channels) = len(image), image.shape[-3:]
    device = image.device
    # Replicated edges without a padded copy: coordinates outside are drawn back to the edge. One index over all pixels
    # takes a fourth of the time of one per axis, and nothing waits for a GPU to tell a shift.
    shift = torch.randint(-pixels, pixels + 1, (2, count, 1), generator=generator, device=device)
    rows = (torch.arange(height, device=device) + shift[0]).clamp(0, height - 1)
    columns = (torch.arange(width, device=device) + shift[1]).clamp(0, width - 1)
    pixel = (rows[:, :, None] * width + columns[:, None, :]).flatten(1)
    flat = image.reshape(count, -1, height * width, channels)
    first = torch.arange(0, flat[..., 0].numel(), height * width, device=device).reshape(count, -1, 1)
    at = (first + pixel[:, None]).flatten()
    return flat.reshape(-1, channels).index_select(0, at).reshape(image.shape)
