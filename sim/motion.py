"""How the arm moved, measured in the engine at every physics step: what joints did, and how fast the cube was hit."""

from __future__ import annotations

import math
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from sim.actuator import JOINT_ACCELERATIONS, JOINT_SPEEDS
from sim.assets import CUBE_HALF_EDGE_M
from sim.engine import Motion, Vector
from sim.robot import MAX_OPENING_M, GripperState
from sim.scene import Scene

# A cube that was slower than this and is faster now has been hit, unless the fingers close on it or hold it.
_STRUCK_M_PER_S = 0.02
# Fingers further apart than this are open, and nearer to each other they are closed with nothing between them.
_OPEN_M, _EMPTY_M = 0.95 * MAX_OPENING_M, CUBE_HALF_EDGE_M


class MotionReading(TypedDict):
    """What happened since the last reading.

    Attributes:
        joint_speed: Highest of any joint, as a share of the data sheet's limit.
        joint_acceleration: The same of acceleration.
        contact_m_per_s: Speed of the gripper as a cube at rest began to move, but for one between closing or closed
            fingers; None: none did.
        gripper_m: Where the gripper is now, metres.
    """

    joint_speed: float
    joint_acceleration: float
    contact_m_per_s: float | None
    gripper_m: Vector


class MotionMeter:
    """Measures a scene's robot. Joints' speeds are differences of their positions, and their accelerations of those."""

    def __init__(self, scene: Scene, period_s: float) -> None:
        """Measure at every `period_s` seconds."""
        self._scene, self._period_s = scene, period_s
        self._joints: list[NDArray[np.float64]] = []
        self._contact: float | None = None
        self._cube_speed = self._gripper_speed = 0.0

    def reset(self) -> None:
        """Begin with the arm at rest."""
        at = np.array(self._scene.robot.joint_positions())
        self._joints = [at, at]
        self._contact = None
        self._cube_speed = self._gripper_speed = 0.0

    def note(self) -> None:
        """Look, after every physics step."""
        self._joints.append(np.array(self._scene.robot.joint_positions()))
        if (cube := self._scene.cube_motion()) is not None:
            self._note_contact(cube)

    def _note_contact(self, cube: Motion) -> None:
        gripper = self._scene.robot.state()
        speed, before = math.hypot(*cube.velocity), self._gripper_speed
        self._gripper_speed = math.hypot(*gripper.velocity)
        if speed > _STRUCK_M_PER_S >= self._cube_speed and self._contact is None and not _is_held(gripper, cube):
            self._contact = before
        self._cube_speed = speed

    def read(self) -> MotionReading:
        """Return what happened since the last reading."""
        positions = np.stack(self._joints)
        speeds = np.diff(positions, axis=0) / self._period_s
        accelerations = np.diff(speeds, axis=0) / self._period_s
        reading: MotionReading = {
            "joint_speed": float((np.abs(speeds[1:]) / JOINT_SPEEDS).max()),
            "joint_acceleration": float((np.abs(accelerations) / JOINT_ACCELERATIONS).max()),
            "contact_m_per_s": self._contact,
            "gripper_m": self._scene.robot.state().position,
        }
        self._joints, self._contact = self._joints[-2:], None
        return reading


def _is_held(gripper: GripperState, cube: Motion) -> bool:
    """Return whether the cube is between fingers that close on it or have closed."""
    return _EMPTY_M < gripper.opening < _OPEN_M and math.dist(gripper.position, cube.position) < 2 * CUBE_HALF_EDGE_M
