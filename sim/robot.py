"""The Franka Panda: its inverse kinematics in closed form, its motors and its gripper.

The gripper always points straight down with the fingers opening along the world's y axis, and the elbow stays in the
vertical plane through base and gripper (joints 3 and 5 at zero). So one position of the gripper is one posture of
the arm: nothing drifts, and a picture of the arm tells where the gripper is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sim.engine import Body, Engine, Vector

# Lengths of the Panda (Franka's Denavit-Hartenberg table), metres.
_SHOULDER_HEIGHT_M = 0.333
_UPPER_ARM_M = 0.316
_FOREARM_M = 0.384
_ELBOW_OFFSET_M = 0.0825
_WRIST_OFFSET_M = 0.088
_FLANGE_M = 0.107
_GRASP_POINT_M = 0.105

FINGER_TRAVEL_M = 0.04
MAX_OPENING_M = 2 * FINGER_TRAVEL_M

_ARM_JOINTS = tuple(f"panda_joint{index}" for index in range(1, 8))
_FINGER_JOINTS = ("panda_finger_joint1", "panda_finger_joint2")
_FINGER_LINKS = ("panda_leftfinger", "panda_rightfinger")
_HAND_LINKS = ("panda_hand", *_FINGER_LINKS)
_GRASP_LINK = "panda_grasptarget"
_ARM_LINKS = tuple(f"panda_link{index}" for index in range(8))

# Above the stock limits (87 and 12 N m), because these motors also do the gravity compensation that the real arm has.
_ARM_FORCES = (300.0, 300.0, 300.0, 300.0, 40.0, 40.0, 40.0)
_FINGER_FORCE_N = 20.0
_POSITION_GAIN = 0.5
_FINGER_FRICTION = 1.2
_JOINT_DAMPING = 0.1


def inverse_kinematics(position: Vector) -> tuple[float, ...]:
    """Return the seven joint angles (radians) that put the grasp point at `position` with the hand pointing down.

    Args:
        position: In the frame of the robot's base, metres.

    Raises:
        ValueError: The position is out of reach.
    """
    x, y, z = position
    turn = math.atan2(y, x)
    reach = math.hypot(x, y) - _WRIST_OFFSET_M
    height = z + _FLANGE_M + _GRASP_POINT_M - _SHOULDER_HEIGHT_M
    upper = math.hypot(_UPPER_ARM_M, _ELBOW_OFFSET_M)
    lower = math.hypot(_FOREARM_M, _ELBOW_OFFSET_M)
    squared = reach * reach + height * height
    cosine = (squared - upper * upper - lower * lower) / (2 * upper * lower)
    if not -1.0 < cosine < 1.0:
        raise ValueError(f"position {position} is out of the Panda's reach")
    bend = math.acos(cosine)
    lift = math.atan2(reach, height) - math.atan2(lower * math.sin(bend), upper + lower * math.cos(bend))
    # The elbow's offset tilts both bones against the lines from joint to joint.
    shoulder = lift - math.atan2(_ELBOW_OFFSET_M, _UPPER_ARM_M)
    elbow = -(bend + math.atan2(_ELBOW_OFFSET_M, _UPPER_ARM_M) + math.atan2(_ELBOW_OFFSET_M, _FOREARM_M))
    return (turn, shoulder, 0.0, elbow, 0.0, shoulder - elbow, turn + math.pi / 4)


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
    """A Panda in an engine, moved by targets for the gripper's position and opening."""

    def __init__(self, engine: Engine, description: Path) -> None:
        self._engine = engine
        self.body: Body = engine.load_robot(description)
        joints, links = engine.joints(self.body), engine.links(self.body)
        self._arm = [joints[name] for name in _ARM_JOINTS]
        self._joints = [*self._arm, *(joints[name] for name in _FINGER_JOINTS)]
        self._grasp_link = links[_GRASP_LINK]
        self._fingers = [links[name] for name in _FINGER_LINKS]
        self._hand_masses = {links[name]: engine.mass(self.body, links[name]) for name in _HAND_LINKS}
        self.painted_links: dict[str, list[int]] = {
            "arm": [links[name] for name in _ARM_LINKS],
            "hand": [links["panda_hand"]],
            "fingers": self._fingers,
        }
        self._gains: list[float] = []
        self._forces: list[float] = []
        self.set_dynamics()

    def set_dynamics(
        self,
        *,
        mass_factor: float = 1.0,
        friction_factor: float = 1.0,
        damping_factor: float = 1.0,
        gain_factor: float = 1.0,
        force_factor: float = 1.0,
    ) -> None:
        """Set what dynamics randomisation draws, each as a factor of the nominal value."""
        for link, mass in self._hand_masses.items():
            self._engine.set_dynamics(self.body, link, mass=mass * mass_factor)
        for link in self._fingers:
            self._engine.set_dynamics(self.body, link, friction=_FINGER_FRICTION * friction_factor)
        for joint in self._arm:
            self._engine.set_dynamics(self.body, joint, joint_damping=_JOINT_DAMPING * damping_factor)
        self._gains = [_POSITION_GAIN * gain_factor] * len(self._joints)
        self._forces = [force * force_factor for force in (*_ARM_FORCES, _FINGER_FORCE_N, _FINGER_FORCE_N)]

    def place(self, position: Vector, opening: float) -> None:
        """Put the gripper in place at rest (metres)."""
        self._engine.set_joints(self.body, self._joints, self.joint_targets(position, opening))

    def set_posture(self, arm: Sequence[float], opening: float) -> None:
        """Put all joints in place at rest: seven angles (radians), and the fingers so far apart (metres)."""
        self._engine.set_joints(self.body, self._joints, [*arm, *_fingers_at(opening)])

    def joint_targets(self, position: Vector, opening: float) -> list[float]:
        """Return the positions of all nine joints for a gripper position and opening (metres)."""
        return [*inverse_kinematics(position), *_fingers_at(opening)]

    def drive(self, targets: list[float]) -> None:
        """Set the motors' targets for the next physics step, as from `joint_targets`."""
        self._engine.drive_joints(self.body, self._joints, targets, self._gains, self._forces)

    def state(self) -> GripperState:
        """Return the gripper's measured state."""
        motion = self._engine.motion(self.body, self._grasp_link)
        opening = sum(self._engine.joint_positions(self.body, self._joints[-2:]))
        return GripperState(motion.position, motion.velocity, opening)


def _fingers_at(opening: float) -> list[float]:
    """Return the positions of both fingers (metres) that are so far apart."""
    return [min(max(opening / 2, 0.0), FINGER_TRAVEL_M)] * 2
