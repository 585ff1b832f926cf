"""The Franka Panda in an engine: what it is commanded goes through its actuator to the motors, and what it reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sim.actuator import Actuator, ActuatorLimits
from sim.engine import Body, Engine, Quaternion, Vector
from sim.kinematics import GRASP_POINT_M, inverse_kinematics

__all__ = ["ARM_JOINTS", "FINGER_TRAVEL_M", "MAX_OPENING_M", "GripperState", "Panda", "inverse_kinematics"]

FINGER_TRAVEL_M = 0.04
MAX_OPENING_M = 2 * FINGER_TRAVEL_M

ARM_JOINTS = tuple(f"panda_joint{index}" for index in range(1, 8))
_FINGER_JOINTS = ("panda_finger_joint1", "panda_finger_joint2")
_FINGER_LINKS = ("panda_leftfinger", "panda_rightfinger")
_HAND_LINK = "panda_hand"

# Above the stock limits (87 and 12 N m), because these motors also do the gravity compensation that the real arm has.
_ARM_FORCES = (300.0, 300.0, 300.0, 300.0, 40.0, 40.0, 40.0)
_FINGER_FORCE_N = 20.0
_FORCES = (*_ARM_FORCES, _FINGER_FORCE_N, _FINGER_FORCE_N)
_FINGER_FRICTION = 1.2


@dataclass(frozen=True)
class GripperState:
    """What the robot reports.

    Attributes:
        position: Of the point between the fingertips, metres.
        velocity: Of that point, metres per second.
        opening: Distance between the fingers, metres.
    """

    position: Vector
    velocity: Vector
    opening: float


class Panda:
    """A Panda in an engine, commanded by where its gripper shall be and how far open."""

    def __init__(self, engine: Engine, description: Path) -> None:
        self._engine = engine
        self.body: Body = engine.load_robot(description)
        joints, links = engine.joints(self.body), engine.links(self.body)
        self._joints = [joints[name] for name in (*ARM_JOINTS, *_FINGER_JOINTS)]
        self._hand = links[_HAND_LINK]
        self._fingers = [links[name] for name in _FINGER_LINKS]
        self.actuator = Actuator()
        self.set_dynamics(ActuatorLimits(), friction_factor=1.0)

    def set_dynamics(self, limits: ActuatorLimits, *, friction_factor: float) -> None:
        """Set what is drawn of the robot; the friction of its fingers as a factor of the nominal one."""
        self.actuator.limits = limits
        for link in self._fingers:
            self._engine.set_dynamics(self.body, link, friction=_FINGER_FRICTION * friction_factor)

    def place(self, position: Vector, opening: float) -> None:
        """Put the gripper in place at rest (metres)."""
        self.actuator.place(position, opening)
        self._engine.set_joints(self.body, self._joints, self._targets())

    def set_posture(self, arm: Sequence[float], opening: float) -> None:
        """Put all joints in place at rest: seven angles (radians), and the fingers so far apart (metres)."""
        self._engine.set_joints(self.body, self._joints, [*arm, *_fingers_at(opening)])

    def follow(self, position: Vector, opening: float, period_s: float) -> None:
        """Follow a command during the next physics step, which takes `period_s` seconds (position, opening: metres)."""
        self.actuator.follow(position, opening, period_s)
        self._engine.drive_joints(self.body, self._joints, self._targets(), _FORCES)

    def joint_positions(self) -> list[float]:
        """Return where the engine has the seven joints of the arm, radians."""
        return self._engine.joint_positions(self.body, self._joints[: len(ARM_JOINTS)])

    def state(self) -> GripperState:
        """Return the gripper's measured state."""
        hand = self._engine.motion(self.body, self._hand)
        offset = _turned(hand.orientation, (0.0, 0.0, GRASP_POINT_M))
        turning = _cross(hand.angular_velocity, offset)
        opening = sum(self._engine.joint_positions(self.body, self._joints[len(ARM_JOINTS) :]))
        return GripperState(_plus(hand.position, offset), _plus(hand.velocity, turning), opening)

    def _targets(self) -> list[float]:
        return [*self.actuator.joints, *_fingers_at(self.actuator.opening)]


def _fingers_at(opening: float) -> list[float]:
    """Return the positions of both fingers (metres) that are so far apart."""
    return [min(max(opening / 2, 0.0), FINGER_TRAVEL_M)] * 2


def _plus(a: Vector, b: Vector) -> Vector:
    return (a[0] + b[0], a[1] + b[1], a[2] + b[2])


def _cross(a: Vector, b: Vector) -> Vector:
    return (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])


def _turned(quaternion: Quaternion, vector: Vector) -> Vector:
    x, y, z, w = quaternion
    axis = (x, y, z)
    once = _cross(axis, vector)
    twice = _cross(axis, once)
    return tuple(v + 2.0 * (w * a + b) for v, a, b in zip(vector, once, twice, strict=True))  # type: ignore[return-value]
