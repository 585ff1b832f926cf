"""A robot of a test's own: what it shows and when, and everything that it was told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from deploy.robot.runtime.arm import ArmError, Observation, Target
from deploy.robot.runtime.kinematics import joints_at


class ScriptedArm:
    """Implements `Robot`; its clock runs while it is waited for, or by what a test adds."""

    def __init__(self, images: np.ndarray, period: float = 0.1) -> None:
        self.images, self.period, self.time = images, period, 100.0
        self.at = Target((0.5, 0.0, 0.15), 0.0)
        self.told: list[Any] = []
        self.age: Callable[[int], float] = lambda tick: 0.0
        self.shown: Callable[[int], np.ndarray] = lambda tick: self.images[tick % len(self.images)]
        self.slow: Callable[[int], float] = lambda tick: 0.0
        self.measures: Callable[[int], tuple[float, ...]] = lambda tick: joints_at(self.at.position)
        self.asks_on_the_way = 0
        self.error: str | None = None
        self.cut_at: int | None = None
        self.ticks = -1
        self.about: Mapping[str, Any] = {"robot": "scripted"}
        self.clock = self
        self.real = True

    def now(self) -> float:
        return self.time

    def wait_until(self, moment: float) -> None:
        self.time = max(self.time, moment)

    def connect(self, go_on: Callable[[], bool]) -> None:
        self.told.append("connect")
        if self.error is not None:
            raise ArmError(self.error)
        for _ in range(self.asks_on_the_way):
            if not go_on():
                raise ArmError("was stopped on the way to its start")
        self.ticks = -1

    def observe(self) -> Observation:
        tick = max(0, self.ticks)
        if self.cut_at is not None and tick >= self.cut_at:
            raise ArmError("the connection is cut")
        self.ticks += 1
        image = self.shown(tick)
        stamp = self.time - self.age(tick)
        self.time += self.slow(tick)
        return Observation(image, stamp, self.measures(tick), self.time, self.at.opening, (0.0, 0.0, 0.0), self.at)

    def command(self, target: Target, deadline: float) -> None:
        self.at = target
        self.told.append((target, deadline))

    def hold(self) -> None:
        self.told.append("hold")

    def close(self) -> None:
        self.told.append("close")

    @property
    def targets(self) -> list[Target]:
        return [entry[0] for entry in self.told if isinstance(entry, tuple)]
