"""The recurrent state-space model: h_t = f(h_t-1, z_t-1, a_t), z_t ~ prior(h_t) or post(h_t, embed_t).

One model, used by the teacher (embed of the state) and by the student (embed of the image).

Shapes: B batch, T time, D deter, S groups, K classes, E embed, A action; feat is [.., D + S*K].
`action[t]` is the action that led to observation t (see the replay schema's table), so that step t reads
embed[t], action[t] and is_first[t] of the same row.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from learner.config import RSSMConfig
from learner.distributions import drawn_or_expected, gumbel, mix_uniform, straight_through
from learner.networks import NormGRUCell


class Latent(NamedTuple):
    """A latent state: deter [..., D] and stoch [..., S, K] (one-hot in value)."""

    deter: Tensor
    stoch: Tensor

    @property
    def feat(self) -> Tensor:
        """[..., D + S*K], what the policy and all heads read."""
        return torch.cat((self.deter, self.stoch.flatten(-2).to(self.deter.dtype)), dim=-1)

    def rows(self, chosen: Tensor) -> "Latent":
        """Of latents [B, T], those at places chosen [N] of all B * T rows: [N]."""
        return Latent(*(x.flatten(0, 1).index_select(0, chosen) for x in self))

    def detach(self) -> "Latent":
        """The same values without gradient."""
        return Latent(self.deter.detach(), self.stoch.detach())


class Observed(NamedTuple):
    """A sequence filtered through the model: latents and the log-probabilities of posterior and prior, [B, T, ...]."""

    latent: Latent
    post: Tensor
    prior: Tensor


class RSSM(nn.Module):
    """See the module's docstring."""

    def __init__(self, config: RSSMConfig, embed: int, action: int) -> None:
        """Makes a model for embeddings of `embed` units and actions of `action` dimensions."""
        super().__init__()
        self.config = config
        stoch = config.groups * config.classes
        self.stoch_in = nn.Linear(stoch, config.hidden, bias=False)
        self.action_in = nn.Linear(action, config.hidden)
        self.norm_in = nn.LayerNorm(config.hidden)
        self.cell = NormGRUCell(config.hidden, config.deter)
        self.prior_hidden = nn.Sequential(
            nn.Linear(config.deter, config.hidden, bias=False), nn.LayerNorm(config.hidden), nn.SiLU()
        )
        self.prior_out = nn.Linear(config.hidden, stoch)
        self.post_deter = nn.Linear(config.deter, config.hidden, bias=False)
        self.post_embed = nn.Linear(embed, config.hidden, bias=False)
        self.post_norm = nn.LayerNorm(config.hidden)
        self.post_out = nn.Linear(config.hidden, stoch)

    @property
    def feat_size(self) -> int:
        """Units of a latent's feat."""
        return self.config.deter + self.config.groups * self.config.classes

    @property
    def dynamics(self) -> nn.ModuleList:
        """The parts that need no observation: recurrence and prior."""
        return nn.ModuleList(
            [self.stoch_in, self.action_in, self.norm_in, self.cell, self.prior_hidden, self.prior_out]
        )

    def initial(self, batch: int) -> Latent:
        """The zero latent before a sequence's first observation: [B, D] and [B, S, K]."""
        weight = self.prior_out.weight
        kind = weight.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
        return Latent(
            torch.zeros(batch, self.config.deter, device=weight.device, dtype=dtype),
            torch.zeros(batch, self.config.groups, self.config.classes, device=weight.device),
        )

    def prior(self, deter: Tensor) -> Tensor:
        """[..., D] to the prior's log-probabilities [..., S, K]."""
        return self.log_probs(self.prior_out(self.prior_hidden(deter)))

    def post(self, deter: Tensor, embed_in: Tensor) -> Tensor:
        """[..., D] and the projected embedding, `project`, to the posterior's log-probabilities [..., S, K]."""
        return self.log_probs(self.post_out(F.silu(self.post_norm(self.post_deter(deter) + embed_in))))

    def project(self, embed: Tensor) -> Tensor:
        """[..., E] to what `post` takes [..., hidden]: for a whole sequence at once, as no step depends on another."""
        projected: Tensor = self.post_embed(embed)
        return projected

    def recur(self, latent: Latent, action_in: Tensor) -> Tensor:
        """The next deter [B, D] from a latent [B] and the projected action [B, hidden]."""
        stoch_in = self.stoch_in(latent.stoch.flatten(-2).to(self.stoch_in.weight.dtype))
        deter: Tensor = self.cell(F.silu(self.norm_in(stoch_in + action_in)), latent.deter)
        return deter

    def imagine(self, latent: Latent, action: Tensor, noise: Tensor | None) -> tuple[Latent, Tensor]:
        """One step without observation.

        Args:
            latent: [B].
            action: [B, A], taken in `latent`.
            noise: [B, S, K] Gumbel noise that draws z; None takes its probabilities.

        Returns:
            The next latent and the prior's log-probabilities [B, S, K] that it was drawn from.
        """
        deter = self.recur(latent, self.action_in(action.to(self.action_in.weight.dtype)))
        prior = self.prior(deter)
        return Latent(deter, drawn_or_expected(prior, noise)), prior

    def observe_step(
        self, latent: Latent, embed: Tensor, action: Tensor, is_first: Tensor, noise: Tensor | None
    ) -> Latent:
        """One filtered step, as an actor or a robot takes it: [B] latent, [B, E], [B, A], [B] bool to [B] latent.

        With noise [B, S, K] z is drawn, without it takes its probabilities.
        """
        deter = self.recur(_reset(latent, ~is_first), self.action_in(action.to(self.action_in.weight.dtype)))
        return Latent(deter, drawn_or_expected(self.post(deter, self.project(embed)), noise))

    def draw(self, action: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """[T, B, S, K] Gumbel noise with which `observe` draws z along actions [B, T, A]."""
        batch, time = action.shape[:2]
        return gumbel((time, batch, self.config.groups, self.config.classes), action.device, generator)

    def observe(
        self,
        embed: Tensor,
        action: Tensor,
        is_first: Tensor,
        noise: Tensor,
        feed: Tensor | None = None,
    ) -> Observed:
        """Filters whole sequences from the zero latent.

        Args:
            embed: [B, T, E].
            action: [B, T, A], the action that led to each observation.
            is_first: [B, T] bool, where an episode begins and the latent is reset.
            noise: [T, B, S, K] of `draw`.
            feed: [B, T, S, K], a z to put into the recurrence in place of this model's own draws.

        Returns:
            Observed, all [B, T, ...]; its latent's stoch are this model's own draws, whatever was fed.
        """
        batch, time = action.shape[:2]
        action_in = self.action_in(action).unbind(1)
        embed_in = self.project(embed).unbind(1)
        keep = (~is_first).unbind(1)
        latent = self.initial(batch)
        deters, stochs, posts = [], [], []
        for t in range(time):
            deter = self.recur(_reset(latent, keep[t]), action_in[t])
            post = self.post(deter, embed_in[t])
            stoch = straight_through(post, noise[t])
            deters.append(deter)
            posts.append(post)
            stochs.append(stoch)
            latent = Latent(deter, stoch if feed is None else feed[:, t])
        deter = torch.stack(deters, dim=1)
        return Observed(Latent(deter, torch.stack(stochs, dim=1)), torch.stack(posts, dim=1), self.prior(deter))

    def log_probs(self, logit: Tensor) -> Tensor:
        """Logits [..., S * K] to log-probabilities [..., S, K], a share of them uniform."""
        shaped = logit.unflatten(-1, (self.config.groups, self.config.classes))
        return mix_uniform(shaped, self.config.unimix)


def _reset(latent: Latent, keep: Tensor) -> Latent:
    """The latent where keep [B] is True, zero elsewhere."""
    return Latent(latent.deter * keep[:, None].to(latent.deter.dtype), latent.stoch * keep[:, None, None])
