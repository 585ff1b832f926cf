"""The policy and its critic, trained in the teacher's imagination with policy gradients through the dynamics.

Shapes: N imagined trajectories, H = T_imag steps, A action, F = feat.

    feat_0 --policy--> a_0 --world model--> feat_1 ... feat_H     rewards r_1..r_H, continues c_1..c_H, values v_0..v_H
"""

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn

from learner.config import BehaviourConfig, LearnerConfig
from learner.distributions import TwoHot, gumbel, normal_entropy, squashed_normal
from learner.networks import MLP, frozen_parameters
from learner.rssm import Latent
from learner.teacher import WorldModel


class Policy(nn.Module):
    """feat to a squashed Gaussian over actions; the one policy of teacher and student."""

    def __init__(self, feat: int, action: int, config: LearnerConfig) -> None:
        """Makes the network."""
        super().__init__()
        self.minimum_deviation = config.behaviour.minimum_deviation
        self.net = MLP(feat, config.rssm.hidden, 2 * action, output_scale=0.1)

    def forward(self, feat: Tensor) -> tuple[Tensor, Tensor]:
        """[..., F] to mean and standard deviation [..., A] float32."""
        return squashed_normal(self.net(feat), self.minimum_deviation)


class Critic(nn.Module):
    """feat to the expected lambda-return, with a slow copy for bootstrapping."""

    def __init__(self, feat: int, config: LearnerConfig) -> None:
        """Makes both networks."""
        super().__init__()
        self.two_hot = TwoHot()
        self.net = MLP(feat, config.rssm.hidden, self.two_hot.bins, output_scale=0.0)
        self.slow = copy.deepcopy(self.net)
        frozen_parameters(self.slow)

    def value(self, feat: Tensor) -> Tensor:
        """[..., F] to the slow critic's value [...], float32."""
        return self.two_hot.mean(self.slow(feat))


class ReturnRange(nn.Module):
    """Moving 5th-to-95th percentile range of returns; they are divided by it when it is above 1 (DreamerV3, eq. 7)."""

    span: Tensor

    def __init__(self, momentum: float = 0.98) -> None:
        """Starts at zero range."""
        super().__init__()
        self.momentum = momentum
        self.register_buffer("span", torch.zeros(()))

    @torch.no_grad()
    def update(self, returns: Tensor) -> Tensor:
        """Takes in returns of any shape, unless they are not finite; gives the divisor, a scalar of at least 1."""
        ordered = returns.flatten().sort().values
        span = _percentile(ordered, 0.95) - _percentile(ordered, 0.05)
        self.span.copy_(torch.where(torch.isfinite(span), self.span.lerp(span, 1.0 - self.momentum), self.span))
        return self.span.clamp(min=1.0)


def _percentile(ordered: Tensor, share: float) -> Tensor:
    """Of ordered values [N], as `torch.quantile` has it, which first looks at the levels."""
    place = share * (len(ordered) - 1)
    below = int(place)
    return torch.lerp(ordered[below], ordered[min(below + 1, len(ordered) - 1)], place - below)


class Imagined(NamedTuple):
    """Imagined trajectories, time first: latents 0..H; action, policy's mean and deviation, z's noise of 0..H-1."""

    latent: Latent
    action: Tensor
    mean: Tensor
    deviation: Tensor
    noise: Tensor


def imagine(
    model: WorldModel, policy: Policy, start: Latent, horizon: int, generator: torch.Generator | None = None
) -> Imagined:
    """Rolls the policy out in the world model, differentiably.

    Args:
        model: a frozen world model (no gradient for its weights, gradients flow through it).
        policy: acts on the latents; its input is cut from the graph, its action is not.
        start: [N] latents.
        horizon: H.
        generator: of all draws.

    Returns:
        Imagined: deter [H+1, N, D], stoch [H+1, N, S, K], action, mean and deviation [H, N, A], noise [H, N, S, K].
    """
    count = start.deter.shape[0]
    device = start.deter.device
    stoch_noise = gumbel((horizon, *start.stoch.shape), device, generator)
    latents, actions, means, deviations = [start], [], [], []
    latent = start
    for t in range(horizon):
        mean, deviation = policy(latent.feat.detach())
        noise = torch.randn(count, mean.shape[-1], device=device, generator=generator)
        action = (mean + deviation * noise).clamp(-1.0, 1.0)
        latent, _ = model.rssm.imagine(latent, action, stoch_noise[t])
        latents.append(latent)
        actions.append(action)
        means.append(mean)
        deviations.append(deviation)
    stacked = Latent(torch.stack([x.deter for x in latents]), torch.stack([x.stoch for x in latents]))
    return Imagined(stacked, torch.stack(actions), torch.stack(means), torch.stack(deviations), stoch_noise)


def lambda_return(reward: Tensor, discount: Tensor, value: Tensor, lambda_: float) -> Tensor:
    """R_t = r_t+1 + d_t+1 ((1 - lambda) v_t+1 + lambda R_t+1), R_H = v_H (DreamerV2, eq. 4).

    Args:
        reward: [H, N], r_1..r_H.
        discount: [H, N], d_1..d_H: discount times the probability to continue.
        value: [H, N], v_1..v_H.
        lambda_: mixing factor.

    Returns:
        [H, N], R_0..R_H-1.
    """
    returns = []
    following = value[-1]
    for t in reversed(range(reward.shape[0])):
        following = reward[t] + discount[t] * ((1.0 - lambda_) * value[t] + lambda_ * following)
        returns.append(following)
    return torch.stack(returns[::-1])


def behaviour_losses(
    model: WorldModel,
    policy: Policy,
    critic: Critic,
    span: ReturnRange,
    config: BehaviourConfig,
    start: Latent,
    generator: torch.Generator | None = None,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Losses of policy and critic from one imagination.

    Args:
        model: frozen.
        policy: trained.
        critic: trained (its slow copy gives the values).
        span: normalisation of returns, updated here.
        config: horizon, discount, lambda, entropy, steadiness.
        start: [N] detached latents.
        generator: of all draws.

    Returns:
        Losses `policy` and `critic`, both scalars; metrics (scalars).
    """
    imagined = imagine(model, policy, start, config.horizon, generator)
    arrived = Latent(imagined.latent.deter[1:], imagined.latent.stoch[1:])
    feat = imagined.latent.feat
    reward = model.predict_reward(arrived)
    proceed = model.predict_continue(arrived)
    discount = proceed * config.discount
    returns = lambda_return(reward, discount, critic.value(feat[1:]), config.lambda_)
    assert returns.shape == imagined.action.shape[:2], (returns.shape, imagined.action.shape)
    with torch.no_grad():  # a step counts as much as it is likely to be reached
        weight = torch.cumprod(torch.cat((torch.ones_like(proceed[:1]), proceed[:-1])), dim=0)
    scale = span.update(returns.detach())
    entropy = normal_entropy(imagined.deviation)
    change = imagined.mean.diff(dim=0).square().mean(dim=-1)  # of none where there is one step alone
    # Far from what pays, going about is how it is found; where most is paid, rest is.
    paid = reward[:-1].detach().clamp(0.0, 1.0).pow(4)
    unsteady = (weight[1:] * paid * change).sum() / max(change.numel(), 1)
    worth = returns / scale + config.entropy_scale * entropy
    losses = {
        "policy": (-weight * worth).mean() + config.steadiness_scale * unsteady / scale,
        "critic": (weight * critic.two_hot.loss(critic.net(feat[:-1].detach()), returns.detach())).mean(),
    }
    metrics = {
        "imagined_return": returns.detach().mean(),
        "imagined_reward": reward.detach().mean(),
        "action_change": unsteady.detach(),
        "policy_deviation": imagined.deviation.detach().mean(),
        "return_span": span.span.clone(),
    }
    return losses, metrics
