"""The robot's silhouette for joints and a camera, drawn by the simulator's renderer: what an alignment compares with.

`RobotSilhouettes` is all that knows of the renderer; whatever draws masks for a pose without roll can take its place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from deploy.robot.runtime.contract import Camera
from sim.assets import assets_directory
from sim.bullet_engine import BulletEngine
from sim.engine import CameraPose
from sim.robot import Panda

Matrix = NDArray[np.float64]
Mask = NDArray[np.float32]

_MARGIN = 1.2
"""The renderer knows no roll: its picture is so much wider than what is cut out of it, turned."""


@dataclass(frozen=True)
class View:
    """A pinhole camera: where it is, how it is turned, and its field of view.

    Attributes:
        eye: [3] metres.
        axes: [3, 3], its rows the directions right, up and forward of the camera, orthonormal.
        field_of_view_deg: full angle between opposite edges of its square picture.
    """

    eye: Matrix
    axes: Matrix
    field_of_view_deg: float

    @property
    def forward(self) -> Matrix:
        """[3], along the optical axis."""
        forward: Matrix = self.axes[2]
        return forward

    @property
    def roll_deg(self) -> float:
        """About the optical axis, clockwise seen from behind; 0: the picture's upper edge is up."""
        level = level_axes(self.forward)
        return math.degrees(math.atan2(-self.axes[0] @ level[1], self.axes[0] @ level[0]))

    def aim(self, near: Sequence[float]) -> Matrix:
        """The point of the optical axis that is nearest to a point [3]."""
        along: Matrix = (np.asarray(near) - self.eye) @ self.forward
        return np.asarray(self.eye + along * self.forward)


def level_axes(forward: Matrix) -> Matrix:
    """The axes of a camera without roll that looks along `forward` [3]."""
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(right, forward), forward])


def view_of(camera: Camera) -> View:
    """Where the contract has the camera."""
    eye = np.array(camera.eye_m)
    return View(eye, level_axes(np.array(camera.aim_m) - eye), camera.field_of_view_deg)


class RobotSilhouettes:
    """Draws the robot alone. A context manager, which frees the renderer."""

    def __init__(self) -> None:
        self._engine = BulletEngine(240)
        self._robot = Panda(self._engine, assets_directory() / "panda.urdf")

    def draw(self, joints: Sequence[float], opening: float, view: View, size: int) -> Mask:
        """The share of each pixel that the robot covers, [size, size], 0 to 1.

        Args:
            joints: seven angles, radians.
            opening: of the fingers, metres.
            view: the camera.
            size: pixels along an edge.
        """
        self._robot.set_posture(joints, opening)
        drawn = math.ceil(_MARGIN * size)
        focal = size / 2 / math.tan(math.radians(view.field_of_view_deg) / 2)
        wide = 2 * math.degrees(math.atan(drawn / 2 / focal))
        eye, aim = view.eye.tolist(), (view.eye + view.forward).tolist()
        pose = CameraPose((eye[0], eye[1], eye[2]), (aim[0], aim[1], aim[2]), wide)
        mask = (self._engine.segment(pose, drawn) == self._robot.body).astype(np.float32)
        return turned(mask, view.roll_deg, size)

    def __enter__(self) -> RobotSilhouettes:
        return self

    def __exit__(self, *error: object) -> None:
        self._engine.close()


def turned(mask: Mask, roll_deg: float, size: int) -> Mask:
    """What a camera that is rolled sees of a picture of one that is not, [S, S] to [size, size], about its middle."""
    turn = math.radians(roll_deg)
    matrix = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    offset = (len(mask) - 1) / 2 - matrix @ np.full(2, (size - 1) / 2)
    cut: Mask = ndimage.affine_transform(mask, matrix, offset, (size, size), np.float32, order=1)
    return cut
