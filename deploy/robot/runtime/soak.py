"""`verify --loop S`: the loop in real time, for so long, on pictures of the golden trace: does it keep its periods?

Everything is as on a robot but the robot: gate, policy, limits, deadlines, and each tick recorded with its picture.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from .arm import SystemClock
from .limits import Limiter
from .loop import Loop, LoopSettings
from .policy import Policy
from .recording import Recorder
from .replay_arm import ReplayArm


@dataclass(frozen=True)
class Soak:
    """What became of the periods.

    Attributes:
        rate_hz: periods per second.
        ticks: that were run.
        missed: control periods in which nothing could be commanded.
        late_s: by how much each tick began late.
    """

    rate_hz: int
    ticks: int
    missed: int
    late_s: tuple[float, ...]

    def lines(self) -> Iterator[str]:
        """What a person reads."""
        p50, p99 = (1e3 * float(np.quantile(self.late_s, share)) for share in (0.5, 0.99))
        yield (
            f"loop: {self.ticks:,} periods at {self.rate_hz} Hz, {self.missed} missed, lateness p50 {p50:.2f} ms, "
            f"p99 {p99:.2f} ms, largest {1e3 * max(self.late_s):.2f} ms"
        )


def soak(policy: Policy, bundle: Path, seconds: float, rate_hz: int) -> Soak:
    """Runs the loop; the policy's contract has the given rate afterwards.

    Args:
        policy: of the bundle.
        bundle: its directory.
        seconds: at least; episodes are whole.
        rate_hz: periods per second.
    """
    policy.contract = replace(policy.contract, action=replace(policy.contract.action, rate_hz=rate_hz))
    robot = ReplayArm.of_golden_trace(bundle, policy.contract, SystemClock())
    limiter = Limiter.of(policy.contract, "fr3")
    late, missed, episode = list[float](), 0, 0
    with (
        tempfile.TemporaryDirectory() as place,
        Recorder(Path(place) / "r", policy.contract, policy.manifest.sha256, "replay") as recorder,
    ):
        while len(late) < seconds * rate_hz:
            settings = LoopSettings(steps=robot.lengths[episode % len(robot.lengths)], surprise_stop=False)
            report = Loop(policy, robot, limiter, settings, None, recorder).run_episode()
            late += report.late_s
            missed += report.missed
            episode += 1
    return Soak(rate_hz, len(late), missed, tuple(late))
