"""A recording, or a bundle's golden trace, as a robot: it shows what was seen, and moves nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arm import ArmError, Clock, Observation, Target
from .contract import Contract
from .golden import Trace, read_trace
from .kinematics import joints_at
from .proprioception import recorded_observation
from .recording import read_recording


@dataclass(frozen=True)
class _Shown:
    about: Mapping[str, Any]
    images: NDArray[np.uint8]
    ticks: Sequence[Mapping[str, Any]]
    """As a recording has them: joints, opening, velocity, told, age_s, joints_age_s."""


class ReplayClock:
    """Runs only while somebody waits."""

    def __init__(self) -> None:
        self._now = 0.0

    def now(self) -> float:
        """See `arm.Clock.now`."""
        return self._now

    def wait_until(self, moment: float) -> None:
        """See `arm.Clock.wait_until`."""
        self._now = max(self._now, moment)


class ReplayArm:
    """Implements `arm.Robot`; after the last episode comes the first again."""

    def __init__(self, episodes: Sequence[_Shown], period_s: float, clock: Clock | None = None) -> None:
        self._episodes, self._period = episodes, period_s
        self._next, self._begun = 0, 0.0
        self.clock: Clock = clock or ReplayClock()
        self.real = False

    @classmethod
    def of_recording(cls, path: Path) -> ReplayArm:
        """What a run has recorded."""
        recording = read_recording(path)
        shown = [
            _Shown({"replayed": str(path), **each.about}, each.images, each.ticks) for each in recording.episodes()
        ]
        if not shown:
            raise ArmError(f"{path}: the recording has no episode")
        return cls(shown, 1.0 / recording.rate_hz)

    @classmethod
    def of_golden_trace(cls, bundle: Path, contract: Contract, clock: Clock | None = None) -> ReplayArm:
        """A bundle's golden trace, by default on a clock that runs only while somebody waits."""
        trace, terms = read_trace(bundle), contract.action
        starts = np.flatnonzero(trace["reset"])
        shown = []
        for first, last in zip(starts, [*starts[1:], len(trace["reset"])], strict=True):
            ticks = [_tick(trace, at) for at in range(first, last)]
            shown.append(_Shown({"replayed": "golden trace"}, trace["image"][first:last], ticks))
        return cls(shown, terms.period_s, clock)

    @property
    def lengths(self) -> list[int]:
        """Steps of each episode."""
        return [len(each.images) for each in self._episodes]

    @property
    def about(self) -> Mapping[str, Any]:
        """See `arm.Robot.about`."""
        return self._shown.about

    def connect(self, go_on: Callable[[], bool]) -> None:
        """See `arm.Robot.connect`."""
        self._shown = self._episodes[self._next % len(self._episodes)]
        self._next += 1
        self._begun = self.clock.now()

    def observe(self) -> Observation:
        """See `arm.Robot.observe`; past the recording's end it is its last picture, ever older."""
        index = round((self.clock.now() - self._begun) / self._period)
        shown, last = self._shown, len(self._shown.images) - 1
        stamp = self._begun + min(index, last) * self._period
        index = min(index, last)
        tick = shown.ticks[index]
        image_stamp, joints_stamp = (stamp - max(0.0, tick[age]) for age in ("age_s", "joints_age_s"))
        return recorded_observation(tick, shown.images[index], image_stamp, joints_stamp)

    def command(self, target: Target, deadline: float) -> None:
        """See `arm.Robot.command`: a recording stays as it is."""

    def hold(self) -> None:
        """See `arm.Robot.hold`."""

    def close(self) -> None:
        """See `arm.Robot.close`."""


def _tick(trace: Trace, at: int) -> Mapping[str, Any]:
    """A row of a golden trace as a recording has it; its pictures came when they were taken."""
    x, y, z = trace["gripper"][at].tolist()
    measured = {name: trace[name][at].tolist() for name in ("opening", "velocity", "told")}
    return {"joints": joints_at((x, y, z)), **measured, "age_s": 0.0, "joints_age_s": 0.0}
