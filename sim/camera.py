"""The camera: where it stands, and where a point appears in its image."""

from __future__ import annotations

import numpy as np

from sim.engine import Vector
from sim.scenery import Camera, CameraPose

# In front of the robot and to its left, so that height and distance of the gripper look different, and as close as the
# workspace allows: `tests/sim/test_sim_framing.py` proves that nothing leaves the image.
NOMINAL_CAMERA = CameraPose(eye=(0.914, 0.737, 0.804), aim=(0.493, 0.007, 0.097), field_of_view_deg=29.4)

# From the robot's left and nearer, for a gripper that stays at the table: a cube is six pixels wide there and not four,
# and seldom behind hand or fingers.
TABLE_CAMERA = CameraPose(eye=(0.5, 0.857, 0.907), aim=(0.5, 0.03, 0.08), field_of_view_deg=20.0)

# From the robot's left and flatter than the others, for a gripper that rises from the table: a cube is six and a half
# pixels wide, and its height is told as well as its place.
LIFT_CAMERA = CameraPose(eye=(0.5, 1.064, 0.96), aim=(0.5, 0.04, 0.16), field_of_view_deg=19.9)


def project(camera: Camera, point: Vector) -> tuple[float, float]:
    """Return the column and row (pixels, from the upper left corner) at which a camera sees a point (metres)."""
    pose = camera.pose
    eye, aim = np.array(pose.eye), np.array(pose.aim)
    forward = (aim - eye) / np.linalg.norm(aim - eye)
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    roll = np.radians(pose.roll_deg)
    offset = np.array(point) - eye
    across, along = offset @ right, offset @ down
    across, along = np.cos(roll) * across + np.sin(roll) * along, np.cos(roll) * along - np.sin(roll) * across
    scale = (camera.height_px / 2) / np.tan(np.radians(pose.field_of_view_deg) / 2) / (offset @ forward)
    middle = pose.principal_point[0] * camera.width_px, pose.principal_point[1] * camera.height_px
    return float(middle[0] + scale * across), float(middle[1] + scale * along)
