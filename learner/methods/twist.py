"""TWIST: a student world model of images that learns, beside the teacher, to arrive at the teacher's latent state.

The teacher's policy then acts on it. `learner.student` says what is learned from what.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from learner import student as distillation
from learner.acting import LatentPolicy
from learner.config import LearnerConfig
from learner.frames import Frames, of_each_view
from learner.methods.following import ImitatingPart
from learner.methods.part import Ground, Part, TensorBatch
from learner.methods.teaching import TeacherPart
from learner.networks import masked_mean
from learner.rssm import RSSM
from learner.tally import Metrics
from replay.schema import StreamSpec


class StudentPart(ImitatingPart[distillation.Student]):
    """The distillation."""

    def __init__(self, ground: Ground, leader: TeacherPart) -> None:
        """Makes an untrained student."""
        super().__init__(ground, leader, distillation.Student(ground.spec, ground.config))
        self._take_dynamics()

    def begin(self) -> None:
        """See `Part`: unless they are to be from scratch, the dynamics begin as the teacher has them by now."""
        with self.ground.copying():
            self._take_dynamics()

    def _take_dynamics(self) -> None:
        if self.ground.config.student.dynamics != "scratch":
            for student in (self.student, self.student_average):
                student.copy_dynamics(self._leader.teacher)

    def losses(self, batch: TensorBatch, frames: Frames | None) -> tuple[dict[str, Tensor], Metrics]:
        """See `FollowingPart`."""
        config = self.ground.config.student
        with self.ground.autocast(self.device):
            losses, metrics = distillation.student_losses(
                self.student, self.target.teacher, self.target.policy, config, batch, self.generator, frames
            )
        valid = of_each_view(batch["valid"], batch["image"].shape[2])
        of_steps = losses.keys() - {"imagination"} - ({"readout"} if frames is not None else set())
        means = {k: masked_mean(loss, valid) if k in of_steps else loss.mean() for k, loss in losses.items()}
        return means, metrics

    def scales(self) -> dict[str, float]:
        """See `FollowingPart`."""
        return distillation.scales(self.ground.config.student)

    def copy_leader(self) -> None:
        """The frozen copy follows the teacher; with tied dynamics so does the student's recurrence."""
        super().copy_leader()
        if self.student.tied:
            self._take_dynamics()


def build(ground: Ground) -> Sequence[Part]:
    """See `learner.methods.part.Build`."""
    teacher = TeacherPart(ground)
    return teacher, StudentPart(ground, teacher)


class TwistPolicy(LatentPolicy):
    """The teacher's policy on the latent of teacher or student."""

    def __init__(self, spec: StreamSpec, config: LearnerConfig, device: str = "cpu", seed: int = 0) -> None:
        """See `ActingPolicy`."""
        super().__init__(spec, config, device, seed)
        student = self.networks["student_average"]
        assert isinstance(student, distillation.Student)
        self.student = student

    @staticmethod
    def make(spec: StreamSpec, config: LearnerConfig) -> dict[str, nn.Module]:
        """See `ActingPolicy`."""
        return {**LatentPolicy.make(spec, config), "student_average": distillation.Student(spec, config)}

    def seen_in(self, image: Tensor, state: Tensor) -> tuple[Tensor, RSSM]:
        """See `LatentPolicy`."""
        student = self.student
        return student.seen(student.encoder(image), student.proprioception.of(state)), student.rssm


acting = TwistPolicy
