"""State regression: the state is read off each image, and the teacher acts on what was read. Nothing is distilled.

    image -> CNN -> embed -> state when it was taken ──> the teacher's encoder, filter and policy

The memory is the teacher's, which was trained on states without errors: it knows of none. `learner.student` has the
settings; of its terms the readout is the only one.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from learner.acting import LatentPolicy
from learner.config import LearnerConfig
from learner.frames import Frames
from learner.methods.following import FollowingPart
from learner.methods.part import Ground, Part, TensorBatch
from learner.methods.teaching import TeacherPart
from learner.networks import GaussianLoss, ImageEncoder, masked_mean
from learner.readout import LEAST_DEVIATION, readout_loss, readout_of_frames, sequences, shown_state
from learner.rssm import RSSM
from learner.tally import Metrics
from replay.schema import StreamSpec


class StateReader(nn.Module):
    """Images to normalised states."""

    def __init__(self, spec: StreamSpec, config: LearnerConfig) -> None:
        """Makes a network for the images of `spec`."""
        super().__init__()
        hidden = config.rssm.hidden
        self.encoder = ImageEncoder(spec.image_shape, config.student.channels, hidden)
        self.readout = nn.Linear(hidden, spec.state_dim)
        self.readout_loss = GaussianLoss(spec.state_dim, LEAST_DEVIATION)

    def forward(self, image: Tensor) -> Tensor:
        """[..., H, W, C] uint8 to [..., S_dim]."""
        state: Tensor = self.readout(self.encoder(image))
        return state


class ReaderPart(FollowingPart[StateReader]):
    """The regression."""

    def __init__(self, ground: Ground, leader: TeacherPart) -> None:
        """Makes an untrained network."""
        super().__init__(ground, leader, StateReader(ground.spec, ground.config))

    def losses(self, batch: TensorBatch, frames: Frames | None) -> tuple[dict[str, Tensor], Metrics]:
        """See `FollowingPart`; the frames are those of the pool, or where there is none, all that the batch has."""
        config, teacher = self.ground.config.student, self.target.teacher
        with self.ground.autocast(self.device):
            if frames is not None:
                return {"readout": readout_of_frames(self.student, teacher, config, frames, self.generator).mean()}, {}
            views = batch["image"].shape[2]
            embed = self.student.encoder(sequences(batch, config, self.generator))
            valid = batch["valid"].repeat_interleave(views, dim=0)
            loss = readout_loss(self.student, embed, shown_state(teacher, batch, views), valid)
        return {"readout": masked_mean(loss, valid)}, {}

    def scales(self) -> dict[str, float]:
        """See `FollowingPart`."""
        return {"readout": self.ground.config.student.readout_scale}

    def copy_leader(self) -> None:
        """Nothing: all that is used of the teacher are the state's bounds, which do not move."""


def build(ground: Ground) -> Sequence[Part]:
    """See `learner.methods.part.Build`."""
    teacher = TeacherPart(ground)
    return teacher, ReaderPart(ground, teacher)


class StateRegressionPolicy(LatentPolicy):
    """The teacher's policy on the teacher's latent, of states or of what was read for them."""

    def __init__(self, spec: StreamSpec, config: LearnerConfig, device: str = "cpu", seed: int = 0) -> None:
        """See `ActingPolicy`."""
        super().__init__(spec, config, device, seed)
        reader = self.networks["student_average"]
        assert isinstance(reader, StateReader)
        self.reader = reader

    @staticmethod
    def make(spec: StreamSpec, config: LearnerConfig) -> dict[str, nn.Module]:
        """See `ActingPolicy`."""
        return {**LatentPolicy.make(spec, config), "student_average": StateReader(spec, config)}

    def seen_in(self, image: Tensor) -> tuple[Tensor, RSSM]:
        """See `LatentPolicy`."""
        return self.teacher.encoder(self.reader(image)), self.teacher.rssm


acting = StateRegressionPolicy
