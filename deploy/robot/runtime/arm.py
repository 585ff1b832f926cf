"""What a robot is to the loop: five calls, and a clock.

A driver may be the simulator, a recording or an arm; the loop is the same. Times are seconds of the driver's clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Vector = tuple[float, float, float]


class ArmError(RuntimeError):
    """The robot cannot go on: its connection is cut, or it has stopped by itself."""


@dataclass(frozen=True)
class Target:
    """Where the gripper shall be: the point between the fingertips and how far these are apart, metres."""

    position: Vector
    opening: float


@dataclass(frozen=True)
class Observation:
    """What a robot sees and measures.

    Attributes:
        image: [H, W, 3] uint8, the newest picture; what the policy makes of it is the policy's to say.
        image_stamp: when it was exposed.
        joints: [7] radians.
        joints_stamp: when they were measured.
        opening: of the fingers, metres; where there are none to measure, what is commanded.
        velocity: of the point between the fingertips, measured with the joints, m/s.
        told: where it was last told to go; where it stands, if it was told nothing or to hold.
        facts: what a simulator knows besides, such as `success`.
    """

    image: NDArray[np.uint8]
    image_stamp: float
    joints: tuple[float, ...]
    joints_stamp: float
    opening: float
    velocity: Vector
    told: Target
    facts: Mapping[str, Any] = field(default_factory=dict)


class Clock(Protocol):
    """Of a driver: that of the machine, or a simulator's, which only runs while somebody waits for it."""

    def now(self) -> float:
        """Seconds."""

    def wait_until(self, moment: float) -> None:
        """Returns then; at once if it has passed."""


class Robot(Protocol):
    """See the module's docstring."""

    @property
    def clock(self) -> Clock:
        """Of its stamps and deadlines."""

    @property
    def about(self) -> Mapping[str, Any]:
        """What is recorded of this episode: of a simulator its seed and what was drawn."""

    @property
    def real(self) -> bool:
        """Whether something moves where people are.

        Whoever watches it is asked before it goes to its start, and whatever stops an episode ends the run.
        """

    def connect(self, go_on: Callable[[], bool]) -> None:
        """Begins an episode: the robot is at a start, at rest, and has a picture. Again for the next one.

        Args:
            go_on: asked while it moves there; where it says no the robot holds.

        Raises:
            ArmError: it cannot be reached, or does not get there.
        """

    def observe(self) -> Observation:
        """The newest of everything, at once.

        Raises:
            ArmError: the connection is cut, or the robot has stopped by itself.
        """

    def command(self, target: Target, deadline: float) -> None:
        """Where to go next. Unless another command comes before the deadline, the robot holds by itself.

        Raises:
            ArmError: see `observe`.
        """

    def hold(self) -> None:
        """Stands still where it is. Never raises."""

    def close(self) -> None:
        """Holds, and lets go of the robot."""


class SystemClock:
    """The machine's monotonic clock."""

    def now(self) -> float:
        """See `Clock.now`."""
        return time.monotonic()

    def wait_until(self, moment: float) -> None:
        """See `Clock.wait_until`."""
        left = moment - time.monotonic()
        if left > 0:
            time.sleep(left)
