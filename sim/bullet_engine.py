"""The engine on PyBullet, without a window."""

from __future__ import annotations

import functools
import itertools
import weakref
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from sim.bullet import bullet
from sim.engine import BASE, Body, Frame, Motion, Quaternion, Vector

# Of coupled joints: what share of their difference a step takes away, and how strongly.
_COUPLING_ERP = 0.5
_COUPLING_FORCE_N = 200.0


class BulletEngine:
    """One PyBullet world in this process. Implements `sim.engine.Engine`.

    An engine that is dropped frees its world, as `close` does: 30 MiB with a scene in it. It cannot be copied or
    pickled, as a copy would only have the number of the same world.
    """

    def __init__(self, physics_hz: int) -> None:
        """Start an empty world with gravity.

        Args:
            physics_hz: Physics steps per second.
        """
        self._client = bullet.connect(bullet.DIRECT)
        if self._client < 0:
            raise RuntimeError("PyBullet refused a new world: too many worlds are open in this process")
        self._free = weakref.finalize(self, bullet.disconnect, self._client)
        self._free.atexit = False  # the process frees it anyway, and PyBullet may be gone by then
        self._saved: int | None = None
        self._step = functools.partial(bullet.stepSimulation, physicsClientId=self._client)
        self._drive = functools.partial(bullet.setJointMotorControlArray, physicsClientId=self._client)
        self._driven: tuple[Any, ...] | None = None
        self._fixed_bases: dict[Body, list[float]] = {}
        self._call(bullet.setGravity, 0.0, 0.0, -9.81)
        self._call(bullet.setPhysicsEngineParameter, fixedTimeStep=1.0 / physics_hz, deterministicOverlappingPairs=1)

    def _call(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        return function(*arguments, physicsClientId=self._client, **options)

    def load_robot(self, description: Path) -> Body:
        """See `Engine.load_robot`."""
        # Else Bullet derives inertia from collision shapes, of which most links have none.
        flags = bullet.URDF_USE_INERTIA_FROM_FILE | bullet.URDF_IGNORE_VISUAL_SHAPES
        body = Body(self._call(bullet.loadURDF, str(description), useFixedBase=True, flags=flags))
        # Bullet tells where the base's centre of mass is, and this base does not move.
        centre = self._call(bullet.getBasePositionAndOrientation, body)
        within = self._call(bullet.getDynamicsInfo, body, BASE)[3:5]
        position, orientation = bullet.multiplyTransforms(*centre, *bullet.invertTransform(*within))
        self._fixed_bases[body] = [*position, *orientation]
        self._couple(body, description)
        return body

    def _couple(self, body: Body, description: Path) -> None:
        """Couple joints that mimic another one, which Bullet's reader leaves out."""
        joints = self.joints(body)
        for joint in ElementTree.parse(description).getroot().iter("joint"):
            if (mimic := joint.find("mimic")) is not None:
                pair = (body, joints[mimic.attrib["joint"]], body, joints[joint.attrib["name"]])
                origin = (0.0, 0.0, 0.0)
                gear = self._call(bullet.createConstraint, *pair, bullet.JOINT_GEAR, (1.0, 0.0, 0.0), origin, origin)
                self._call(bullet.changeConstraint, gear, gearRatio=-1, erp=_COUPLING_ERP, maxForce=_COUPLING_FORCE_N)

    def add_body(
        self,
        *,
        collision_half_extents: Vector | None = None,
        position: Vector = (0.0, 0.0, 0.0),
        mass: float = 0.0,
    ) -> Body:
        """See `Engine.add_body`."""
        shape = -1
        if collision_half_extents is not None:
            shape = self._call(bullet.createCollisionShape, bullet.GEOM_BOX, halfExtents=collision_half_extents)
        return Body(self._call(bullet.createMultiBody, mass, shape, -1, position))

    def joints(self, body: Body) -> dict[str, int]:
        """See `Engine.joints`."""
        return self._names(body, 1)

    def links(self, body: Body) -> dict[str, int]:
        """See `Engine.links`."""
        base = self._call(bullet.getBodyInfo, body)[0].decode()
        return {base: BASE, **self._names(body, 12)}

    def _names(self, body: Body, column: int) -> dict[str, int]:
        count = self._call(bullet.getNumJoints, body)
        return {self._call(bullet.getJointInfo, body, index)[column].decode(): index for index in range(count)}

    def set_joints(self, body: Body, joints: Sequence[int], positions: Sequence[float]) -> None:
        """See `Engine.set_joints`."""
        for joint, position in zip(joints, positions, strict=True):
            self._call(bullet.resetJointState, body, joint, position)

    def joint_positions(self, body: Body, joints: Sequence[int]) -> list[float]:
        """See `Engine.joint_positions`."""
        return [state[0] for state in self._call(bullet.getJointStates, body, joints)]

    def drive_joints(
        self,
        body: Body,
        joints: Sequence[int],
        targets: Sequence[float],
        forces: Sequence[float],
    ) -> None:
        """See `Engine.drive_joints`."""
        driven = (body, tuple(joints), tuple(targets), tuple(forces))
        if driven == self._driven:
            return  # motors keep their targets
        self._driven = driven
        # Gain is the share of the way that a motor asks for in one step.
        gains = [1.0] * len(joints)
        self._drive(body, joints, bullet.POSITION_CONTROL, targetPositions=targets, positionGains=gains, forces=forces)

    def set_pose(self, body: Body, position: Vector, orientation: Quaternion = (0.0, 0.0, 0.0, 1.0)) -> None:
        """See `Engine.set_pose`."""
        self._call(bullet.resetBasePositionAndOrientation, body, position, orientation)
        self._call(bullet.resetBaseVelocity, body, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))

    def motion(self, body: Body, link: int = BASE) -> Motion:
        """See `Engine.motion`."""
        if link == BASE:
            position, orientation = self._call(bullet.getBasePositionAndOrientation, body)
            velocity, angular_velocity = self._call(bullet.getBaseVelocity, body)
        else:
            state = self._call(bullet.getLinkState, body, link, computeLinkVelocity=1, computeForwardKinematics=1)
            position, orientation, velocity, angular_velocity = state[4:8]
            # Bullet tells the velocity of the link's centre of mass.
            spin, arm = angular_velocity, [frame - centre for frame, centre in zip(position, state[0], strict=True)]
            velocity = (
                velocity[0] + spin[1] * arm[2] - spin[2] * arm[1],
                velocity[1] + spin[2] * arm[0] - spin[0] * arm[2],
                velocity[2] + spin[0] * arm[1] - spin[1] * arm[0],
            )
        return Motion(position, orientation, velocity, angular_velocity)

    def poses(self, frames: tuple[Frame, ...]) -> NDArray[np.float64]:
        """See `Engine.poses`."""
        rows: list[Sequence[float]] = []
        for body, links in _runs(frames):
            if links[0] != BASE:
                states = self._call(bullet.getLinkStates, body, links, computeForwardKinematics=1)
                rows += [state[4] + state[5] for state in states]
            elif body in self._fixed_bases:
                rows.append(self._fixed_bases[body])
            else:
                position, orientation = self._call(bullet.getBasePositionAndOrientation, body)
                rows.append(position + orientation)
        return np.array(rows, np.float64).reshape(-1, 7)

    def set_dynamics(
        self,
        body: Body,
        link: int = BASE,
        *,
        mass: float | None = None,
        friction: float | None = None,
    ) -> None:
        """See `Engine.set_dynamics`."""
        values = {"mass": mass, "lateralFriction": friction}
        given = {key: value for key, value in values.items() if value is not None}
        self._call(bullet.changeDynamics, body, link, **given)

    def step(self) -> None:
        """See `Engine.step`."""
        self._step()

    def save(self) -> None:
        """See `Engine.save`."""
        if self._saved is not None:
            self._call(bullet.removeState, self._saved)
        self._saved = self._call(bullet.saveState)

    def restore(self) -> None:
        """See `Engine.restore`."""
        assert self._saved is not None, "save() comes before restore()"
        self._call(bullet.restoreState, self._saved)
        # Bullet keeps contacts between bodies that are near each other and starts its solver from their last forces.
        # Finding contacts now drops those that the saved state does not have, which restoreState does not.
        self._call(bullet.performCollisionDetection)

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


@functools.lru_cache(maxsize=64)
def _runs(frames: tuple[Frame, ...]) -> list[tuple[Body, list[int]]]:
    """Put together links of one body that follow each other: Bullet tells about them in one call."""
    runs = itertools.groupby(frames, key=lambda frame: (frame[0], frame[1] == BASE))
    return [(body, [link for _, link in run]) for (body, _), run in runs]
