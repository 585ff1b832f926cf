"""What lies between commands and motors: an arm that follows late, and never beyond what its joints may do.

A command is where the gripper shall be. The actuator says, physics step by physics step, where the joints are on their
way there, and the engine's motors follow that exactly. Three things bound the way:

- lag: near its command the gripper moves at distance / lag, so that it trails a moving command by `lag_s` seconds;
- speed: no joint turns faster than its share of the data sheet's limit;
- acceleration: no joint changes its speed faster than its share of that limit, and the gripper brakes in time.

Each axis of the world has its own way, and none gives way to another when it brakes: a gripper that is sent along the
table stays above it, and one that is kept in a box stays there, whatever it does along the other axes. What braking
leaves of the joints' acceleration is there for speeding up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sim.engine import Vector
from sim.kinematics import Free, Posture, Row, all_joints, inverse_kinematics

JOINT_SPEEDS = (2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61)
"""Most of each joint, rad/s (Franka Control Interface, limits of the Panda)."""

JOINT_ACCELERATIONS = (15.0, 7.5, 10.0, 12.5, 15.0, 20.0, 20.0)
"""Most of each joint, rad/s^2 (same source)."""

HAND_SPEED_M_PER_S = 0.1
"""Most by which the opening between the fingers changes (Franka Hand, product manual: 50 mm/s a finger)."""

# Joint 7 turns with joint 1, whose limits are the narrower ones; joints 3 and 5 rest.
_TURN, _SHOULDER, _ELBOW, _WRIST = 0, 1, 3, 5
_SPEEDS = tuple(JOINT_SPEEDS[joint] for joint in (_TURN, _SHOULDER, _ELBOW, _WRIST))
_ACCELERATIONS = tuple(JOINT_ACCELERATIONS[joint] for joint in (_TURN, _SHOULDER, _ELBOW, _WRIST))

# Share of the joints' acceleration that braking counts on, and what it has at the least where joints have most of it to
# do for the posture's change. That grows with the square of the speed, so that the gripper's own is bounded.
_BRAKING_SHARE = 0.7
_LEAST_BRAKING_SHARE = 0.2
_FASTEST_M_PER_S = (0.5, 0.5, 0.35)
# Shares of the three axes in what braking there is: along y the arm turns, and has strength to spare.
_WEIGHTS = (1.0, 2.0, 1.0)
# How much further the fingers are sent than to where something stops them: enough for the motors' full force.
_SQUEEZE_M = 0.004


@dataclass(frozen=True)
class ActuatorLimits:
    """What an episode's arm is like.

    Attributes:
        lag_s: By how much the gripper trails a moving command, seconds; at least a physics step.
        speed_share: Of `JOINT_SPEEDS`.
        acceleration_share: Of `JOINT_ACCELERATIONS`.
    """

    lag_s: float = 0.06
    speed_share: float = 1.0
    acceleration_share: float = 1.0


class Actuator:
    """The motion of one arm and its hand."""

    def __init__(self) -> None:
        self.limits = ActuatorLimits()
        self._free: Free = (0.0, 0.0, -1.0)
        self._rates: Free = (0.0, 0.0, 0.0)
        self._velocity: Vector = (0.0, 0.0, 0.0)
        self.opening = 0.0
        """Between the fingers, metres."""

    @property
    def joints(self) -> tuple[float, ...]:
        """Where the seven joints of the arm are by now, radians."""
        return all_joints(self._free)

    def place(self, position: Vector, opening: float) -> None:
        """Begin at rest with the gripper there (metres).

        Raises:
            ValueError: The position is out of reach.
        """
        joints = inverse_kinematics(position)
        self._free = (joints[_TURN], joints[_SHOULDER], joints[_ELBOW])
        self._rates = self._velocity = (0.0, 0.0, 0.0)
        self.opening = opening

    def follow(self, position: Vector, opening: float, period_s: float) -> None:
        """Go on towards a command.

        Args:
            position: Of the gripper, metres.
            opening: Between the fingers, metres.
            period_s: For so long.
        """
        rates, free = self._next_rates(position, period_s), self._free
        self._free = (free[0] + rates[0] * period_s, free[1] + rates[1] * period_s, free[2] + rates[2] * period_s)
        speed = (opening - self.opening) / self.limits.lag_s
        self.opening += min(max(speed, -HAND_SPEED_M_PER_S), HAND_SPEED_M_PER_S) * period_s

    def fingers_are_at(self, opening: float) -> None:
        """Say how far the fingers are apart: where a thing between them stops them, they set out from it again."""
        self.opening = min(max(self.opening, opening - _SQUEEZE_M), opening + _SQUEEZE_M)

    def _next_rates(self, command: Vector, period_s: float) -> Free:
        """Return the rates of the free joints for the next step on the way to a command."""
        limits, posture, moving = self.limits, Posture(self._free), self._velocity
        rows = (posture.turn, posture.shoulder, posture.elbow, posture.wrist)
        turn, shoulder, elbow = self._rates
        rates = (turn, shoulder, elbow, shoulder - elbow)
        most = [limits.acceleration_share * acceleration * period_s for acceleration in _ACCELERATIONS]
        fastest = [limits.speed_share * speed for speed in _SPEEDS]
        # What joints must do for the gripper to go on as it does is taken from what they may; all axes brake at once.
        braking = _BRAKING_SHARE * min(
            max(limit - abs(_dot(row, moving) - rate), _LEAST_BRAKING_SHARE * limit) / _sum(row, _WEIGHTS)
            for row, rate, limit in zip(rows, rates, most, strict=True)
        )
        wanted = self._wanted(command, posture.position, braking / period_s)
        # Also where one axis stops before the others no joint shall be too fast.
        wanted = _within(wanted, max(_sum(row, wanted) / limit for row, limit in zip(rows, fastest, strict=True)))
        kept = [min(max(w, min(m, 0.0)), max(m, 0.0)) for w, m in zip(wanted, moving, strict=True)]
        slowed = [
            m + min(max(k - m, -braking * weight), braking * weight)
            for k, m, weight in zip(kept, moving, _WEIGHTS, strict=True)
        ]
        slowed = _within(slowed, max(abs(_dot(row, slowed)) / limit for row, limit in zip(rows, fastest, strict=True)))
        quickened = [w - k for w, k in zip(wanted, kept, strict=True)]
        brakes = [_dot(row, slowed) - rate for row, rate in zip(rows, rates, strict=True)]
        gains = [_dot(row, quickened) for row in rows]
        part = min(map(_part, (0.0, 0.0, 0.0, 0.0), brakes, most))
        share = 0.0
        if part == 1.0:
            slower = [rate + brake for rate, brake in zip(rates, brakes, strict=True)]
            share = min(*map(_part, brakes, gains, most), *map(_part, slower, gains, fastest))
        self._rates = (
            turn + part * brakes[0] + share * gains[0],
            shoulder + part * brakes[1] + share * gains[1],
            elbow + part * brakes[2] + share * gains[2],
        )
        self._velocity = posture.velocity(self._rates)
        return self._rates

    def _wanted(self, command: Vector, position: Vector, braking: float) -> list[float]:
        """Return the velocity (m/s) that leads to a command (m), where an axis brakes by its weight times so much.

        It is distance / lag, where that asks for no more braking (m/s^2): at v = d / lag one brakes by v / lag. Beyond
        the distance where that is all there is, one brakes by that all along: v^2 = 2 a (d - d0), which continues the
        straight line with its slope.
        """
        lag, wanted = self.limits.lag_s, []
        bend = min(self.limits.speed_share, math.sqrt(self.limits.acceleration_share))
        for end, at, weight, most in zip(command, position, _WEIGHTS, _FASTEST_M_PER_S, strict=True):
            missing, most_braking = end - at, braking * weight
            distance, near = abs(missing), most_braking * lag * lag
            speed = distance / lag if distance <= near else math.sqrt(2.0 * most_braking * (distance - near / 2.0))
            wanted.append(math.copysign(min(speed, bend * most), missing))
        return wanted


def _dot(row: Row, along: Sequence[float]) -> float:
    return row[0] * along[0] + row[1] * along[1] + row[2] * along[2]


def _sum(row: Row, along: Sequence[float]) -> float:
    """Return the most that a joint does where each axis may move either way."""
    return abs(row[0] * along[0]) + abs(row[1] * along[1]) + abs(row[2] * along[2])


def _within(velocity: list[float], times: float) -> list[float]:
    """Return a velocity that is so many times as fast as it may be, if that is more than once, as fast as it may be."""
    return [speed / times for speed in velocity] if times > 1.0 else velocity


def _part(start: float, more: float, limit: float) -> float:
    """Return the largest share, 0 to 1, of `more` that can be added to `start` within a limit to either side."""
    if abs(start + more) <= limit or not more:
        return 1.0
    return max(0.0, (limit - math.copysign(start, start * more)) / abs(more))
