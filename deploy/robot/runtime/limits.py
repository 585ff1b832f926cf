"""Where the gripper may be sent: workspace, velocity, acceleration, joints, as the arm's data sheet has them.

A limiter changes a target as little as it must and says why. It lies between policy and robot, whichever these are; the
arm's own controller has limits of its own below it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from .arm import Target, Vector
from .contract import Contract
from .kinematics import joints_at


@dataclass(frozen=True)
class ArmLimits:
    """Of one kind of arm; metres, radians, seconds.

    Attributes:
        name: of the arm.
        joints_low: [7].
        joints_high: [7].
        joint_speed: [7] per second.
        speed: of the gripper, per second.
        acceleration: of the gripper, per second squared.
        most_opening: of the fingers.
    """

    name: str
    joints_low: tuple[float, ...]
    joints_high: tuple[float, ...]
    joint_speed: tuple[float, ...]
    speed: float
    acceleration: float
    most_opening: float = 0.08


# Franka Control Interface, "Robot and interface specifications".
FR3 = ArmLimits(
    name="fr3",
    joints_low=(-2.7437, -1.7837, -2.9007, -3.0421, -2.8065, 0.5445, -3.0159),
    joints_high=(2.7437, 1.7837, 2.9007, -0.1518, 2.8065, 4.5169, 3.0159),
    joint_speed=(2.62, 2.62, 2.62, 2.62, 5.26, 4.18, 5.26),
    speed=3.0,
    acceleration=9.0,
)
PANDA = ArmLimits(
    name="panda",
    joints_low=(-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973),
    joints_high=(2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973),
    joint_speed=(2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61),
    speed=1.7,
    acceleration=13.0,
)
ARMS = {limits.name: limits for limits in (FR3, PANDA)}

_HALVINGS = 12


class Limiter:
    """Limits one target after the other."""

    def __init__(self, arm: ArmLimits, low: Vector, high: Vector, period_s: float) -> None:
        """Takes the arm's limits and the workspace's corners (metres), and the time between two targets."""
        self._arm = arm
        self._low, self._high = low, high
        self._period = period_s
        self._moved: Vector = (0.0, 0.0, 0.0)

    @classmethod
    def of(cls, contract: Contract, arm: str, share: float = 1.0) -> Limiter:
        """The limits of an arm in a policy's workspace.

        Args:
            contract: of the policy.
            arm: a key of `ARMS`.
            share: of the data sheet's speeds and accelerations with which the arm moves. Targets that were faster would
                run ahead of it, and it would go on after them where it should hold.
        """
        terms, full = contract.action, ARMS[arm]
        limits = replace(
            full,
            joint_speed=tuple(share * speed for speed in full.joint_speed),
            speed=share * full.speed,
            acceleration=share * full.acceleration,
        )
        return cls(limits, terms.workspace_low_m, terms.workspace_high_m, terms.period_s)

    def reset(self) -> None:
        """The arm stands."""
        self._moved = (0.0, 0.0, 0.0)

    def limit(self, before: Target, wanted: Target) -> tuple[Target, list[str]]:
        """The target that may be commanded.

        Args:
            before: the last one that was.
            wanted: the one to limit.

        Returns:
            It, and a reason for each limit that changed it.
        """
        if not all(map(math.isfinite, (*wanted.position, wanted.opening))):
            self.reset()
            return before, [f"target: {wanted} is not finite"]
        reasons: list[str] = []
        moved = _minus(self._clamped(wanted.position, reasons), before.position)
        speed = math.hypot(*moved) / self._period
        if speed > self._arm.speed:
            reasons.append(f"velocity: {speed:.2f} m/s is above {self._arm.speed:g}")
            moved = _scaled(moved, self._arm.speed / speed)
        change = _minus(moved, self._moved)
        acceleration = math.hypot(*change) / self._period**2
        if acceleration > self._arm.acceleration:
            reasons.append(f"acceleration: {acceleration:.1f} m/s2 is above {self._arm.acceleration:g}")
            moved = _plus(self._moved, _scaled(change, self._arm.acceleration / acceleration))
        # What brakes too slowly must not leave the workspace.
        moved = _minus(self._clamped(_plus(before.position, moved), []), before.position)
        moved = self._within_joints(before.position, moved, reasons)
        opening = min(max(wanted.opening, 0.0), self._arm.most_opening)
        if opening != wanted.opening:
            reasons.append(f"opening: {wanted.opening:.3f} m is not within 0 to {self._arm.most_opening:g}")
        self._moved = moved
        return Target(_plus(before.position, moved), opening), reasons

    def _clamped(self, position: Vector, reasons: list[str]) -> Vector:
        x, y, z = (min(max(p, a), b) for p, a, b in zip(position, self._low, self._high, strict=True))
        if max(abs(a - b) for a, b in zip((x, y, z), position, strict=True)) > 1e-9:
            reasons.append(f"workspace: ({', '.join(f'{p:.3f}' for p in position)}) m is outside")
        return (x, y, z)

    def _within_joints(self, start: Vector, moved: Vector, reasons: list[str]) -> Vector:
        """The largest share of a way that the joints allow."""
        fault = self._joint_fault(start, _plus(start, moved))
        if fault is None:
            return moved
        reasons.append(fault)
        allowed, refused = 0.0, 1.0
        for _ in range(_HALVINGS):
            share = (allowed + refused) / 2
            if self._joint_fault(start, _plus(start, _scaled(moved, share))) is None:
                allowed = share
            else:
                refused = share
        return _scaled(moved, allowed)

    def _joint_fault(self, start: Vector, end: Vector) -> str | None:
        try:
            before, after = joints_at(start), joints_at(end)
        except ValueError as error:
            return f"reach: {error}"
        arm = self._arm
        for index, angle in enumerate(after):
            if not arm.joints_low[index] <= angle <= arm.joints_high[index]:
                return (
                    f"joint {index + 1}: {angle:.3f} rad is outside {arm.joints_low[index]} to {arm.joints_high[index]}"
                )
            speed = abs(angle - before[index]) / self._period
            if speed > arm.joint_speed[index]:
                return f"joint {index + 1}: {speed:.2f} rad/s is above {arm.joint_speed[index]}"
        return None


def _plus(a: Sequence[float], b: Sequence[float]) -> Vector:
    return (a[0] + b[0], a[1] + b[1], a[2] + b[2])


def _minus(a: Sequence[float], b: Sequence[float]) -> Vector:
    return (a[0] - b[0], a[1] - b[1], a[2] - b[2])


def _scaled(a: Sequence[float], factor: float) -> Vector:
    return (a[0] * factor, a[1] * factor, a[2] * factor)
