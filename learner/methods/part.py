"""What one loop of the learner trains: modules, the optimisers that move them, and one update from a batch.

    Learner ──makes──> Ground ──build──> parts          a method's module has `build`, see `Build`
    loop ──batch──> Learner.update(name) ──> Part.prepare, Part.update ──> metrics

Whoever writes a part keeps to this, and then it runs in every mode, resumes, is published, and becomes one CUDA graph:

- `update` reads no number back and takes no decision by one; what it changes, it changes in place. It draws with
  `Part.generator` alone.
- Weights that somebody copies (`modules`, and what `acts`) move inside `Ground.moving` alone; a whole update may.
- What a part reads of another one it copies inside `Ground.copying`, in `begin` or `prepare`, and reads its own copy in
  `update`.
- Of an update that an optimiser refuses (what it computed is not finite) nothing moves any more: the optimisers after
  it refuse as well, and a moving average goes by its rate times `1 - refused`.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from learner.config import LearnerConfig
from learner.tally import Metrics
from replay.schema import StreamSpec

TensorBatch = dict[str, Tensor]

STATES = ("state", "action", "reward", "is_first", "is_terminal", "valid")
"""What a batch of states has for an update."""

PAIRS = (*STATES, "image", "state_at_exposure")
"""What a batch of pairs has."""

IMAGES = (*STATES, "image")
"""What it takes of one where nobody asks what an image shows."""

UNREWARDED_PAIRS = tuple(name for name in PAIRS if name != "reward")
"""What it takes of one to learn from a teacher."""


class Progress(nn.Module):
    """Travels with the weights of a part: how many updates they have had."""

    updates: Tensor

    def __init__(self) -> None:
        """Starts at zero updates."""
        super().__init__()
        self.register_buffer("updates", torch.zeros(()))


class Steps(Protocol):
    """An optimiser, as a part sees it; `learner.optimiser.Optimiser` is one."""

    learning_rate: Tensor
    refused: Tensor

    def backward(self, loss: Tensor) -> Tensor:
        """Fresh gradients of a scalar loss, clipped; returns their norm before clipping."""

    def step(self) -> None:
        """Moves the parameters, unless what was computed is not finite."""


class Trained(NamedTuple):
    """What one optimiser moves, and how."""

    module: nn.Module
    learning_rate: float
    gradient_norm: float


class Ground:
    """What the parts of one learner stand on."""

    def __init__(
        self,
        spec: StreamSpec,
        config: LearnerConfig,
        devices: tuple[torch.device, torch.device],
        dtype: torch.dtype,
        moving: threading.RLock,
        copying: Callable[[], AbstractContextManager[None]],
    ) -> None:
        """Holds them.

        Args:
            spec: of the observations.
            config: the learner's settings.
            devices: of parts that follow no other, and of those that do.
            dtype: of the updates' arithmetic.
            moving: see `Ground.moving`.
            copying: see `Ground.copying`.
        """
        self.spec, self.config, self.dtype = spec, config, dtype
        self.device, self.following_device = devices
        self._moving, self._copying = moving, copying

    def moving(self) -> AbstractContextManager[object]:
        """Inside of this context weights may move: nobody copies them meanwhile."""
        return self._moving

    def copying(self) -> AbstractContextManager[None]:
        """What is queued inside of this context has the weights of all parts to itself, between two moves of each."""
        return self._copying()

    def autocast(self, device: torch.device) -> AbstractContextManager[object]:
        """The arithmetic of losses; backward passes and steps are outside of it."""
        return torch.autocast(device.type, dtype=self.dtype, enabled=self.dtype != torch.float32)


class Part(ABC):
    """One loop's modules and its update; see the top of this file.

    Attributes:
        name: as in the method's outline.
        ground: that it stands on.
        device: where it computes.
        generator: of all its draws; the learner sets it.
        optimisers: by the names of `trains`; the learner sets them.
        refused: scalar float32, 1 once one of them has refused in the present update, else 0; the learner sets it. From
            then on the others refuse, too, and what else moves weights has to stay.
        progress: updates so far; the learner counts them, after each.
    """

    reads: tuple[str, ...] = STATES
    """Arrays of a batch that its update reads."""

    optimisers: Mapping[str, Steps]
    refused: Tensor
    generator: torch.Generator

    def __init__(self, name: str, ground: Ground, device: torch.device) -> None:
        self.name, self.ground, self.device = name, ground, device
        self.progress = Progress().to(device)

    @property
    @abstractmethod
    def modules(self) -> dict[str, nn.Module]:
        """What a checkpoint holds of it, by names that no other part of the method has."""

    @property
    @abstractmethod
    def acts(self) -> dict[str, nn.Module]:
        """What travels to the actors, by the names of `Method.acts`; modules of its own."""

    @abstractmethod
    def trains(self) -> dict[str, Trained]:
        """What its optimisers move, by names that no other part of the method has; asked once."""

    @abstractmethod
    def update(self, batch: TensorBatch) -> Metrics:
        """One update.

        Args:
            batch: [B, T, ...] on the device, by the names of `reads`.

        Returns:
            Scalars on the device, detached, the same names each time.
        """

    def begin(self) -> None:  # noqa: B027 (most parts take nothing)
        """Called once, before its first update: it takes of other parts, as they are by then, what it begins at.

        After that it is itself that a checkpoint has, with or without an update.
        """

    def prepare(self, updates: int) -> None:
        """Called before each update, outside of what becomes a graph.

        Args:
            updates: that it has had.
        """
        del updates

    def restored(self, updates: int) -> None:
        """Called when its modules have been put back from a checkpoint; what it copies it copies anew.

        Args:
            updates: that they have had.
        """
        del updates


class Build(Protocol):
    """`build` of a method's module."""

    def __call__(self, ground: Ground) -> Sequence[Part]:
        """Makes untrained parts, in the order of the method's outline; torch's own generator is seeded."""
