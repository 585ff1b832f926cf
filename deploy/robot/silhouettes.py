"""The robot's silhouette for joints and a camera, drawn by the simulator's renderer: what an alignment compares."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deploy.robot.runtime.contract import Camera
from sim.assets import assets_directory
from sim.bullet_engine import BulletEngine
from sim.panda_parts import panda_items
from sim.raster.renderer import RasterRenderer
from sim.renderer import NOTHING
from sim.robot import Panda
from sim.scenery import Camera as Pinhole
from sim.scenery import CameraPose, Light, Look, Material, Scenery

Matrix = NDArray[np.float64]
Mask = NDArray[np.float32]

_SAMPLES = 2
"""Along each edge of a pixel."""

_PHYSICS_HZ = 240
_BASE = "panda_link0"
_LIGHT = Light((0.0, 0.0, 1.0), (1.0, 1.0, 1.0), ambient=1.0, diffuse=0.0, specular=0.0, shadows=False)


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

    @property
    def pose(self) -> CameraPose:
        """The same in the simulator's words."""
        eye, aim = self.eye.tolist(), (self.eye + self.forward).tolist()
        return CameraPose((eye[0], eye[1], eye[2]), (aim[0], aim[1], aim[2]), self.field_of_view_deg, self.roll_deg)

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
    """Draws the robot alone. A context manager, which frees engine and renderer."""

    def __init__(self, *, base: bool = True) -> None:
        """Builds a world that holds the robot and nothing else.

        Args:
            base: whether the link that stands on the table is drawn, which no posture moves.
        """
        assets = assets_directory()
        self._engine = BulletEngine(_PHYSICS_HZ)
        self._robot = Panda(self._engine, assets / "panda.urdf")
        links = self._engine.links(self._robot.body)
        items = [item for item in panda_items(assets) if base or item.name != _BASE]
        self._frames = tuple((self._robot.body, links[item.name]) for item in items)
        scenery = Scenery(tuple(items), tuple(item.name for item in items))
        self._renderer = RasterRenderer(scenery)
        self._look = Look({slot: Material((1.0, 1.0, 1.0)) for slot in scenery.slots}, _LIGHT)

    def draw(self, joints: Sequence[float], opening: float, view: View, size: int) -> Mask:
        """The share of each pixel that the robot covers, [size, size], 0 to 1.

        Args:
            joints: seven angles, radians.
            opening: of the fingers, metres.
            view: the camera.
            size: pixels along an edge.
        """
        self._robot.set_posture(joints, opening)
        self._renderer.place(self._engine.poses(self._frames))
        fine = size * _SAMPLES
        shown = self._renderer.segment(self._look, Pinhole(view.pose, fine, fine)) != NOTHING
        share: Mask = shown.reshape(size, _SAMPLES, size, _SAMPLES).mean(axis=(1, 3), dtype=np.float32)
        return share

    def __enter__(self) -> RobotSilhouettes:
        return self

    def __exit__(self, *error: object) -> None:
        self._renderer.close()
        self._engine.close()
