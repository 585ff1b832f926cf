"""A student is fitted to what one robot has recorded; the policy, the teacher and the recurrence stay as they are.

    recording    image, action, what the robot measured       simulation    as in distillation
        |  picture and latent tell the gripper where              |  the student arrives at the teacher's latent,
        |  the robot measured it; the posterior is what           |  so that what it could do it can do still
        |  the prior expected                                     |
        +------------- image encoder and posterior ---------------+

Shapes: B batch, T time, K views, A action, M measured entries of the state, H W C image.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from learner.config import StudentConfig
from learner.devices import make_generator
from learner.distributions import categorical_kl
from learner.methods.twist import TwistPolicy
from learner.networks import frozen_parameters, masked_mean, squared_error
from learner.optimiser import Optimiser
from learner.steps import weighted_sum
from learner.student import Student, scales, student_losses
from learner.teacher import Teacher, TensorBatch

RECORDED_SCALES = {"readout": 10.0, "belief": 10.0, "consistency": 0.1}
"""Squared errors of normalised states are small numbers, divergences in nats are not."""


@dataclass(frozen=True)
class AdaptationConfig:
    """How a student is fitted.

    Attributes:
        updates: of its parameters.
        batch_size: episodes of each kind in an update.
        learning_rate: Adam's.
        gradient_norm: gradients are clipped to this norm.
    """

    updates: int = 200
    batch_size: int = 4
    learning_rate: float = 2e-4
    gradient_norm: float = 10.0


def recorded_losses(
    student: Student, teacher: Teacher, batch: TensorBatch, known: Tensor, generator: torch.Generator
) -> dict[str, Tensor]:
    """What a recording says without anybody having labelled it, [B, T] each, unreduced and unscaled.

    Args:
        student: fitted.
        teacher: frozen; its decoder reads the latent.
        batch: `image` [B, T, H, W, C], `action` [B, T, A] that led there, `is_first` [B, T], `measured` [B, T, M] of
            now and `measured_at_exposure` [B, T, M], both normalised as the state is; `proprioception` [B, T, P] in
            physical units.
        known: [M], which entries of the state are measured.
        generator: of the draws of z.
    """
    embed: Tensor = student.encoder(batch["image"])
    noise = student.rssm.draw(batch["action"], generator)
    seen = student.observe(student.seen(embed, batch["proprioception"]), batch["action"], batch["is_first"], noise)
    read = student.readout(embed).index_select(-1, known)
    believed = teacher.decoder(seen.latent.feat).index_select(-1, known)
    return {
        "readout": squared_error(read, batch["measured_at_exposure"]),
        "belief": squared_error(believed, batch["measured"]),
        "consistency": categorical_kl(seen.post, seen.prior.detach()),
    }


class Adaptation:
    """Fits the image encoder and the posterior of a policy's student, in place."""

    def __init__(self, networks: TwistPolicy, known: list[int], config: AdaptationConfig, seed: int) -> None:
        """Freezes all but what is fitted.

        Args:
            networks: of the policy.
            known: which entries of the state a robot measures.
            config: how.
            seed: of all draws.
        """
        self.networks = networks
        for module in networks.modules:
            frozen_parameters(module)
        self.fitted = fitted_modules(networks.student)
        for parameter in self.fitted.parameters():
            parameter.requires_grad_(True)
        self._optimiser = Optimiser(self.fitted, config.learning_rate, config.gradient_norm)
        self._known = torch.tensor(known, dtype=torch.int64)
        self._generator = make_generator(networks.device, seed)
        self._distillation: StudentConfig = replace(
            networks.config.student, imagination_scale=0.0, encoder_share=1.0, feed="student"
        )

    def update(self, recorded: TensorBatch, simulated: TensorBatch) -> dict[str, float]:
        """One step.

        Args:
            recorded: see `recorded_losses`, and `valid` [B, T].
            simulated: as `learner.student.student_losses` takes it, with one view.

        Returns:
            The mean of each term.
        """
        student, teacher = self.networks.student, self.networks.teacher
        found = recorded_losses(student, teacher, recorded, self._known, self._generator)
        terms = {name: masked_mean(loss, recorded["valid"]) for name, loss in found.items()}
        held, _ = student_losses(student, teacher, self.networks.policy, self._distillation, simulated, self._generator)
        kept = {f"simulated_{name}": masked_mean(loss, simulated["valid"]) for name, loss in held.items()}
        weights = RECORDED_SCALES | {f"simulated_{name}": value for name, value in scales(self._distillation).items()}
        self._optimiser.backward(weighted_sum(terms | kept, weights))
        self._optimiser.step()
        return {name: float(value.detach()) for name, value in (terms | kept).items()}


def fitted_modules(student: Student) -> nn.ModuleList:
    """What an adaptation moves: how pictures become the posterior."""
    rssm = student.rssm
    return nn.ModuleList([student.encoder, rssm.post_deter, rssm.post_embed, rssm.post_norm, rssm.post_out])
