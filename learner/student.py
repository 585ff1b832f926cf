"""The student: a world model of domain-randomised images that learns to arrive at the teacher's latent state.

    image -> CNN -> embed -> RSSM -> (h, z) ~ the teacher's (h, z) of the same physics step -> the teacher's policy

The terms are those of TWIST (Yamada et al., arXiv 2311.03622): posterior, prior, deterministic state, and imagination
alignment. Two more read the student's latent through the teacher's frozen decoder and policy, and one reads the state
straight off single images; these three are ours. The image encoder learns from the last one: the others would let it
see far fewer worlds in the same time.

Shapes: B batch, T time, K views, D deter, S groups, C classes, A action, N imagined trajectories, H imagined steps.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from learner.behaviour import Policy, imagine
from learner.config import LearnerConfig, StudentConfig
from learner.distributions import categorical_kl, pick_rows
from learner.frames import Frames, by_view, of_each_view, random_shift
from learner.guided import GuidedRSSM
from learner.networks import copy_parameters, frozen_parameters, squared_error
from learner.readout import Reader, embedded, readout_loss, readout_of_frames, share_gradient
from learner.rssm import RSSM, Latent, Observed
from learner.teacher import Teacher, TensorBatch
from replay.schema import StreamSpec


class Student(Reader):
    """See the module's docstring."""

    def __init__(self, spec: StreamSpec, config: LearnerConfig) -> None:
        """Makes a model for the images of `spec`."""
        super().__init__(spec, config)
        self.tied = config.student.dynamics == "tied"
        self.guided = config.student.posterior == "read"
        sizes = config.rssm, self.seen_size, spec.action_dim
        self.rssm = GuidedRSSM(*sizes, spec.state_dim) if self.guided else RSSM(*sizes)
        self.make_readout(spec)
        if self.tied:
            frozen_parameters(self.rssm.dynamics)

    def copy_dynamics(self, teacher: Teacher) -> None:
        """Takes over the teacher's recurrence and prior, and its posterior where that guides the student's."""
        copy_parameters(teacher.rssm.dynamics, self.rssm.dynamics)
        if isinstance(self.rssm, GuidedRSSM):
            self.rssm.copy_guide(teacher)

    def seen(self, embed: Tensor, measured: Tensor) -> Tensor:
        """What the RSSM takes: what it `saw`; where it is guided, also the state that is read off that."""
        saw = self.saw(embed, measured)
        return torch.cat((saw, self.read(embed, measured).detach()), dim=-1) if self.guided else saw

    def observe(
        self,
        embed: Tensor,
        action: Tensor,
        is_first: Tensor,
        noise: Tensor,
        feed: Tensor | None = None,
    ) -> Observed:
        """Filters what was `seen` [B, T, E] with actions [B, T, A] and noise [T, B, S, C] to Observed [B, T, ...]."""
        return self.rssm.observe(embed, action, is_first, noise, feed)


class Target(NamedTuple):
    """What the student is to arrive at: the teacher's filtered sequence, [B*K, T, ...], without gradient."""

    observed: Observed
    state: Tensor
    action: Tensor


@torch.no_grad()
def teacher_target(teacher: Teacher, policy: Policy, batch: TensorBatch, views: int, noise: Tensor) -> Target:
    """Runs the frozen teacher on the batch's states, with noise [T, B, S, C]; sequences are repeated once per view."""
    seen = teacher.observe(batch, noise)
    action, _ = policy(seen.latent.feat)

    def repeat(x: Tensor) -> Tensor:
        return of_each_view(x, views)

    latent = Latent(repeat(seen.latent.deter), repeat(seen.latent.stoch))
    return Target(
        Observed(latent, repeat(seen.post), repeat(seen.prior)),
        repeat(teacher.normalise(batch["state"])),
        repeat(action),
    )


def imagination_alignment(
    student: Student,
    teacher: Teacher,
    policy: Policy,
    config: StudentConfig,
    starts: tuple[Latent, Latent],
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """The policy is rolled out in the teacher; the student imagines the same actions; both trajectories are compared.

    Args:
        student: trained.
        teacher: frozen.
        policy: frozen; acts in the teacher's imagination.
        config: horizon.
        starts: [N] the teacher's latents and the student's latents of the same steps.
        generator: of all draws; both models draw z with the same noise.

    Returns:
        Squared error of h and KL(teacher prior | student prior), each [H, N].
    """
    teacher_start, student_start = starts
    horizon = config.imagination_horizon
    with torch.no_grad():
        rollout = imagine(teacher, policy, teacher_start, horizon, generator)
        teacher_prior = teacher.rssm.prior(rollout.latent.deter[1:])
    deters, priors = [], []
    latent = student_start
    for t in range(horizon):
        latent, prior = student.rssm.imagine(latent, rollout.action[t], rollout.noise[t])
        if config.feed == "teacher":
            latent = Latent(latent.deter, rollout.latent.stoch[t + 1])
        deters.append(latent.deter)
        priors.append(prior)
    deter = squared_error(torch.stack(deters), rollout.latent.deter[1:])
    return deter, categorical_kl(teacher_prior, torch.stack(priors))


def student_losses(
    student: Student,
    teacher: Teacher,
    policy: Policy,
    config: StudentConfig,
    batch: TensorBatch,
    generator: torch.Generator,
    frames: Frames | None = None,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The distillation terms, unreduced and unscaled.

    Args:
        student: trained.
        teacher: frozen snapshot of the teacher.
        policy: frozen snapshot of the policy.
        config: whose z is fed, imagination, what moves the image encoder.
        batch: as the teacher's, and `image` [B, T, K, H, W, C] uint8, `state_at_exposure` [B, T, S_dim].
        generator: of all draws.
        frames: N single images for the readout; None: it reads the sequences' own.

    Returns:
        Losses by the names of `scales`: [B*K, T], those of imagination [H, N], the readout of frames [N]; metrics
        (scalars).
    """
    views = batch["image"].shape[2]
    # One noise for both: where the two posteriors agree so do the draws, and what follows from them is comparable.
    noise = teacher.rssm.draw(batch["action"], generator)
    target = teacher_target(teacher, policy, batch, views, noise)
    batch = by_view(batch)
    image = random_shift(batch["image"], config.shift_pixels, generator)
    valid = batch["valid"]
    feed = target.observed.latent.stoch if config.feed == "teacher" else None
    embed = embedded(student.encoder, image, with_gradient=config.encoder_share > 0.0 or frames is None)
    noise = of_each_view(noise, views, dim=1)
    measured = student.proprioception.of(batch["state"])
    shown = student.seen(share_gradient(embed, config.encoder_share), measured)
    seen = student.observe(shown, batch["action"], batch["is_first"], noise, feed)

    feat = seen.latent.feat
    read_state = teacher.decoder(feat)
    chosen, _ = policy(feat)
    losses = {
        "posterior": categorical_kl(target.observed.post, seen.post),
        "prior": categorical_kl(target.observed.prior, seen.prior),
        "deter": squared_error(seen.latent.deter, target.observed.latent.deter),
        "state": squared_error(read_state, target.state),
        "action": squared_error(chosen, target.action),
        "readout": readout_loss(student, embed, measured, teacher.normalise(batch["state_at_exposure"]), valid)
        if frames is None
        else readout_of_frames(student, teacher, config, frames, generator),
    }
    if config.imagination_scale > 0.0:
        going_on = valid & ~batch["is_terminal"]
        starts = _choose_starts(target.observed.latent, seen.latent, going_on, config.imagination_starts, generator)
        deter, prior = imagination_alignment(student, teacher, policy, config, starts, generator)
        losses["imagination"] = deter + prior
    with torch.no_grad():
        metrics = {
            "state_error": (read_state.float() - target.state).abs().mean(),
            "action_error": (chosen - target.action).abs().mean(),
            "z_agreement": (seen.post.argmax(-1) == target.observed.post.argmax(-1)).float().mean(),
        }
    return losses, metrics


def scales(config: StudentConfig) -> dict[str, float]:
    """The weight of each of `student_losses`' terms."""
    weights = {
        "posterior": config.posterior_scale,
        "prior": config.prior_scale,
        "deter": config.deter_scale,
        "state": config.state_scale,
        "action": config.action_scale,
        "readout": config.readout_scale,
    }
    return weights | ({"imagination": config.imagination_scale} if config.imagination_scale > 0.0 else {})


def _choose_starts(
    teacher: Latent, student: Latent, allowed: Tensor, count: int, generator: torch.Generator
) -> tuple[Latent, Latent]:
    """The same `count` random steps of both sequences, of those that are allowed [B, T]: [B, T, ...] to [N, ...]."""
    rows = pick_rows(allowed.flatten(), count, generator)
    return teacher.rows(rows), student.rows(rows)
