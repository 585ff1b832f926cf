"""Acting with the trained networks: the one policy on the teacher's latent (from state) or the student's (from image).

Shapes: N environments, S_dim state, H W C image, A action.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from learner.behaviour import Policy
from learner.config import LearnerConfig
from learner.devices import make_generator
from learner.distributions import gumbel
from learner.rssm import Latent
from learner.student import Student
from learner.teacher import Teacher
from learner.weights import load_flat
from replay.schema import StreamSpec


@dataclass
class Carry:
    """What acting remembers of each environment: its latent and its last action."""

    latent: Latent
    action: Tensor


class StudentProgress(nn.Module):
    """Travels with the weights: how many updates the student has had."""

    updates: Tensor

    def __init__(self) -> None:
        """Starts at zero updates."""
        super().__init__()
        self.register_buffer("updates", torch.zeros(()))


class ActingPolicy:
    """The networks that an actor or an evaluation needs, with their recurrent state kept by the caller."""

    def __init__(self, spec: StreamSpec, config: LearnerConfig, device: str = "cpu", seed: int = 0) -> None:
        """Makes untrained networks of version 0."""
        self.config = config
        self.device = torch.device(device)
        self.teacher = Teacher(spec, config).to(self.device)
        self.policy = Policy(self.teacher.rssm.feat_size, spec.action_dim, config).to(self.device)
        self.student = Student(spec, config).to(self.device)
        self.progress = StudentProgress()
        self.version = 0
        self.spec = spec
        self._generator = make_generator(self.device, seed)

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        """What travels, in order."""
        return self.teacher, self.policy, self.student, self.progress

    @property
    def student_ready(self) -> bool:
        """Whether the student has trained enough to drive."""
        return self.version > 0 and float(self.progress.updates) >= self.config.student.warm_up_updates

    def load(self, flat: np.ndarray, version: int) -> None:
        """Takes weights made by the learner's `publish`."""
        load_flat(self.modules, flat)
        self.version = version

    def initial(self, count: int) -> Carry:
        """The carry of `count` environments before their first observation."""
        return Carry(self.teacher.rssm.initial(count), torch.zeros(count, self.spec.action_dim, device=self.device))

    @torch.no_grad()
    def step(
        self,
        carry: Carry,
        state: np.ndarray,
        image: np.ndarray | None,
        is_first: np.ndarray,
        student: np.ndarray,
        explore: bool,
    ) -> tuple[np.ndarray, Carry]:
        """One action for every environment.

        Args:
            carry: of the step before.
            state: [N, S_dim] float32.
            image: [N, H, W, C] uint8; may be None when no row is the student's.
            is_first: [N] bool, environments whose episode begins here.
            student: [N] bool, environments that the student drives (constant within an episode).
            explore: draw z and the action; otherwise take z's probabilities and the action's mean.

        Returns:
            Actions [N, A] float32 in [-1, 1], and the next carry.

        Raises:
            ValueError: a row is the student's and there is no image.
        """
        first = torch.as_tensor(is_first).to(self.device)
        action = carry.action * (~first)[:, None]
        deter, stoch = torch.empty_like(carry.latent.deter), torch.empty_like(carry.latent.stoch)
        for rows, model in ((np.flatnonzero(~student), self.teacher), (np.flatnonzero(student), self.student)):
            if not len(rows):
                continue
            driven = torch.as_tensor(rows).to(self.device)
            embed = self._embed(model, state[rows], None if image is None else image[rows])
            before = Latent(carry.latent.deter[driven], carry.latent.stoch[driven])
            noise = gumbel(tuple(before.stoch.shape), self.device, self._generator) if explore else None
            latent = model.rssm.observe_step(before, embed, action[driven], first[driven], noise)
            deter[driven], stoch[driven] = latent.deter, latent.stoch
        latent = Latent(deter, stoch)
        mean, deviation = self.policy(latent.feat)
        if explore:
            mean = mean + deviation * torch.randn(mean.shape, device=self.device, generator=self._generator)
        chosen = mean.clamp(-1.0, 1.0)
        return chosen.cpu().numpy(), Carry(latent, chosen)

    def merged(self, before: Carry, after: Carry, moved: np.ndarray) -> Carry:
        """The carry of environments of which only some took a step.

        Args:
            before: the step.
            after: the step.
            moved: [N] bool; the others keep what they had.
        """
        rows = torch.as_tensor(moved, device=self.device)[:, None]
        deter = torch.where(rows, after.latent.deter, before.latent.deter)
        stoch = torch.where(rows[..., None], after.latent.stoch, before.latent.stoch)
        return Carry(Latent(deter, stoch), torch.where(rows, after.action, before.action))

    @torch.no_grad()
    def imagined_states(
        self, state: np.ndarray, image: np.ndarray | None, action: np.ndarray, context: int
    ) -> np.ndarray:
        """What the world model makes of an episode that it sees for `context` steps and then imagines.

        Args:
            state: [T, S_dim], what happened.
            image: [T, H, W, C] uint8: the student looks on; None: the teacher does, from the state.
            action: [T - 1, A], what was done.
            context: observed steps, 1 to T - 1.

        Returns:
            [T, S_dim] float32 in physical units, read off the latent by the teacher's decoder.
        """
        model: Teacher | Student = self.teacher if image is None else self.student
        latent = self.teacher.rssm.initial(1)
        padded = np.concatenate((np.zeros_like(action[:1]), action))
        actions = torch.as_tensor(padded).to(self.device)
        states = []
        for t in range(len(state)):
            if t < context:
                embed = self._embed(model, state[t : t + 1], None if image is None else image[t : t + 1])
                first = torch.full((1,), t == 0, device=self.device)
                latent = model.rssm.observe_step(latent, embed, actions[t : t + 1], first, None)
            else:
                latent, _ = model.rssm.imagine(latent, actions[t : t + 1], None)
            states.append(self.teacher.denormalise(self.teacher.decoder(latent.feat)))
        return torch.cat(states).cpu().numpy()

    def _embed(self, model: Teacher | Student, state: np.ndarray, image: np.ndarray | None) -> Tensor:
        if isinstance(model, Teacher):
            return model.embed(torch.as_tensor(state).to(self.device))
        if image is None:
            raise ValueError("the student was asked to act without an image")
        embed: Tensor = model.encoder(torch.as_tensor(image).to(self.device))
        return embed
