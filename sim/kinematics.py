"""The Panda's arm in closed form, for the postures that it is kept in.

The gripper always points straight down with the fingers opening along the world's y axis, and the elbow stays in the
vertical plane through base and gripper (joints 3 and 5 at zero). So one position of the gripper is one posture of
the arm: nothing drifts, and a picture of the arm tells where the gripper is. Three joints are free: joint 1, which
turns the plane, and in it the shoulder (2) and the elbow (4). Of the others 6 turns by 2 minus 4, and 7 turns with 1.
"""

from __future__ import annotations

import math

from sim.engine import Vector

# Lengths of the Panda (Franka's Denavit-Hartenberg table), metres.
_SHOULDER_HEIGHT_M = 0.333
_UPPER_ARM_M = 0.316
_FOREARM_M = 0.384
_ELBOW_OFFSET_M = 0.0825
_WRIST_OFFSET_M = 0.088
_FLANGE_M = 0.107
GRASP_POINT_M = 0.105
"""From the hand's frame to the point between the fingertips, along the hand's z axis, metres."""

_GRIPPER_BELOW_WRIST_M = _FLANGE_M + GRASP_POINT_M

Free = tuple[float, float, float]
"""The free joints: turn (1), shoulder (2), elbow (4), radians."""


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
    height = z + _GRIPPER_BELOW_WRIST_M - _SHOULDER_HEIGHT_M
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
    return all_joints((turn, shoulder, elbow))


def all_joints(free: Free) -> tuple[float, ...]:
    """Return the seven joint angles (radians) of a posture."""
    turn, shoulder, elbow = free
    return (turn, shoulder, 0.0, elbow, 0.0, shoulder - elbow, turn + math.pi / 4)


Row = tuple[float, float, float]
"""What a joint does for motion along x, y and z, rad/m; or what it does so by."""


class Posture:
    """The arm in one posture: where the gripper is, and how its motion and that of the joints belong together.

    Attributes:
        position: Of the grasp point in the frame of the robot's base, metres.
        turn: Rates of joint 1 for a gripper that moves by 1 m/s along x, y and z.
        shoulder: The same of joint 2.
        elbow: The same of joint 4.
        wrist: The same of joint 6.
    """

    __slots__ = ("_cos", "_forearm", "_out", "_reach", "_sin", "_up", "elbow", "position", "shoulder", "turn", "wrist")

    def __init__(self, free: Free) -> None:
        """Work out a posture."""
        turn, shoulder, elbow = free
        sin, cos = math.sin(turn), math.cos(turn)
        sin_shoulder, cos_shoulder = math.sin(shoulder), math.cos(shoulder)
        sin_pitch, cos_pitch = math.sin(shoulder - elbow), math.cos(shoulder - elbow)
        # In the arm's plane, outwards and upwards: from elbow to wrist, and from shoulder to wrist.
        forearm_out = _FOREARM_M * sin_pitch - _ELBOW_OFFSET_M * cos_pitch
        forearm_up = _FOREARM_M * cos_pitch + _ELBOW_OFFSET_M * sin_pitch
        out = _UPPER_ARM_M * sin_shoulder + _ELBOW_OFFSET_M * cos_shoulder + forearm_out
        up = _UPPER_ARM_M * cos_shoulder - _ELBOW_OFFSET_M * sin_shoulder + forearm_up
        reach = out + _WRIST_OFFSET_M
        self._sin, self._cos, self._forearm = sin, cos, (forearm_out, forearm_up)
        self._out, self._up, self._reach = out, up, reach
        self.position: Vector = (reach * cos, reach * sin, up + _SHOULDER_HEIGHT_M - _GRIPPER_BELOW_WRIST_M)
        determinant = up * forearm_out - out * forearm_up
        shoulder_out, shoulder_up = forearm_out / determinant, forearm_up / determinant
        elbow_out, elbow_up = out / determinant, up / determinant
        wrist_out, wrist_up = shoulder_out - elbow_out, shoulder_up - elbow_up
        self.turn: Row = (-sin / reach, cos / reach, 0.0)
        self.shoulder: Row = (shoulder_out * cos, shoulder_out * sin, shoulder_up)
        self.elbow: Row = (elbow_out * cos, elbow_out * sin, elbow_up)
        self.wrist: Row = (wrist_out * cos, wrist_out * sin, wrist_up)

    def velocity(self, rates: Free) -> Vector:
        """Return how the gripper moves (m/s) where the free joints turn so fast (rad/s)."""
        turn, shoulder, elbow = rates
        forearm_out, forearm_up = self._forearm
        out, side = self._up * shoulder - forearm_up * elbow, self._reach * turn
        return (
            out * self._cos - side * self._sin,
            out * self._sin + side * self._cos,
            forearm_out * elbow - self._out * shoulder,
        )
