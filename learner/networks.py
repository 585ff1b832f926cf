"""Building blocks: normalised MLPs, the recurrent cell, the image encoder and decoder.

Shapes: `...` any leading dimensions, D deter, E embed, H W C image (H and W divisible by 2 per layer).
"""

import itertools
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from learner.config import Stem

ERROR_RATE = 0.02
"""Share by which the mean of squared errors moves to a batch's, once there were 1 / ERROR_RATE batches."""


class MLP(nn.Module):
    """`layers` times (linear, layer norm, SiLU), then a linear output."""

    def __init__(self, inputs: int, hidden: int, outputs: int, layers: int = 2, output_scale: float = 1.0) -> None:
        """Makes the layers; `output_scale` 0 makes the first outputs zero (used for reward and critic)."""
        super().__init__()
        sizes = [inputs] + [hidden] * layers
        self.body = nn.Sequential(
            *(
                block
                for a, b in itertools.pairwise(sizes)
                for block in (nn.Linear(a, b, bias=False), nn.LayerNorm(b), nn.SiLU())
            )
        )
        self.output = nn.Linear(sizes[-1], outputs)
        with torch.no_grad():
            self.output.weight.mul_(output_scale)
            self.output.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """[..., inputs] to [..., outputs]."""
        y: Tensor = self.output(self.body(x))
        return y


class GaussianLoss(nn.Module):
    """Negative log-likelihood of values around a prediction, each dimension with the deviation that fits its errors.

    A squared error would mostly be about the dimensions that cannot be told (the turn of a cube, a speed from one
    image) and hardly about centimetres. With fitting deviations every dimension counts by how well it can be told.
    The deviation under which errors are likeliest is their root mean square (sigma-VAE, Rybkin et al., arXiv
    2006.13202, eq. 7): nothing to descend to by gradients, which would take as many updates as the step size is small.
    """

    mean_square: Tensor
    updates: Tensor

    def __init__(self, size: int, least: float) -> None:
        """Begins knowing no errors: the first batch's are taken as they are.

        Args:
            size: dimensions.
            least: no deviation falls below this, in the values' unit.
        """
        super().__init__()
        self.least = least
        self.register_buffer("mean_square", torch.ones(size))
        self.register_buffer("updates", torch.zeros(()))

    @torch.no_grad()
    def take_in(self, predicted: Tensor, values: Tensor, valid: Tensor) -> None:
        """Moves the mean of squared errors towards this batch's; one that is not finite is left out.

        Args:
            predicted: [..., size].
            values: [..., size].
            valid: [...] bool, which of them count.
        """
        square = (predicted.float() - values.float()).square() * valid.unsqueeze(-1)
        mean = square.flatten(0, -2).sum(0) / valid.sum().clamp(min=1)
        rate = (1.0 / (self.updates + 1.0)).clamp(min=ERROR_RATE)
        finite = torch.isfinite(mean).all()
        self.mean_square.copy_(torch.where(finite, torch.lerp(self.mean_square, mean, rate), self.mean_square))
        self.updates += finite

    def forward(self, predicted: Tensor, values: Tensor) -> Tensor:
        """[..., size] and [..., size] to [...] nats, float32; the constant log(2 pi) / 2 is left out."""
        variance = self.mean_square.clamp(min=self.least**2)
        square = (predicted.float() - values.float()).square()
        return 0.5 * (torch.log(variance) + square / variance).sum(dim=-1)


class NormGRUCell(nn.Module):
    """GRU cell with layer norm over its three gates, as in DreamerV2 (arXiv 2010.02193, released code's RSSM)."""

    def __init__(self, inputs: int, deter: int) -> None:
        """Makes a cell of `deter` units."""
        super().__init__()
        self.linear = nn.Linear(inputs + deter, 3 * deter, bias=False)
        self.norm = nn.LayerNorm(3 * deter)

    def forward(self, x: Tensor, deter: Tensor) -> Tensor:
        """[B, inputs] and [B, D] to the next [B, D]."""
        # CUDA's autocast normalises in float32, the CPU's in the type that it is given; h keeps its own.
        gates = self.norm(self.linear(torch.cat((x, deter), dim=-1))).to(deter.dtype)
        reset, candidate, update = gates.chunk(3, dim=-1)
        candidate = torch.tanh(torch.sigmoid(reset) * candidate)
        update = torch.sigmoid(update - 1.0)  # starts by remembering
        return torch.lerp(deter, candidate, update)


_GROUP = 8
"""Channels that are normalised together."""


class ImageEncoder(nn.Module):
    """Convolutions that halve the image once per layer, then one normalised linear layer.

    With stem `patches` the first two layers are one: 4 x 4 pixels each become a vector (as in ViT, arXiv 2010.11929),
    and every layer has group norm and SiLU in place of ReLU. On a CPU that is quicker by half, and it learns in far
    fewer updates.
    """

    def __init__(self, image_shape: Sequence[int], channels: Sequence[int], embed: int, stem: Stem = "halving") -> None:
        """Makes the layers.

        Raises:
            ValueError: an image side is not divisible by 2 to the number of layers, or there are too few for the stem.
        """
        super().__init__()
        height, width, depth = image_shape
        shrink = 2 ** len(channels)
        if height % shrink or width % shrink:
            raise ValueError(
                f"image of {height}x{width} pixels cannot be halved {len(channels)} times; allowed: "
                f"multiples of {shrink}"
            )
        layers = _halving(depth, channels) if stem == "halving" else _patches(depth, channels)
        self.body = nn.Sequential(*layers).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        flat = (height // shrink) * (width // shrink) * channels[-1]
        self.output = nn.Sequential(nn.Linear(flat, embed, bias=False), nn.LayerNorm(embed), nn.SiLU())

    def forward(self, image: Tensor) -> Tensor:
        """[..., H, W, C] uint8 to [..., E]."""
        lead = image.shape[:-3]
        # NHWC storage seen as NCHW is exactly torch's channels_last: no copy of the pixels.
        pixels = image.reshape(-1, *image.shape[-3:]).permute(0, 3, 1, 2)
        kind = image.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else torch.float32
        y: Tensor = self.output(self.body(pixels.to(dtype).mul_(1.0 / 127.5).sub_(1.0)).flatten(1))
        return y.reshape(*lead, -1)


def _halving(depth: int, channels: Sequence[int]) -> Iterator[nn.Module]:
    for a, b in itertools.pairwise([depth, *channels]):
        yield from (nn.Conv2d(a, b, kernel_size=4, stride=2, padding=1), nn.ReLU())


def _patches(depth: int, channels: Sequence[int]) -> Iterator[nn.Module]:
    if len(channels) < 2:
        raise ValueError(
            f"channels are {tuple(channels)}: stem patches needs two or more, as its first layer halves twice"
        )
    first = nn.Conv2d(depth, channels[1], kernel_size=4, stride=4)
    rest = (nn.Conv2d(a, b, kernel_size=4, stride=2, padding=1) for a, b in itertools.pairwise(channels[1:]))
    for layer in (first, *rest):
        size = layer.out_channels
        yield from (layer, nn.GroupNorm(size // _GROUP if size % _GROUP == 0 else 1, size), nn.SiLU())


class ImageDecoder(nn.Module):
    """The encoder's layers the other way round: a linear layer, then transposed convolutions that double the image."""

    def __init__(self, inputs: int, image_shape: Sequence[int], channels: Sequence[int]) -> None:
        """Makes the layers.

        Args:
            inputs: units that it reads.
            image_shape: H, W, C; sides that the encoder of these channels takes.
            channels: of the encoder.
        """
        super().__init__()
        height, width, depth = image_shape
        shrink = 2 ** len(channels)
        self.small = (channels[-1], height // shrink, width // shrink)
        self.input = nn.Linear(inputs, self.small[0] * self.small[1] * self.small[2])
        layers: list[nn.Module] = []
        for a, b in itertools.pairwise([*reversed(channels), depth]):
            layers += [nn.ReLU(), nn.ConvTranspose2d(a, b, kernel_size=4, stride=2, padding=1)]
        self.body = nn.Sequential(*layers)

    def forward(self, feat: Tensor) -> Tensor:
        """[..., inputs] to levels [..., H, W, C] float32 that are to lie in [0, 1]; it begins at grey."""
        lead = feat.shape[:-1]
        pixels: Tensor = self.body(self.input(feat).reshape(-1, *self.small))
        return (pixels.permute(0, 2, 3, 1).float() + 0.5).reshape(*lead, *pixels.shape[2:], pixels.shape[1])


def frozen_parameters(module: nn.Module) -> None:
    """Marks every parameter of `module` as one that no gradient reaches."""
    for parameter in module.parameters():
        parameter.requires_grad_(False)


@torch.no_grad()
def copy_parameters(source: nn.Module, target: nn.Module) -> None:
    """Copies all parameters and buffers of `source` into `target` of the same structure, casting the type."""
    torch._foreach_copy_(list(target.state_dict().values()), list(source.state_dict().values()))


@torch.no_grad()
def move_towards(target: nn.Module, source: nn.Module, rate: float | Tensor) -> None:
    """Moves all parameters and buffers of `target` by the share `rate` towards `source`'s: a moving average.

    Args:
        target: moved.
        source: of the same structure.
        rate: a number, or a scalar on their device.
    """
    ours, theirs = list(target.state_dict().values()), list(source.state_dict().values())
    torch._foreach_lerp_(ours, theirs, [rate] * len(ours) if isinstance(rate, Tensor) else rate)


def normalised(state: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """A state [..., S_dim] in physical units to [-1, 1] between its bounds [S_dim], float32."""
    return (2.0 * (state - low) / (high - low) - 1.0).float()


def squared_error(a: Tensor, b: Tensor) -> Tensor:
    """Squared error summed over the last dimension, [..., N] and [..., N] to [...] float32."""
    return F.mse_loss(a.float(), b.float(), reduction="none").sum(dim=-1)


def masked_mean(loss: Tensor, valid: Tensor) -> Tensor:
    """Mean of loss [B, T] over the steps where valid [B, T] is True."""
    assert loss.shape == valid.shape, (loss.shape, valid.shape)
    return (loss * valid).sum() / valid.sum().clamp(min=1)
