"""The arm's posture for a place of its gripper, and back.

As in training the hand points down and the elbow stays in the vertical plane through base and gripper, so that a place
has one posture and a picture tells it. The same as the simulator's, which a robot's computer does not have (a test
holds both together). Metres, radians, the frame is the robot's base.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Vector = tuple[float, float, float]

# Franka's Denavit-Hartenberg table, equal for Panda and FR3.
_SHOULDER_M = 0.333
_UPPER_M = 0.316
_FORE_M = 0.384
_ELBOW_M = 0.0825
_WRIST_M = 0.088
_FLANGE_M = 0.107
GRASP_M = 0.105
"""From the flange to the point between the fingertips of Franka's hand."""

_MOMENT_S = 1e-4
"""In which a speed is taken to stay as it is."""

_DH: tuple[tuple[float, float, float], ...] = (
    (0.0, _SHOULDER_M, 0.0),
    (0.0, 0.0, -math.pi / 2),
    (0.0, _UPPER_M, math.pi / 2),
    (_ELBOW_M, 0.0, math.pi / 2),
    (-_ELBOW_M, _FORE_M, -math.pi / 2),
    (0.0, 0.0, math.pi / 2),
    (_WRIST_M, 0.0, math.pi / 2),
)
"""Craig's convention: a, d, alpha of each joint."""


def joints_at(position: Vector) -> tuple[float, ...]:
    """The seven joint angles that put the point between the fingertips at `position`.

    Raises:
        ValueError: out of reach.
    """
    x, y, z = position
    turn = math.atan2(y, x)
    reach = math.hypot(x, y) - _WRIST_M
    height = z + (_FLANGE_M + GRASP_M) - _SHOULDER_M
    upper, lower = math.hypot(_UPPER_M, _ELBOW_M), math.hypot(_FORE_M, _ELBOW_M)
    cosine = (reach * reach + height * height - upper * upper - lower * lower) / (2 * upper * lower)
    if not -1.0 < cosine < 1.0:
        raise ValueError(f"position ({x:.3f}, {y:.3f}, {z:.3f}) is out of the arm's reach")
    bend = math.acos(cosine)
    lift = math.atan2(reach, height) - math.atan2(lower * math.sin(bend), upper + lower * math.cos(bend))
    shoulder = lift - math.atan2(_ELBOW_M, _UPPER_M)
    elbow = -(bend + math.atan2(_ELBOW_M, _UPPER_M) + math.atan2(_ELBOW_M, _FORE_M))
    return (turn, shoulder, 0.0, elbow, 0.0, shoulder - elbow, turn + math.pi / 4)


def gripper_at(joints: Sequence[float]) -> Vector:
    """Where the point between the fingertips is for seven joint angles."""
    pose = np.eye(4)
    for angle, (a, d, alpha) in zip(joints, _DH, strict=True):
        pose = pose @ _link(a, d, alpha, angle)
    x, y, z = (pose @ np.array([0.0, 0.0, _FLANGE_M + GRASP_M, 1.0]))[:3].tolist()
    return (x, y, z)


def gripper_velocity(joints: Sequence[float], speeds: Sequence[float]) -> Vector:
    """How fast that point moves, m/s, with seven joint speeds in rad/s."""
    before, after = (
        gripper_at([angle + moment * speed for angle, speed in zip(joints, speeds, strict=True)])
        for moment in (-_MOMENT_S, _MOMENT_S)
    )
    x, y, z = ((b - a) / (2.0 * _MOMENT_S) for a, b in zip(before, after, strict=True))
    return (x, y, z)


def _link(a: float, d: float, alpha: float, theta: float) -> NDArray[np.float64]:
    ca, sa, ct, st = math.cos(alpha), math.sin(alpha), math.cos(theta), math.sin(theta)
    return np.array(
        [
            [ct, -st, 0.0, a],
            [st * ca, ct * ca, -sa, -d * sa],
            [st * sa, ct * sa, ca, d * ca],
            [0.0, 0.0, 0.0, 1.0],
        ]
    )
