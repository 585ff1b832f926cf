"""Distributions of the world model: categorical latents, symlog two-hot scalars, squashed Gaussian actions.

Shapes: `...` any leading dimensions, S categorical groups, K classes, A action, N bins.
Sources: Hafner et al., DreamerV2 (arXiv 2010.02193, straight-through latents, KL balancing) and DreamerV3
(arXiv 2301.04104, symlog, two-hot, uniform mix, free bits).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def precise(x: Tensor) -> Tensor:
    """The same in float32, or in float64 where it has that: half types are too coarse for what follows."""
    return x if x.dtype == torch.float64 else x.float()


def mix_uniform(logit: Tensor, unimix: float) -> Tensor:
    """Log-probabilities of softmax(logit) mixed with a uniform distribution.

    Args:
        logit: [..., S, K], any float type.
        unimix: share of the uniform distribution.

    Returns:
        [..., S, K] normalised log-probabilities, float32 (float64 of float64).
    """
    log_probs = F.log_softmax(precise(logit), dim=-1)
    if unimix == 0.0:
        return log_probs
    classes = logit.shape[-1]
    return torch.log(torch.exp(log_probs) * (1.0 - unimix) + unimix / classes)


def gumbel(shape: tuple[int, ...], device: torch.device, generator: torch.Generator | None) -> Tensor:
    """Standard Gumbel noise of the given shape; argmax(log p + noise) is a draw from p."""
    uniform = torch.rand(shape, device=device, generator=generator)
    return -torch.log(-torch.log(uniform.clamp_(1e-9, 1.0 - 1e-7)))


def pick_rows(allowed: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draws rows out of those that are allowed, all alike and with repetition. Nothing leaves the device for it.

    Args:
        allowed: [N] bool; where none is, row 0 stands for all.
        count: rows to draw.
        generator: of the draws.

    Returns:
        [count] int64, places in `allowed`.
    """
    up_to = allowed.cumsum(0)
    uniform = torch.rand(count, device=allowed.device, generator=generator)
    wanted = torch.minimum((uniform * up_to[-1]).long(), up_to[-1] - 1)
    return torch.searchsorted(up_to, wanted, right=True)


def one_hot(index: Tensor, classes: int) -> Tensor:
    """[...] int64 to [..., classes] float32, with no look at the indices first, as `F.one_hot` has it."""
    zeros = torch.zeros(*index.shape, classes, device=index.device)
    return zeros.scatter_(-1, index.unsqueeze(-1), 1.0)


def straight_through(log_probs: Tensor, noise: Tensor) -> Tensor:
    """One-hot draw whose gradient is that of the probabilities.

    Args:
        log_probs: [..., S, K] normalised.
        noise: Gumbel noise of the same shape.

    Returns:
        [..., S, K] one-hot in value, differentiable through the probabilities.
    """
    score = log_probs.detach() + noise
    drawn = one_hot(score.argmax(dim=-1), log_probs.shape[-1]).to(log_probs.dtype)
    if not log_probs.requires_grad:
        return drawn
    probs = torch.exp(log_probs)
    return drawn + probs - probs.detach()


def drawn_or_expected(log_probs: Tensor, noise: Tensor | None) -> Tensor:
    """A draw with Gumbel noise, or without noise the mean of all draws, which are the probabilities: [..., S, K].

    The mode is neither: where two classes are nearly alike it is always the same one, which no draw is. Policies that
    act on it may miss goals that they reach on the probabilities (docs/method.md).
    """
    return torch.exp(log_probs) if noise is None else straight_through(log_probs, noise)


def categorical_kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p | q) in nats, summed over the groups: [..., S, K] and [..., S, K] to [...]."""
    return (torch.exp(log_p) * (log_p - log_q)).sum(dim=(-2, -1))


def symlog(x: Tensor) -> Tensor:
    """sign(x) ln(1 + |x|): compresses large magnitudes, near identity around zero."""
    return torch.sign(x) * torch.log1p(torch.abs(x))


def symexp(x: Tensor) -> Tensor:
    """Inverse of `symlog`."""
    return torch.sign(x) * torch.expm1(torch.abs(x))


class TwoHot:
    """A scalar as a categorical over bins that are equally spaced in symlog space.

    A value between two bins has the weight of each in proportion to its nearness, so that the mean of the bins is
    the value itself.
    """

    def __init__(self, bins: int = 61, limit: float = 10.0) -> None:
        """Makes `bins` bins from symexp(-limit) to symexp(limit)."""
        self.bins = bins
        self.limit = limit

    def centres(self, device: torch.device) -> Tensor:
        """[N] float32 bin centres in symlog space."""
        return torch.linspace(-self.limit, self.limit, self.bins, device=device)

    def encode(self, value: Tensor) -> Tensor:
        """[...] values to [..., N] two-hot weights."""
        position = (symlog(value).clamp(-self.limit, self.limit) + self.limit) * (self.bins - 1) / (2 * self.limit)
        lower = position.floor().clamp(max=self.bins - 2)
        upper_weight = (position - lower).unsqueeze(-1)
        # What is no number has weights that are none; as an index it would be outside of everything.
        index = lower.nan_to_num(0.0).long().unsqueeze(-1)
        weights = torch.zeros(*value.shape, self.bins, device=value.device)
        return weights.scatter_(-1, index, 1.0 - upper_weight).scatter_(-1, index + 1, upper_weight)

    def mean(self, logit: Tensor) -> Tensor:
        """[..., N] logits to the [...] value they stand for."""
        return symexp((F.softmax(precise(logit), dim=-1) * self.centres(logit.device)).sum(dim=-1))

    def loss(self, logit: Tensor, value: Tensor) -> Tensor:
        """Cross-entropy in nats: [..., N] logits and [...] values to [...]."""
        return -(self.encode(value) * F.log_softmax(logit.float(), dim=-1)).sum(dim=-1)


def squashed_normal(raw: Tensor, minimum_deviation: float) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of a Gaussian action, [..., 2A] to two of [..., A].

    The mean is squashed by tanh into [-1, 1]; the deviation lies in [minimum_deviation, 1].
    """
    mean, deviation = precise(raw).chunk(2, dim=-1)
    return torch.tanh(mean), minimum_deviation + (1.0 - minimum_deviation) * torch.sigmoid(deviation)


def normal_entropy(deviation: Tensor) -> Tensor:
    """Entropy in nats of a diagonal Gaussian, [..., A] deviations to [...]."""
    return (torch.log(deviation) + 0.5 * math.log(2 * math.pi * math.e)).sum(dim=-1)
