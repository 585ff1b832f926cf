"""Plans of workers that come to grief in ways that Python's exceptions do not tell of."""

from __future__ import annotations

import ctypes
import os
import signal
from dataclasses import dataclass
from typing import Any

from actors.plan import WorkerPlan
from actors.worker import RolloutWorker


@dataclass(frozen=True)
class SegfaultsWhenBuilt(WorkerPlan):
    def build(self, *arguments: Any) -> RolloutWorker:
        ctypes.string_at(0)
        raise AssertionError("it has no page there")


@dataclass(frozen=True)
class AbortsInItsCalls(WorkerPlan):
    def build(self, *arguments: Any) -> RolloutWorker:
        worker = super().build(*arguments)
        worker.collect = lambda rows, timeout_s: os.abort()  # type: ignore[method-assign]
        return worker


@dataclass(frozen=True)
class HasNoMemoryInItsCalls(WorkerPlan):
    def build(self, *arguments: Any) -> RolloutWorker:
        worker = super().build(*arguments)
        worker.collect = _no_memory  # type: ignore[method-assign,assignment]
        return worker


@dataclass(frozen=True)
class KillsItself(WorkerPlan):
    def build(self, *arguments: Any) -> RolloutWorker:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


@dataclass(frozen=True)
class StopsInItsCalls(WorkerPlan):
    def build(self, *arguments: Any) -> RolloutWorker:
        worker = super().build(*arguments)
        worker.collect = _stop  # type: ignore[method-assign,assignment]
        return worker


@dataclass(frozen=True)
class StopsWhenBuilt(WorkerPlan):
    def build(self, *arguments: Any) -> RolloutWorker:
        _stop()
        raise AssertionError


def _stop(*arguments: Any) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _no_memory(rows: int, timeout_s: float) -> None:
    raise MemoryError("Unable to allocate 7.00 TiB")
