"""A part that learns a world model, and a policy in its imagination: the teacher's, and those of methods without one.

batch ──> world model ──latents──> imagination ──> policy, critic
"""

from __future__ import annotations

import copy
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from learner import teacher as world_model
from learner.behaviour import Critic, Policy, ReturnRange, behaviour_losses
from learner.distributions import pick_rows
from learner.methods.part import STATES, Ground, Part, TensorBatch, Trained
from learner.networks import copy_parameters, frozen_parameters, move_towards
from learner.rssm import Latent
from learner.steps import weighted_sum
from learner.tally import Metrics
from learner.teacher import Teacher, WorldModel

Model = TypeVar("Model", bound=WorldModel)


IMAGINES = ("rssm", "reward", "continues")
"""Of a world model, what imagination takes; it sees nothing and rebuilds nothing."""


class Frozen:
    """A copy of the teacher and its policy that no gradient can move, in the updates' types."""

    def __init__(self, teacher: Teacher, policy: Policy, device: torch.device, dtype: torch.dtype) -> None:
        """Copies both, to a device."""
        self.teacher = copy.deepcopy(teacher).to(device, dtype)
        for bound in ("low", "high"):  # keep their precision
            setattr(self.teacher, bound, getattr(teacher, bound).to(device))
        self.policy = copy.deepcopy(policy).to(device, dtype)
        frozen_parameters(self.teacher)
        frozen_parameters(self.policy)

    def refresh(self, teacher: Teacher, policy: Policy) -> None:
        """Follows the moving originals."""
        copy_parameters(teacher, self.teacher)
        copy_parameters(policy, self.policy)


class WorldModelPart(Part, Generic[Model]):
    """World model, policy and critic."""

    def __init__(self, name: str, ground: Ground, model: Model, called: str) -> None:
        """Takes an untrained model, and makes policy and critic.

        Args:
            name: of the part.
            ground: that it stands on.
            model: the world model.
            called: the model's name in checkpoints, and that of its optimiser.
        """
        super().__init__(name, ground, ground.device)
        spec, config = ground.spec, ground.config
        self.model, self._called = model.to(self.device), called
        feat = self.model.rssm.feat_size
        self.policy = Policy(feat, spec.action_dim, config).to(self.device)
        self.critic = Critic(feat, config).to(self.device)
        self.span = ReturnRange().to(self.device)
        self._dream = copy.deepcopy(self.model).to(self.device, ground.dtype)
        frozen_parameters(self._dream)
        del self._dream.encoder, self._dream.decoder

    @property
    def modules(self) -> dict[str, nn.Module]:
        """See `Part`."""
        return {self._called: self.model, "policy": self.policy, "critic": self.critic, "span": self.span}

    @property
    def acts(self) -> dict[str, nn.Module]:
        """See `Part`."""
        return {self._called: self.model, "policy": self.policy}

    def trains(self) -> dict[str, Trained]:
        """See `Part`."""
        teacher, behaviour = self.ground.config.teacher, self.ground.config.behaviour
        return {
            self._called: Trained(self.model, teacher.learning_rate, teacher.gradient_norm),
            "policy": Trained(self.policy, behaviour.actor_learning_rate, behaviour.gradient_norm),
            "critic": Trained(self.critic.net, behaviour.critic_learning_rate, behaviour.gradient_norm),
        }

    def update(self, batch: TensorBatch) -> Metrics:
        """One update of the world model, then of policy and critic."""
        config = self.ground.config.teacher
        with self.ground.autocast(self.device):
            losses, metrics, observed = world_model.teacher_losses(self.model, config, batch, self.generator)
        means = world_model.means(losses, batch)
        optimiser = self.optimisers[self._called]
        scales = world_model.scales(config, self.model.rebuilds)
        metrics["gradient_norm"] = optimiser.backward(weighted_sum(means, scales))
        with self.ground.moving():
            optimiser.step()
        metrics |= {f"loss_{name}": mean.detach() for name, mean in means.items()}
        # An episode does not go on after its end: imagination begins elsewhere.
        going_on = batch["valid"] & ~batch["is_terminal"]
        return metrics | self._behaviour_update(observed.latent.detach(), going_on)

    def _behaviour_update(self, latent: Latent, going_on: Tensor) -> Metrics:
        self._look_again()
        config = self.ground.config.behaviour
        start = latent.rows(pick_rows(going_on.flatten(), config.starts, self.generator))
        with self.ground.autocast(self.device):
            losses, metrics = behaviour_losses(
                self._dream, self.policy, self.critic, self.span, config, start, self.generator
            )
        for name in ("policy", "critic"):
            metrics[f"{name}_gradient_norm"] = self.optimisers[name].backward(losses[name])
        with self.ground.moving():
            self.optimisers["policy"].step()
            self.optimisers["critic"].step()
        move_towards(self.critic.slow, self.critic.net, config.slow_critic_rate * (1.0 - self.refused))
        return metrics | {f"loss_{name}": loss.detach() for name, loss in losses.items()}

    def restored(self, updates: int) -> None:
        """See `Part`."""
        self._look_again()

    def _look_again(self) -> None:
        """What imagines follows the model."""
        for name in IMAGINES:
            copy_parameters(getattr(self.model, name), getattr(self._dream, name))


class TeacherPart(WorldModelPart[Teacher]):
    """The teacher, its policy and critic, from batches of states."""

    reads = STATES

    def __init__(self, ground: Ground) -> None:
        """Makes them untrained."""
        super().__init__("teacher", ground, Teacher(ground.spec, ground.config), "teacher")

    @property
    def teacher(self) -> Teacher:
        """The world model."""
        return self.model
