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
_SPEEDS = (JOINT_SPEEDS[_TURN], JOINT_SPEEDS[_SHOULDER], JOINT_SPEEDS[_ELBOW], JOINT_SPEEDS[_WRIST])
_ACCELERATIONS = (
    JOINT_ACCELERATIONS[_TURN],
    JOINT_ACCELERATIONS[_SHOULDER],
    JOINT_ACCELERATIONS[_ELBOW],
    JOINT_ACCELERATIONS[_WRIST],
)

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
        most = _scaled(_ACCELERATIONS, limits.acceleration_share * period_s)
        fastest = _scaled(_SPEEDS, limits.speed_share)
        # What joints must do for the gripper to go on as it does is taken from what they may; all axes brake at once.
        going_on, needed = _difference(_joints(rows, moving), rates), _at_most(rows, _WEIGHTS)
        braking = _BRAKING_SHARE * min(
            [max(m - abs(g), _LEAST_BRAKING_SHARE * m) / n for m, g, n in zip(most, going_on, needed, strict=True)]
        )
        wanted = self._wanted(command, posture.position, braking / period_s)
        # Also where one axis stops before the others no joint shall be too fast.
        wanted = _within(wanted, _at_most(rows, wanted), fastest)
        kept = (_slower(moving[0], wanted[0]), _slower(moving[1], wanted[1]), _slower(moving[2], wanted[2]))
        slowed = (
            _towards(moving[0], kept[0], braking * _WEIGHTS[0]),
            _towards(moving[1], kept[1], braking * _WEIGHTS[1]),
            _towards(moving[2], kept[2], braking * _WEIGHTS[2]),
        )
        slowed = _within(slowed, _joints(rows, slowed), fastest)
        brakes = _difference(_joints(rows, slowed), rates)
        gains = _joints(rows, (wanted[0] - kept[0], wanted[1] - kept[1], wanted[2] - kept[2]))
        part, share = _part((0.0, 0.0, 0.0, 0.0), brakes, most), 0.0
        if part == 1.0:
            slower = (rates[0] + brakes[0], rates[1] + brakes[1], rates[2] + brakes[2], rates[3] + brakes[3])
            share = min(_part(brakes, gains, most), _part(slower, gains, fastest))
        self._rates = (
            turn + part * brakes[0] + share * gains[0],
            shoulder + part * brakes[1] + share * gains[1],
            elbow + part * brakes[2] + share * gains[2],
        )
        self._velocity = posture.velocity(self._rates)
        return self._rates

    def _wanted(self, command: Vector, position: Vector, braking: float) -> Vector:
        """Return the velocity (m/s) that leads to a command (m), where an axis brakes by its weight times so much."""
        bend = min(self.limits.speed_share, math.sqrt(self.limits.acceleration_share))
        lag = self.limits.lag_s
        return (
            _approach(command[0] - position[0], lag, braking * _WEIGHTS[0], bend * _FASTEST_M_PER_S[0]),
            _approach(command[1] - position[1], lag, braking * _WEIGHTS[1], bend * _FASTEST_M_PER_S[1]),
            _approach(command[2] - position[2], lag, braking * _WEIGHTS[2], bend * _FASTEST_M_PER_S[2]),
        )


# Written out number by number: this runs at every physics step, and lists and loops would take three times as long.
_Joints = tuple[float, float, float, float]
"""Of turn, shoulder, elbow and wrist."""

_Rows = tuple[Row, Row, Row, Row]


def _approach(missing: float, lag: float, braking: float, fastest: float) -> float:
    """Return the speed (m/s) that leads over what is missing (m), with its sign.

    It is distance / lag, where that asks for no more braking (m/s^2): at v = d / lag one brakes by v / lag. Beyond the
    distance where that is all there is, one brakes by that all along: v^2 = 2 a (d - d0), which continues the straight
    line with its slope.
    """
    distance, near = abs(missing), braking * lag * lag
    speed = distance / lag if distance <= near else math.sqrt(2.0 * braking * (distance - near / 2.0))
    return math.copysign(min(speed, fastest), missing)


def _joints(rows: _Rows, along: Vector) -> _Joints:
    """Return what joints do for a motion of the gripper."""
    (a, b, c, d), (x, y, z) = rows, along
    return (
        a[0] * x + a[1] * y + a[2] * z,
        b[0] * x + b[1] * y + b[2] * z,
        c[0] * x + c[1] * y + c[2] * z,
        d[0] * x + d[1] * y + d[2] * z,
    )


def _at_most(rows: _Rows, along: Vector) -> _Joints:
    """Return the most that joints do where each axis moves so fast, slower, or not at all, to either side."""
    (a, b, c, d), (x, y, z) = rows, along
    return (
        abs(a[0] * x) + abs(a[1] * y) + abs(a[2] * z),
        abs(b[0] * x) + abs(b[1] * y) + abs(b[2] * z),
        abs(c[0] * x) + abs(c[1] * y) + abs(c[2] * z),
        abs(d[0] * x) + abs(d[1] * y) + abs(d[2] * z),
    )


def _scaled(joints: _Joints, factor: float) -> _Joints:
    a, b, c, d = joints
    return (factor * a, factor * b, factor * c, factor * d)


def _difference(joints: _Joints, others: _Joints) -> _Joints:
    return (joints[0] - others[0], joints[1] - others[1], joints[2] - others[2], joints[3] - others[3])


def _slower(now: float, wanted: float) -> float:
    """Return what lies between rest and the present speed and is nearest to the wanted one."""
    if now >= 0.0:
        return 0.0 if wanted < 0.0 else min(wanted, now)
    return 0.0 if wanted > 0.0 else max(wanted, now)


def _towards(now: float, end: float, most: float) -> float:
    return now + min(max(end - now, -most), most)


def _within(velocity: Vector, rates: _Joints, fastest: _Joints) -> Vector:
    """Return a velocity of which joints have these rates, slowed down until none is too fast."""
    times = max(
        abs(rates[0]) / fastest[0], abs(rates[1]) / fastest[1], abs(rates[2]) / fastest[2], abs(rates[3]) / fastest[3]
    )
    return (velocity[0] / times, velocity[1] / times, velocity[2] / times) if times > 1.0 else velocity


def _part(start: _Joints, more: _Joints, limits: _Joints) -> float:
    """Return the largest share, 0 to 1, of `more` that can be added to `start` within limits to either side."""
    share = 1.0
    for begin, change, limit in zip(start, more, limits, strict=True):
        if change and abs(begin + share * change) > limit:
            share = max(0.0, (limit - math.copysign(begin, begin * change)) / abs(change))
    return share
