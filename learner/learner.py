"""The learner: owns its method's parts and their optimisers; one call an update; knows no replay, no thread, no Ray."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from torch import nn

from learner.config import LearnerConfig
from learner.devices import choose_devices, choose_dtype, make_generator
from learner.graphs import Lane, Update
from learner.methods import METHODS, home
from learner.methods.part import Ground, Part, TensorBatch
from learner.optimiser import Optimiser
from learner.staging import Staging
from learner.tally import Metrics, NotFiniteError, Tally
from learner.weights import gather, to_host
from replay.schema import StreamSpec

NumpyBatch = Mapping[str, np.ndarray]


class _Run:
    """One part with what the learner does around its updates."""

    def __init__(self, part: Part, generator: torch.Generator, lock: threading.RLock, captured: bool) -> None:
        self.part, self._lock = part, lock
        part.generator = generator
        part.refused = torch.zeros((), device=part.device)
        self.optimisers = {name: Optimiser(*trained, part.refused) for name, trained in part.trains().items()}
        part.optimisers = self.optimisers
        self.updates = 0
        self.begun = False  # whether the part has made an update, or has what it is to begin at
        self.pause = threading.Lock()  # held for a whole update, so that a checkpoint falls between two
        self.tally = Tally(part.name, part.device)
        self.lane = Lane(part.device)
        self.staging = Staging(part.reads, self.lane)
        self.update = Update(self._update, self.lane, lock, [generator], captured)

    def _update(self, batch: TensorBatch) -> Metrics:
        self.part.refused.zero_()
        metrics = self.part.update(batch)
        with self._lock:
            self.part.progress.updates += 1
            self.tally.add(metrics, self.part.refused)
        return metrics


class Learner:
    """The parts of a method, each with its optimisers.

    Updates of two parts may run in two threads: what one reads of another is a frozen copy of its own, made under a
    lock that the other's steps hold too. `learner.graphs` says how the same holds where a GPU does the work later than
    it is asked to.
    """

    def __init__(self, spec: StreamSpec, config: LearnerConfig, seed: int) -> None:
        """Makes untrained networks, the same for the same seed.

        Raises:
            ValueError: a setting asks for a device that is not there.
        """
        self.spec, self.config, self.seed = spec, config, seed
        self.method = METHODS[config.method]
        devices = choose_devices(config)
        self.dtype = choose_dtype(config.precision, devices[0])
        # Moves of the weights against copies of them; a whole update is such a move where it is a graph.
        self._lock = threading.RLock()
        ground = Ground(spec, config, devices, self.dtype, self._lock, self._all_weights)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            parts = home(self.method).build(ground)
        assert [part.name for part in parts] == [part.name for part in self.method.parts], self.method.name
        captured = config.graphs == "auto"
        self._runs = {
            part.name: _Run(part, make_generator(part.device, seed * 2 + k), self._lock, captured)
            for k, part in enumerate(parts, start=1)
        }
        self._acting = {name: module for part in parts for name, module in part.acts.items()}
        assert tuple(self._acting) == self.method.acts, (tuple(self._acting), self.method.acts)
        self._synchronize()

    @property
    def parts(self) -> tuple[Part, ...]:
        """In the order of the method's outline."""
        return tuple(run.part for run in self._runs.values())

    @property
    def modules(self) -> dict[str, nn.Module]:
        """Every module that a checkpoint holds."""
        return {name: module for part in self.parts for name, module in part.modules.items()}

    @property
    def optimisers(self) -> dict[str, Optimiser]:
        """Of all parts."""
        return {name: optimiser for run in self._runs.values() for name, optimiser in run.optimisers.items()}

    @property
    def generators(self) -> list[torch.Generator]:
        """Of each part."""
        return [part.generator for part in self.parts]

    @property
    def updates(self) -> dict[str, int]:
        """That each part has had, by its name."""
        return {name: run.updates for name, run in self._runs.items()}

    @property
    def begun(self) -> list[str]:
        """Parts without an update that have what they are to begin at, and take it from nobody any more."""
        return [name for name, run in self._runs.items() if run.begun and run.updates == 0]

    @property
    def version(self) -> int:
        """All updates so far."""
        return sum(self.updates.values())

    def optimisers_of(self, name: str) -> Mapping[str, Optimiser]:
        """Of one part."""
        return self._runs[name].optimisers

    def update(self, name: str, batch: NumpyBatch) -> Metrics:
        """One update of a part.

        Args:
            name: of the part.
            batch: of `replay.sampler`, of states or of pairs as the part reads.

        Returns:
            Scalars on the part's device, detached; overwritten by its next update.
        """
        run = self._runs[name]
        with run.pause:
            if not run.begun:
                run.part.begin()
                run.begun = True
            run.part.prepare(run.updates)
            metrics = run.update(run.staging.put(batch))
            run.updates += 1
            return metrics

    def report(self, name: str) -> dict[str, float]:
        """The means of a part's metrics since the last call, and `skipped`, updates of the run.

        Raises:
            NotFiniteError: the last updates were skipped one and all, as what they computed was not finite.
        """
        run = self._runs[name]
        with run.lane.entered():
            with self._lock:
                held = run.tally.take()
            return run.tally.means(held)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """No update is under way inside this context: a state captured in it is one moment's."""
        with ExitStack() as stack:
            for run in self._runs.values():
                stack.enter_context(run.pause)
            self._synchronize()
            yield

    @contextmanager
    def weights_held(self) -> Iterator[None]:
        """No weight that acts moves inside this context; no loop waits for the other's update, as in `paused`."""
        with self._lock:
            self._synchronize()
            yield

    @property
    def acting(self) -> dict[str, nn.Module]:
        """What travels to the actors, by the names of `Method.acts`."""
        return self._acting

    def resume_counters(self, updates: Mapping[str, int], begun: Collection[str] = ()) -> None:
        """Goes on counting from a checkpoint; frozen copies are made anew from the restored weights.

        Args:
            updates: of each part by its name.
            begun: see `Learner.begun`.
        """
        for name, run in self._runs.items():
            run.updates = updates[name]
            run.begun = run.updates > 0 or name in begun
            run.part.progress.updates.fill_(run.updates)
            run.update.forget()
            run.tally.begin(run.updates)
        for run in self._runs.values():
            self._synchronize()
            run.part.restored(run.updates)
        self._synchronize()

    def publish(self) -> tuple[np.ndarray, int]:
        """The weights for `ActingPolicy.load`: one flat float32 array [P], and its version (all updates so far).

        Raises:
            NotFiniteError: they are not finite.
        """
        with ExitStack() as stack:
            for run in self._runs.values():
                stack.enter_context(run.lane.entered())
            with self._all_weights():
                parts = gather((*self._acting.values(), *(part.progress for part in self.parts)))
                version = self.version
            flat = to_host(parts)  # waits for a GPU, and holds up no loop
        if not np.isfinite(flat).all():
            raise NotFiniteError(f"the weights after {version} updates are not finite; no actor gets them")
        return flat, version

    @contextmanager
    def _all_weights(self) -> Iterator[None]:
        """What is queued inside of this context has the weights of all loops to itself, between two moves of each."""
        *others, last = (run.lane for run in self._runs.values())
        with self._lock, ExitStack() as stack:
            # On one device the last lane is the current one in here; on two, each is that of its own.
            for lane in (*others, last):
                stack.enter_context(lane.entered())
            for lane in others:
                last.follow(lane)
            yield
            for lane in others:
                lane.follow(last)

    def _synchronize(self) -> None:
        """Waits until no device has anything left to do for this learner."""
        for run in self._runs.values():
            run.lane.synchronize()
