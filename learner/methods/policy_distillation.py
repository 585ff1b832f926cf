"""Policy distillation: a recurrent policy of images that learns the teacher's actions, also where it drives itself.

    image -> CNN -> embed ──> GRU ──> action ~ the teacher's, on its own latent of the same steps' states

No world model is distilled. Episodes that it drives are labelled with what the teacher would have done there (DAgger,
Ross et al., arXiv 1011.0686), as the teacher can filter any episode's states: `actors.student_fraction`. The image
encoder learns from the actions, and from a readout of the state besides, as TWIST's does, unless
`learner.student.readout_scale` is 0. Of `learner.student` the terms of distillation (posterior, prior, deter,
imagination, state) and what is about them are not read.

Shapes: B batch, T time, D deter, E embed, A action.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from learner.acting import Carry, LatentPolicy
from learner.config import LearnerConfig
from learner.frames import Frames, by_view, random_shift
from learner.methods.following import ImitatingPart
from learner.methods.part import Ground, Part, TensorBatch
from learner.methods.teaching import TeacherPart
from learner.networks import MLP, NormGRUCell, masked_mean, squared_error
from learner.readout import Reader, readout_loss, readout_of_frames
from learner.student import teacher_target
from learner.tally import Metrics
from replay.schema import StreamSpec


class ImagePolicy(Reader):
    """Images and actions so far to the next action; E is what it `saw`."""

    def __init__(self, spec: StreamSpec, config: LearnerConfig) -> None:
        """Makes a network for the images of `spec`."""
        super().__init__(spec, config)
        self.make_readout(spec)
        self.deter, hidden = config.rssm.deter, config.rssm.hidden
        self.embed_in = nn.Linear(self.seen_size, hidden, bias=False)
        self.action_in = nn.Linear(spec.action_dim, hidden)
        self.norm_in = nn.LayerNorm(hidden)
        self.cell = NormGRUCell(hidden, self.deter)
        self.head = MLP(self.deter + self.seen_size, hidden, spec.action_dim, output_scale=0.1)

    def initial(self, batch: int) -> Tensor:
        """The memory before an episode's first image, [B, D]."""
        weight = self.embed_in.weight
        kind = weight.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
        return torch.zeros(batch, self.deter, device=weight.device, dtype=dtype)

    def remember(self, memory: Tensor, embed: Tensor, action: Tensor, is_first: Tensor) -> Tensor:
        """One step: [B, D], [B, E], [B, A] that led here, [B] bool to the next memory [B, D]."""
        kept = memory * (~is_first)[:, None].to(memory.dtype)
        taken = self.embed_in(embed) + self.action_in(action)
        after: Tensor = self.cell(F.silu(self.norm_in(taken)), kept)
        return after

    def act(self, memory: Tensor, embed: Tensor) -> Tensor:
        """[..., D] and [..., E] to the mean action [..., A] in [-1, 1], float32."""
        return torch.tanh(self.head(torch.cat((memory, embed.to(memory.dtype)), dim=-1)).float())

    def forward(self, embed: Tensor, action: Tensor, is_first: Tensor) -> Tensor:
        """A whole sequence: [B, T, E], [B, T, A], [B, T] bool to mean actions [B, T, A]."""
        memory, memories = self.initial(len(embed)), []
        for t in range(embed.shape[1]):
            memory = self.remember(memory, embed[:, t], action[:, t], is_first[:, t])
            memories.append(memory)
        return self.act(torch.stack(memories, dim=1), embed)


class ImagePolicyPart(ImitatingPart[ImagePolicy]):
    """The distillation of actions."""

    def __init__(self, ground: Ground, leader: TeacherPart) -> None:
        """Makes an untrained policy."""
        super().__init__(ground, leader, ImagePolicy(ground.spec, ground.config))

    def losses(self, batch: TensorBatch, frames: Frames | None) -> tuple[dict[str, Tensor], Metrics]:
        """See `FollowingPart`."""
        config, teacher = self.ground.config.student, self.target.teacher
        with self.ground.autocast(self.device):
            noise = teacher.rssm.draw(batch["action"], self.generator)
            wanted = teacher_target(teacher, self.target.policy, batch, batch["image"].shape[2], noise).action
            batch = by_view(batch)
            valid = batch["valid"]
            embed = self.student.encoder(random_shift(batch["image"], config.shift_pixels, self.generator))
            measured = self.student.proprioception.of(batch["state"])
            chosen = self.student(self.student.saw(embed, measured), batch["action"], batch["is_first"])
            means = {"action": masked_mean(squared_error(chosen, wanted), valid)}
            if frames is None:
                shown = teacher.normalise(batch["state_at_exposure"])
                means["readout"] = masked_mean(readout_loss(self.student, embed, measured, shown, valid), valid)
            else:
                means["readout"] = readout_of_frames(self.student, teacher, config, frames, self.generator).mean()
        return means, {"action_error": (chosen.detach() - wanted).abs().mean()}

    def scales(self) -> dict[str, float]:
        """See `FollowingPart`."""
        config = self.ground.config.student
        return {"action": config.action_scale, "readout": config.readout_scale}


def build(ground: Ground) -> Sequence[Part]:
    """See `learner.methods.part.Build`."""
    teacher = TeacherPart(ground)
    return teacher, ImagePolicyPart(ground, teacher)


class Memories(NamedTuple):
    """Of each environment: the teacher's latent with the last action, and the image policy's memory [N, D]."""

    teacher: Carry
    memory: Tensor


class DistilledPolicy(LatentPolicy):
    """The teacher from states, the recurrent policy from images."""

    def __init__(self, spec: StreamSpec, config: LearnerConfig, device: str = "cpu", seed: int = 0) -> None:
        """See `ActingPolicy`."""
        super().__init__(spec, config, device, seed)
        student = self.networks["student_average"]
        assert isinstance(student, ImagePolicy)
        self.student = student

    @staticmethod
    def make(spec: StreamSpec, config: LearnerConfig) -> dict[str, nn.Module]:
        """See `ActingPolicy`."""
        return {**LatentPolicy.make(spec, config), "student_average": ImagePolicy(spec, config)}

    def initial(self, count: int) -> Any:
        """See `ActingPolicy`."""
        return Memories(super().initial(count), self.student.initial(count))

    @torch.no_grad()
    def step(
        self,
        carry: Any,
        state: np.ndarray,
        image: np.ndarray | None,
        is_first: np.ndarray,
        from_image: np.ndarray,
        explore: bool,
    ) -> tuple[np.ndarray, Any]:
        """See `ActingPolicy`; the teacher looks on where it does not drive, which changes nothing there."""
        chosen, after = super().step(carry.teacher, state, None, is_first, np.zeros_like(from_image), explore)
        rows = np.flatnonzero(from_image)
        if not len(rows):
            return chosen, Memories(after, carry.memory)
        if image is None:
            raise ValueError("the student was asked to act without an image")
        driven = torch.as_tensor(rows).to(self.device)
        first = torch.as_tensor(is_first).to(self.device)[driven]
        last = carry.teacher.action[driven] * (~first)[:, None]
        measured = self.student.proprioception.of(torch.as_tensor(state[rows]).to(self.device))
        embed = self.student.saw(self.student.encoder(torch.as_tensor(image[rows]).to(self.device)), measured)
        memory = carry.memory.clone()
        memory[driven] = self.student.remember(carry.memory[driven], embed, last, first)
        mean = self.student.act(memory[driven], embed)
        if explore:
            deviation = self.config.behaviour.minimum_deviation
            mean = mean + deviation * torch.randn(mean.shape, device=self.device, generator=self.generator)
        action = after.action.clone()
        action[driven] = mean.clamp(-1.0, 1.0)
        return action.cpu().numpy(), Memories(Carry(after.latent, action), memory)

    def imagined_states(
        self, state: np.ndarray, image: np.ndarray | None, action: np.ndarray, context: int
    ) -> np.ndarray:
        """See `ActingPolicy`; from images it imagines nothing."""
        if image is not None:
            raise ValueError("the student of method policy_distillation has no model that imagines states")
        return super().imagined_states(state, None, action, context)


acting = DistilledPolicy
