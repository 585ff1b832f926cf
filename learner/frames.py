"""Images on their way into an update: a pool of single frames, a sequence for each view, and the shift that makes more.

A batch of whole episodes shows few visual worlds, and each of them many times over. An encoder that learns from such
batches needs several times as many images as from frames that each come from another episode: docs/results/log.md.

Shapes: B batch, T time, K views, H W C image, S_dim state, P measured, N frames. States are in physical units.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Frames(NamedTuple):
    """image [N, H, W, C] uint8, the state that it shows [N, S_dim], what the robot measures when it has it [N, P]."""

    image: Tensor
    state: Tensor
    measured: Tensor


class FramePool:
    """The newest frames of the student's batches. It costs no reading: the batches were read in any case.

    It lies on the learner's device, with its counts: to add and to draw is work for the device alone.
    """

    def __init__(
        self, capacity: int, image_shape: Sequence[int], state_dim: int, measured_dim: int, device: torch.device
    ) -> None:
        """Makes an empty pool.

        Args:
            capacity: frames that it holds; a further one takes the place of the oldest.
            image_shape: H, W, C.
            state_dim: S_dim.
            measured_dim: P.
            device: where it holds them.
        """
        self.capacity = capacity
        # One place more than it holds, for what is to be thrown away.
        self._frames = Frames(
            torch.zeros(capacity + 1, *image_shape, dtype=torch.uint8, device=device),
            torch.zeros(capacity + 1, state_dim, device=device),
            torch.zeros(capacity + 1, measured_dim, device=device),
        )
        self._added = torch.zeros((), dtype=torch.int64, device=device)

    def add(self, image: Tensor, state: Tensor, measured: Tensor, valid: Tensor) -> None:
        """Takes in a student batch's valid rows: [B, T, K, H, W, C] uint8, [B, T, S_dim], [B, T, P], [B, T] bool."""
        views = image.shape[2]
        wanted = valid.flatten().repeat_interleave(views)
        number = wanted.cumsum(0)  # from 1
        newest = wanted & (number > number[-1] - self.capacity)
        places = torch.where(newest, (self._added + number - 1) % self.capacity, self.capacity)
        self._frames.image[places] = image.flatten(0, 2)
        self._frames.state[places] = state.flatten(0, 1).repeat_interleave(views, dim=0)
        self._frames.measured[places] = measured.flatten(0, 1).repeat_interleave(views, dim=0)
        self._added += number[-1]

    def draw(self, count: int, generator: torch.Generator) -> Frames:
        """`count` random frames, each drawn from all that are held; something must have been added."""
        held = self._added.clamp(max=self.capacity)
        uniform = torch.rand(count, generator=generator, device=held.device)
        rows = torch.minimum((uniform * held).long(), held - 1)
        return Frames(*(x[rows] for x in self._frames))


def of_each_view(x: Tensor, views: int, dim: int = 0) -> Tensor:
    """What K views have in common, [B, ...] along `dim` to [B*K, ...], where `by_view` has their images."""
    return x.repeat_interleave(views, dim=dim) if views > 1 else x


def by_view(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A batch of pairs with each view as a sequence of its own: images [B, T, K, ...] as [B*K, T, ...], the rest so."""
    views = batch["image"].shape[2]
    common = {name: of_each_view(x, views) for name, x in batch.items() if name != "image"}
    return {**common, "image": batch["image"].transpose(1, 2).flatten(0, 1)}


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
