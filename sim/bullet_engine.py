"""The engine on PyBullet, without a window and with its software renderer. No other module imports PyBullet."""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from sim.engine import BASE, Body, CameraPose, Image, Light, Motion, Quaternion, Texture, Vector

_NEAR_M = 0.05
_FAR_M = 6.0


def _import_quietly() -> ModuleType:
    """Import PyBullet without the line about its build time that it writes straight to file descriptor 2."""
    sys.stderr.flush()
    kept = os.dup(2)
    silent = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(silent, 2)
        import pybullet
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(silent)
    module: ModuleType = pybullet
    return module


_bullet = _import_quietly()


class BulletEngine:
    """One PyBullet world in this process. Implements `sim.engine.Engine`.

    An engine that is dropped frees its world, as `close` does: 30 MiB with a scene in it. It cannot be copied or
    pickled, as a copy would only have the number of the same world.
    """

    renderer = "pybullet-tiny"

    def __init__(self, physics_hz: int) -> None:
        """Start an empty world with gravity.

        Args:
            physics_hz: Physics steps per second.
        """
        self._client = _bullet.connect(_bullet.DIRECT)
        if self._client < 0:
            raise RuntimeError("PyBullet refused a new world: too many worlds are open in this process")
        self._free = weakref.finalize(self, _bullet.disconnect, self._client)
        self._free.atexit = False  # the process frees it anyway, and PyBullet may be gone by then
        self._saved: int | None = None
        self._call(_bullet.setGravity, 0.0, 0.0, -9.81)
        self._call(_bullet.setPhysicsEngineParameter, fixedTimeStep=1.0 / physics_hz, deterministicOverlappingPairs=1)

    def _call(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        return function(*arguments, physicsClientId=self._client, **options)

    def load_robot(self, description: Path) -> Body:
        """See `Engine.load_robot`."""
        flags = (
            _bullet.URDF_USE_INERTIA_FROM_FILE
        )  # else Bullet derives inertia from collision shapes: most links have none
        return Body(self._call(_bullet.loadURDF, str(description), useFixedBase=True, flags=flags))

    def add_body(
        self,
        *,
        visual: Path | None = None,
        collision_half_extents: Vector | None = None,
        position: Vector = (0.0, 0.0, 0.0),
        mass: float = 0.0,
    ) -> Body:
        """See `Engine.add_body`."""
        shape = drawn = -1
        if collision_half_extents is not None:
            shape = self._call(_bullet.createCollisionShape, _bullet.GEOM_BOX, halfExtents=collision_half_extents)
        if visual is not None:
            drawn = self._call(_bullet.createVisualShape, _bullet.GEOM_MESH, fileName=str(visual))
        return Body(self._call(_bullet.createMultiBody, mass, shape, drawn, position))

    def load_texture(self, path: Path) -> Texture:
        """See `Engine.load_texture`."""
        texture = self._call(_bullet.loadTexture, str(path))
        if texture < 0:
            raise ValueError(f"{path} is not an image that PyBullet can read")
        return Texture(texture)

    def joints(self, body: Body) -> dict[str, int]:
        """See `Engine.joints`."""
        return self._names(body, 1)

    def links(self, body: Body) -> dict[str, int]:
        """See `Engine.links`."""
        base = self._call(_bullet.getBodyInfo, body)[0].decode()
        return {base: BASE, **self._names(body, 12)}

    def _names(self, body: Body, column: int) -> dict[str, int]:
        count = self._call(_bullet.getNumJoints, body)
        return {self._call(_bullet.getJointInfo, body, index)[column].decode(): index for index in range(count)}

    def set_joints(self, body: Body, joints: Sequence[int], positions: Sequence[float]) -> None:
        """See `Engine.set_joints`."""
        for joint, position in zip(joints, positions, strict=True):
            self._call(_bullet.resetJointState, body, joint, position)

    def joint_positions(self, body: Body, joints: Sequence[int]) -> list[float]:
        """See `Engine.joint_positions`."""
        return [state[0] for state in self._call(_bullet.getJointStates, body, joints)]

    def drive_joints(
        self,
        body: Body,
        joints: Sequence[int],
        targets: Sequence[float],
        gains: Sequence[float],
        forces: Sequence[float],
    ) -> None:
        """See `Engine.drive_joints`."""
        self._call(
            _bullet.setJointMotorControlArray,
            body,
            joints,
            _bullet.POSITION_CONTROL,
            targetPositions=targets,
            positionGains=gains,
            forces=forces,
        )

    def set_pose(self, body: Body, position: Vector, orientation: Quaternion = (0.0, 0.0, 0.0, 1.0)) -> None:
        """See `Engine.set_pose`."""
        self._call(_bullet.resetBasePositionAndOrientation, body, position, orientation)
        self._call(_bullet.resetBaseVelocity, body, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))

    def motion(self, body: Body, link: int = BASE) -> Motion:
        """See `Engine.motion`."""
        if link == BASE:
            position, orientation = self._call(_bullet.getBasePositionAndOrientation, body)
            velocity, angular_velocity = self._call(_bullet.getBaseVelocity, body)
        else:
            state = self._call(_bullet.getLinkState, body, link, computeLinkVelocity=1, computeForwardKinematics=1)
            position, orientation, velocity, angular_velocity = state[4:8]
        return Motion(position, orientation, velocity, angular_velocity)

    def set_dynamics(
        self,
        body: Body,
        link: int = BASE,
        *,
        mass: float | None = None,
        friction: float | None = None,
        joint_damping: float | None = None,
    ) -> None:
        """See `Engine.set_dynamics`."""
        values = {"mass": mass, "lateralFriction": friction, "jointDamping": joint_damping}
        given = {key: value for key, value in values.items() if value is not None}
        self._call(_bullet.changeDynamics, body, link, **given)

    def mass(self, body: Body, link: int = BASE) -> float:
        """See `Engine.mass`."""
        return float(self._call(_bullet.getDynamicsInfo, body, link)[0])

    def paint(self, body: Body, link: int, colour: Vector, texture: Texture | None) -> None:
        """See `Engine.paint`."""
        self._call(
            _bullet.changeVisualShape,
            body,
            link,
            rgbaColor=(*colour, 1.0),
            textureUniqueId=-1 if texture is None else texture,
        )

    def step(self) -> None:
        """See `Engine.step`."""
        self._call(_bullet.stepSimulation)

    def save(self) -> None:
        """See `Engine.save`."""
        if self._saved is not None:
            self._call(_bullet.removeState, self._saved)
        self._saved = self._call(_bullet.saveState)

    def restore(self) -> None:
        """See `Engine.restore`."""
        assert self._saved is not None, "save() comes before restore()"
        self._call(_bullet.restoreState, self._saved)
        # Bullet keeps contacts between bodies that are near each other and starts its solver from their last forces.
        # Finding contacts now drops those that the saved state does not have, which restoreState does not.
        self._call(_bullet.performCollisionDetection)

    def render(self, camera: CameraPose, light: Light, size: int) -> Image:
        """See `Engine.render`."""
        view, projection = _matrices(camera)
        picture = self._call(
            _bullet.getCameraImage,
            size,
            size,
            view,
            projection,
            lightDirection=light.direction,
            lightColor=light.colour,
            lightDistance=4.0,
            shadow=int(light.shadows),
            lightAmbientCoeff=light.ambient,
            lightDiffuseCoeff=light.diffuse,
            lightSpecularCoeff=light.specular,
            renderer=_bullet.ER_TINY_RENDERER,
            flags=_bullet.ER_NO_SEGMENTATION_MASK,
        )[2]
        return np.ascontiguousarray(np.asarray(picture, np.uint8).reshape(size, size, 4)[..., :3])

    def segment(self, camera: CameraPose, size: int) -> NDArray[np.int32]:
        """See `Engine.segment`."""
        view, projection = _matrices(camera)
        mask = self._call(_bullet.getCameraImage, size, size, view, projection, renderer=_bullet.ER_TINY_RENDERER)[4]
        return np.asarray(mask, np.int32).reshape(size, size)

    def close(self) -> None:
        """See `Engine.close`."""
        self._free()
        self._client = -1

    def __reduce__(self) -> NoReturn:
        """Refuse `copy` and `pickle`.

        Raises:
            TypeError: Always.
        """
        raise TypeError("a PyBullet world cannot be copied or pickled: make another, and bring it to the same state")


def _matrices(camera: CameraPose) -> tuple[Sequence[float], Sequence[float]]:
    view = _bullet.computeViewMatrix(camera.eye, camera.aim, (0.0, 0.0, 1.0))
    projection = _bullet.computeProjectionMatrixFOV(camera.field_of_view_deg, 1.0, _NEAR_M, _FAR_M)
    return view, projection
