"""Batches on their way from the sampler to the device.

On a CPU a batch is used where it lies. On CUDA it is copied once into page-locked memory and sent from there while the
device works on what it has: into the same device tensors each time, as a captured update reads its input from there.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from learner.graphs import Lane

SLOTS = 2
"""Batches in page-locked memory: the loop may be so many updates ahead of the device, and waits there for it."""


class Staging:
    """The one way of a loop's batches to its device."""

    def __init__(self, names: Sequence[str], lane: Lane) -> None:
        """Makes the way; memory is taken when the first batch comes.

        Args:
            names: of the arrays that the update reads.
            lane: on which copies are queued, before the update that reads them.
        """
        self._names, self._lane = tuple(names), lane
        self._slots: list[dict[str, Tensor]] = []
        self._sent = [lane.event() for _ in range(SLOTS)]
        self._batches = 0
        self._held: dict[str, Tensor] = {}

    def put(self, batch: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
        """The batch on the device, by the names asked for; until the next one is put."""
        found = {name: torch.as_tensor(batch[name]) for name in self._names}
        if not self._lane.asynchronous:
            return found
        if not self._slots:
            self._slots = [{name: page_locked(x) for name, x in found.items()} for _ in range(SLOTS)]
            self._held = {name: torch.empty_like(x, device=self._lane.device) for name, x in found.items()}
        slot = self._batches % SLOTS
        if self._batches >= SLOTS:
            self._sent[slot].synchronize()  # what lay there is on the device
        with self._lane.entered():
            for name, x in found.items():
                self._slots[slot][name].copy_(x)
                self._held[name].copy_(self._slots[slot][name], non_blocking=True)
            self._sent[slot].record()
        self._batches += 1
        return self._held


def page_locked(like: Tensor) -> Tensor:
    """Memory of this shape and type from which a GPU fetches by itself."""
    return torch.empty(like.shape, dtype=like.dtype, pin_memory=True)
