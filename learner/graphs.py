"""How updates are queued on a GPU: one stream a loop, and whole updates captured as CUDA graphs.

An update is some thousand small kernels, which a processor takes longer to launch than a GPU to run. Captured once as a
graph it is launched in one call.

Each loop has a `Lane`, a CUDA stream of its own, so that the small kernels of both can run at once. What the two share
is weights, and only their copies cross: the teacher's into the student's frozen ones, everybody's to actors and
checkpoints. Why the locks are right:

- `Learner` holds its lock while it queues what moves weights, and while it queues a copy of them. A replay moves
  weights, so that it is queued under the lock as a whole; a capture, too, so that two loops never capture at once.
- A lock orders queueing alone. So whoever copies lets its lane wait for the lane that moves the weights, and that lane
  for the copy (`Lane.follow`), before it gives up the lock: on the device the copy falls between two moves, as it does
  in the order of the lock.
- What is made and restored before the loops run is queued in no lane, and waited for once.
- A graph has a memory pool of its own; nobody else's tensors lie there, and what it gives back is read in its lane.
- Capturing forbids some calls to the thread that captures, and (`thread_local`) to no other: the other loop goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch

WARM_UP = 3
"""Updates before one is captured: optimisers make their moments, libraries choose their kernels."""


class Lane:
    """The CUDA stream of one loop; on a CPU it is nothing, as there everything happens when it is called."""

    def __init__(self, device: torch.device) -> None:
        """Makes a stream on a CUDA device."""
        self.device = device
        self.asynchronous = device.type == "cuda"
        self._stream: Any = torch.cuda.Stream(device) if self.asynchronous else None

    @contextmanager
    def entered(self) -> Iterator[None]:
        """What this thread queues on the lane's device inside of this context, it queues on the lane."""
        if self.asynchronous:
            with torch.cuda.stream(self._stream):
                yield
        else:
            yield

    def follow(self, other: Lane) -> None:
        """What is queued here from now on runs after what is queued there by now."""
        if self.asynchronous and other.asynchronous:
            self._stream.wait_stream(other._stream)

    def event(self) -> Any:
        """A mark to `record` in a lane and to `synchronize` with."""
        return torch.cuda.Event() if self.asynchronous else None

    def synchronize(self) -> None:
        """Waits until all that is queued on the device is done, in this lane or not."""
        if self.asynchronous:
            torch.cuda.synchronize(self.device)

    def capture(self, graph: Any) -> AbstractContextManager[object]:
        """What is queued on the lane inside of this context becomes the graph instead of happening."""
        return torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local")


class Update:
    """One kind of update: called as it is, or captured after some calls and replayed from then on."""

    def __init__(
        self,
        function: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]],
        lane: Lane,
        lock: AbstractContextManager[object],
        generators: Sequence[torch.Generator],
        captured: bool,
    ) -> None:
        """Wraps a function.

        Args:
            function: from a batch on the device to scalars. It reads no number back and takes no decision by one; what
                it changes, it changes in place.
            lane: on which it is queued.
            lock: held while weights move; may be taken again by who holds it.
            generators: of its draws.
            captured: whether to capture it, where the lane is a CUDA stream. Batches must lie in the same tensors each
                time then.
        """
        self._function, self._lane, self._lock, self._generators = function, lane, lock, generators
        self._captured = captured and lane.asynchronous
        self._graph: Any = None
        self._result: dict[str, torch.Tensor] = {}
        self._calls = 0

    def __call__(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Queues one update; its scalars are overwritten by the next."""
        with self._lane.entered():
            self._calls += 1
            if not self._captured or self._calls <= WARM_UP:
                return self._function(batch)
            with self._lock:
                if self._graph is None:
                    self._capture(batch)
                self._graph.replay()
            return self._result

    def forget(self) -> None:
        """Begins with calls again: what the graph works on has been put elsewhere."""
        self._graph, self._calls = None, 0

    def _capture(self, batch: dict[str, torch.Tensor]) -> None:
        self._graph = torch.cuda.CUDAGraph()
        for generator in self._generators:
            self._graph.register_generator_state(generator)
        with self._lane.capture(self._graph):
            self._result = self._function(batch)
