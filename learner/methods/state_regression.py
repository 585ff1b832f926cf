"""State regression: the state is read off each image, and the teacher acts on what was read. Nothing is distilled.

    image -> CNN -> embed -> state when it was taken ──> the teacher's encoder, filter and policy

The memory is the teacher's. Where some of its episodes had a state with errors that stay, as a third of push's and
lift's have (`actors.state_only_envs`), it has learned to live with those, and this rival is the stronger for it.
`learner.student` has the settings; of its terms the readout is the only one.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from learner.acting import LatentPolicy
from learner.config import LearnerConfig
from learner.frames import Frames, by_view, random_shift
from learner.methods.following import FollowingPart
from learner.methods.part import Ground, Part, TensorBatch
from learner.methods.teaching import TeacherPart
from learner.networks import masked_mean, normalised
from learner.readout import Reader, readout_loss, readout_of_frames
from learner.rssm import RSSM
from learner.tally import Metrics
from replay.schema import StreamSpec


class StateReader(Reader):
    """Images, and what the robot measures, to normalised states."""

    def __init__(self, spec: StreamSpec, config: LearnerConfig) -> None:
        """See `Reader`; there is nothing else in it."""
        super().__init__(spec, config)
        self.make_readout(spec)

    def forward(self, image: Tensor, measured: Tensor) -> Tensor:
        """[..., H, W, C] uint8 and [..., P] in physical units to [..., S_dim]."""
        return self.read(self.encoder(image), measured)


class Bounds:
    """Those of the state, all that is needed of the teacher."""

    def __init__(self, spec: StreamSpec, device: torch.device) -> None:
        """Puts them on a device."""
        self.low = torch.tensor(spec.state_low, dtype=torch.float32).to(device)
        self.high = torch.tensor(spec.state_high, dtype=torch.float32).to(device)

    def normalise(self, state: Tensor) -> Tensor:
        """Physical units [..., S_dim] to [-1, 1] between them."""
        return normalised(state, self.low, self.high)


class ReaderPart(FollowingPart[StateReader]):
    """The regression."""

    def __init__(self, ground: Ground, leader: TeacherPart) -> None:
        """Makes an untrained network."""
        super().__init__(ground, leader, StateReader(ground.spec, ground.config))
        self.bounds = Bounds(ground.spec, self.device)

    def losses(self, batch: TensorBatch, frames: Frames | None) -> tuple[dict[str, Tensor], Metrics]:
        """See `FollowingPart`; the frames are those of the pool, or where there is none, all that the batch has."""
        config, bounds = self.ground.config.student, self.bounds
        with self.ground.autocast(self.device):
            if frames is not None:
                return {"readout": readout_of_frames(self.student, bounds, config, frames, self.generator).mean()}, {}
            batch = by_view(batch)
            embed = self.student.encoder(random_shift(batch["image"], config.shift_pixels, self.generator))
            shown = bounds.normalise(batch["state_at_exposure"])
            measured = self.student.proprioception.of(batch["state"])
            loss = readout_loss(self.student, embed, measured, shown, batch["valid"])
        return {"readout": masked_mean(loss, batch["valid"])}, {}

    def scales(self) -> dict[str, float]:
        """See `FollowingPart`."""
        return {"readout": self.ground.config.student.readout_scale}


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

    def seen_in(self, image: Tensor, state: Tensor) -> tuple[Tensor, RSSM]:
        """See `LatentPolicy`."""
        return self.teacher.encoder(self.reader(image, self.reader.proprioception.of(state))), self.teacher.rssm


acting = StateRegressionPolicy
