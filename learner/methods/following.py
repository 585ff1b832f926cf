"""A part that learns images beside the teacher: its frames, the average of it that acts, frozen copies of the teacher.

teacher's part ──every `refresh_updates`──> frozen copy ──┐      (`ImitatingPart` alone)
batch of pairs ──> pool of frames ──frames──> losses <────┘ ──> step ──> moving average, which acts
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from typing import Generic, TypeVar

from torch import Tensor, nn

from learner.frames import FramePool, Frames
from learner.methods.part import UNREWARDED_PAIRS, Ground, Part, TensorBatch, Trained
from learner.methods.teaching import Frozen, TeacherPart
from learner.networks import frozen_parameters, move_towards
from learner.readout import Reader
from learner.steps import decayed, weighted_sum
from learner.tally import Metrics

Network = TypeVar("Network", bound=Reader)


class FollowingPart(Part, Generic[Network]):
    """One network of images, trained by whatever `losses` says, with the settings of `learner.student`."""

    reads = UNREWARDED_PAIRS

    def __init__(self, ground: Ground, leader: TeacherPart, student: Network) -> None:
        """Takes a network that is untrained.

        Args:
            ground: that it stands on.
            leader: whom it learns from.
            student: the network.
        """
        super().__init__("student", ground, ground.following_device)
        self._leader = leader
        self.student = student.to(self.device)
        self.student_average = copy.deepcopy(self.student)
        frozen_parameters(self.student_average)
        # Not in checkpoints: a run that goes on fills it with its first batches.
        self._pool: FramePool | None = None
        config = ground.config.student
        if config.frames > 0 and config.readout_scale > 0.0:
            spec = ground.spec
            measured = self.student.proprioception.size
            self._pool = FramePool(config.frame_pool, spec.image_shape, spec.state_dim, measured, self.device)

    @property
    def modules(self) -> dict[str, nn.Module]:
        """See `Part`."""
        return {"student": self.student, "student_average": self.student_average}

    @property
    def acts(self) -> dict[str, nn.Module]:
        """See `Part`; the student that acts is the average of the trained one over its last updates."""
        return {"student_average": self.student_average}

    def trains(self) -> dict[str, Trained]:
        """See `Part`."""
        config = self.ground.config.student
        return {"student": Trained(self.student, config.learning_rate, config.gradient_norm)}

    @abstractmethod
    def losses(self, batch: TensorBatch, frames: Frames | None) -> tuple[dict[str, Tensor], Metrics]:
        """The mean of each term over what it is about, scalars by the names of `scales`, and metrics."""

    @abstractmethod
    def scales(self) -> dict[str, float]:
        """The weight of each term."""

    def update(self, batch: TensorBatch) -> Metrics:
        """One update of the network and of its average."""
        config = self.ground.config.student
        frames = None
        if self._pool is not None:
            measured = self.student.proprioception.of(batch["state"])
            self._pool.add(batch["image"], batch["state_at_exposure"], measured, batch["valid"])
            frames = self._pool.draw(config.frames, self.generator)
        means, metrics = self.losses(batch, frames)
        optimiser = self.optimisers["student"]
        metrics["gradient_norm"] = optimiser.backward(weighted_sum(means, self.scales()))
        metrics |= {f"loss_{name}": mean.detach() for name, mean in means.items()}
        updates = self.progress.updates
        if config.decay_updates > 0:
            optimiser.learning_rate.copy_(decayed(config.learning_rate, updates, config.decay_updates))
        with self.ground.moving():
            optimiser.step()
            # Never over more than the last tenth of the updates, so that early ones do not linger.
            rate = (10.0 / (updates + 10.0)).clamp(min=config.average_rate)
            move_towards(self.student_average, self.student, rate * (1.0 - self.refused))
        return metrics


class ImitatingPart(FollowingPart[Network]):
    """One that learns to do, or to think, as the teacher does; it looks at a frozen copy of it."""

    def __init__(self, ground: Ground, leader: TeacherPart, student: Network) -> None:
        """See `FollowingPart`."""
        super().__init__(ground, leader, student)
        self.target = Frozen(leader.teacher, leader.policy, self.device, ground.dtype)

    def refresh(self) -> None:
        """The frozen copy follows the teacher."""
        with self.ground.copying():
            self.copy_leader()

    def copy_leader(self) -> None:
        """What there is to copy of the teacher; called with all weights held."""
        self.target.refresh(self._leader.teacher, self._leader.policy)

    def prepare(self, updates: int) -> None:
        """See `Part`."""
        if updates % self.ground.config.student.refresh_updates == 0:
            self.refresh()

    def restored(self, updates: int) -> None:
        """See `Part`."""
        self.refresh()
