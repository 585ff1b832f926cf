"""The engine on MuJoCo: another world, with a solver and contacts of its own, to try policies of other worlds in."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import mujoco
import numpy as np
from numpy.typing import NDArray

from sim.engine import BASE, Body, Frame, Motion, Quaternion, Vector

# Contacts hold a grasp from about this rate on: a step of the engine is as many of MuJoCo's as that takes.
_LEAST_HZ = 480
# How much stiffer friction is than what keeps bodies apart: at 1, MuJoCo's own, a held cube slips.
_FRICTION_IMPEDANCE = 10.0
# In what time contacts push bodies apart, seconds: in 0.02, MuJoCo's own, fingers sink 1.4 mm into what they hold.
_CONTACT_S = 0.005
# Of a body whose friction nobody sets, as PyBullet's.
_FRICTION = 0.5
_STATE = mujoco.mjtState.mjSTATE_INTEGRATION


@dataclass
class _Motors:
    """What `drive_joints` asked for.

    Attributes:
        positions: Where the joints are in `qpos`, [J].
        speeds: Where they are in `qvel`, [J].
        targets: Radians or metres, [J].
        limits: N m or N, [J].
    """

    positions: NDArray[np.int64]
    speeds: NDArray[np.int64]
    targets: NDArray[np.float64]
    limits: NDArray[np.float64]


class MujocoEngine:
    """One MuJoCo world. Implements `sim.engine.Engine`.

    The model is compiled when the world is first moved or looked at: no body can be added from then on. An engine
    cannot be copied or pickled, so that no two environments step one world.
    """

    def __init__(self, physics_hz: int) -> None:
        """Start an empty world with gravity.

        Args:
            physics_hz: Physics steps per second.
        """
        self._substeps = math.ceil(_LEAST_HZ / physics_hz)
        self._hz = float(physics_hz)
        self._spec: Any = mujoco.MjSpec()
        option = self._spec.option
        option.timestep = 1.0 / (physics_hz * self._substeps)
        option.gravity = (0.0, 0.0, -9.81)
        option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
        option.impratio = _FRICTION_IMPEDANCE
        option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
        # What blows up says so (`step`): MuJoCo would put everything back to where it was loaded.
        option.disableflags |= mujoco.mjtDisableBit.mjDSBL_AUTORESET
        self._names: list[list[str]] = []  # of each body's base and links, in the model
        self._joints: list[dict[str, int]] = []
        self._shapes: list[tuple[str, Frame]] = []  # what can touch, by its name in the model, and whose it is
        self._masses: dict[Frame, float] = {}
        self._frictions: dict[Frame, float] = {}
        self._world: _World | None = None
        self._motors: _Motors | None = None
        self._saved: NDArray[np.float64] | None = None

    def load_robot(self, description: Path) -> Body:
        """See `Engine.load_robot`."""
        self._require_unfinished()
        body = Body(len(self._names))
        robot, followers = _read_robot(description)
        prefix = f"{body}/"
        self._names.append([])
        self._joints.append({})
        for number, link in enumerate(robot.bodies[1:], BASE):  # the first is MuJoCo's world
            self._names[body].append(prefix + link.name)
            self._joints[body].update({joint.name: number for joint in link.joints})
            for shape in link.geoms:
                shape.contype = shape.conaffinity = 0  # nothing touches but the declared pairs
                self._shapes.append((prefix + shape.name, (body, number)))
        self._spec.attach(robot, prefix=prefix, frame=self._spec.worldbody.add_frame())
        for follower in followers:
            self._spec.add_equality(
                type=mujoco.mjtEq.mjEQ_JOINT,
                objtype=mujoco.mjtObj.mjOBJ_JOINT,
                name1=prefix + follower.joint,
                name2=prefix + follower.followed,
                data=[follower.offset, follower.factor, *[0.0] * (mujoco.mjNEQDATA - 2)],
            )
        return body

    def add_body(
        self,
        *,
        collision_half_extents: Vector | None = None,
        position: Vector = (0.0, 0.0, 0.0),
        mass: float = 0.0,
    ) -> Body:
        """See `Engine.add_body`."""
        self._require_unfinished()
        body = Body(len(self._names))
        name = str(body)
        added = self._spec.worldbody.add_body(name=name, pos=position, mocap=mass == 0)
        if mass > 0:
            added.add_freejoint()
        if collision_half_extents is not None:
            box = added.add_geom(name=name, type=mujoco.mjtGeom.mjGEOM_BOX, size=collision_half_extents, mass=mass)
            box.contype = box.conaffinity = 0
            self._shapes.append((name, (body, BASE)))
        self._names.append([name])
        self._joints.append({})
        return body

    def _require_unfinished(self) -> None:
        assert self._world is None, "bodies are added before the world is first moved or looked at"

    def joints(self, body: Body) -> dict[str, int]:
        """See `Engine.joints`. A joint has the number of the link below it."""
        return dict(self._joints[body])

    def links(self, body: Body) -> dict[str, int]:
        """See `Engine.links`."""
        return {name.partition("/")[2]: number for number, name in enumerate(self._names[body], BASE)}

    def set_joints(self, body: Body, joints: Sequence[int], positions: Sequence[float]) -> None:
        """See `Engine.set_joints`."""
        world = self._built()
        where, speeds = world.joint_addresses(body, tuple(joints))
        world.data.qpos[where] = positions
        world.data.qvel[speeds] = 0.0
        world.stale = True

    def joint_positions(self, body: Body, joints: Sequence[int]) -> list[float]:
        """See `Engine.joint_positions`."""
        world = self._built()
        values: list[float] = world.data.qpos[world.joint_addresses(body, tuple(joints))[0]].tolist()
        return values

    def drive_joints(
        self,
        body: Body,
        joints: Sequence[int],
        targets: Sequence[float],
        forces: Sequence[float],
    ) -> None:
        """See `Engine.drive_joints`."""
        positions, speeds = self._built().joint_addresses(body, tuple(joints))
        self._motors = _Motors(positions, speeds, np.array(targets), np.array(forces))

    def set_pose(self, body: Body, position: Vector, orientation: Quaternion = (0.0, 0.0, 0.0, 1.0)) -> None:
        """See `Engine.set_pose`."""
        world = self._built()
        x, y, z, w = orientation
        world.put(world.ids[body][0], position, (w, x, y, z))

    def motion(self, body: Body, link: int = BASE) -> Motion:
        """See `Engine.motion`."""
        world = self._up_to_date()
        index, moving = world.ids[body][link + 1], np.empty(6)
        mujoco.mj_objectVelocity(world.model, world.data, mujoco.mjtObj.mjOBJ_XBODY, index, moving, 0)
        x, y, z = world.data.xpos[index].tolist()
        q_w, q_x, q_y, q_z = world.data.xquat[index].tolist()
        turn_x, turn_y, turn_z, v_x, v_y, v_z = moving.tolist()
        return Motion((x, y, z), (q_x, q_y, q_z, q_w), (v_x, v_y, v_z), (turn_x, turn_y, turn_z))

    def poses(self, frames: tuple[Frame, ...]) -> NDArray[np.float64]:
        """See `Engine.poses`."""
        world = self._up_to_date()
        indices = world.body_ids(frames)
        rows = np.empty((len(frames), 7))
        rows[:, :3] = world.data.xpos[indices]
        rows[:, 3:6] = world.data.xquat[indices, 1:]
        rows[:, 6] = world.data.xquat[indices, 0]
        return rows

    def set_dynamics(
        self,
        body: Body,
        link: int = BASE,
        *,
        mass: float | None = None,
        friction: float | None = None,
    ) -> None:
        """See `Engine.set_dynamics`."""
        for values, value in ((self._masses, mass), (self._frictions, friction)):
            if value is not None and values.get((body, link)) != value:
                values[body, link] = value
                if self._world is not None:
                    self._world.changed = True

    def step(self) -> None:
        """See `Engine.step`.

        Raises:
            RuntimeError: The simulation has blown up.
        """
        world = self._up_to_date()
        motors, velocities = self._motors, None
        if motors is not None:
            velocities = self._hz * (motors.targets - world.data.qpos[motors.positions])
        for _ in range(self._substeps):
            if motors is not None and velocities is not None:
                world.push(motors.speeds, velocities, motors.limits)
            world.advance()
        if not math.isfinite(float(world.data.qvel.sum())):
            raise RuntimeError("the simulation has blown up: velocities are not finite")

    def save(self) -> None:
        """See `Engine.save`."""
        world = self._up_to_date()
        self._saved = np.empty(mujoco.mj_stateSize(world.model, _STATE))
        mujoco.mj_getState(world.model, world.data, self._saved, _STATE)

    def restore(self) -> None:
        """See `Engine.restore`."""
        assert self._saved is not None, "save() comes before restore()"
        world = self._built()
        mujoco.mj_setState(world.model, world.data, self._saved, _STATE)
        world.stale = True

    def close(self) -> None:
        """See `Engine.close`."""
        self._world = self._motors = self._spec = None

    def _built(self) -> _World:
        """Return the compiled world."""
        if self._world is None:
            self._world = _World(self._spec, self._names, self._shapes)
        return self._world

    def _up_to_date(self) -> _World:
        """Return the world with everything in force and everything computed that follows from its state."""
        world = self._built()
        if world.changed:
            world.set_dynamics(self._masses, self._frictions)
        if world.stale:
            world.compute()
        return world

    def __reduce__(self) -> NoReturn:
        """Refuse `copy` and `pickle`.

        Raises:
            TypeError: Always.
        """
        raise TypeError("a MuJoCo world cannot be copied or pickled: make another, and bring it to the same state")


class _World:
    """A compiled model and its state.

    Attributes:
        model: MuJoCo's.
        data: MuJoCo's.
        ids: Of each body's base and links, in the model.
        stale: Whether the state was set, and what follows from it is not yet computed.
        changed: Whether masses or frictions were set that are not yet in the model.
    """

    def __init__(self, spec: Any, names: list[list[str]], shapes: list[tuple[str, Frame]]) -> None:
        """Compile. Shapes of different bodies touch, unless neither body ever moves by itself."""
        pairs: dict[str, tuple[Frame, Frame]] = {}
        for index, (name, frame) in enumerate(shapes):
            for other, other_frame in shapes[:index]:
                bodies = [spec.body(names[body][0]) for body in (frame[0], other_frame[0])]
                if bodies[0] is not bodies[1] and not all(body.mocap for body in bodies):
                    pairs[f"{other} {name}"] = (frame, other_frame)
                    spec.add_pair(name=f"{other} {name}", geomname1=other, geomname2=name)
        self.model: Any = spec.compile()
        self.data: Any = mujoco.MjData(self.model)
        self._scratch: Any = mujoco.MjData(self.model)
        self.ids = [[self.model.body(name).id for name in own] for own in names]
        self.stale = self.changed = True
        self._pairs = {self.model.pair(name).id: frames for name, frames in pairs.items()}
        self._indices: dict[Any, NDArray[np.int64]] = {}
        self._addresses: dict[Any, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
        self._masses, self._inertias = self.model.body_mass.copy(), self.model.body_inertia.copy()
        self.model.pair_solref[:, 0] = _CONTACT_S
        self._accelerations, self._forces = np.zeros(self.model.nv), np.zeros(self.model.nv)

    def body_ids(self, frames: tuple[Frame, ...]) -> NDArray[np.int64]:
        """Return the model's numbers of frames, [N]."""
        if frames not in self._indices:
            self._indices[frames] = np.array([self.ids[body][link + 1] for body, link in frames], np.int64)
        return self._indices[frames]

    def joint_addresses(self, body: Body, joints: tuple[int, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return where joints are in `qpos` and in `qvel`, [J] each."""
        key = body, joints
        if key not in self._addresses:
            numbers = [self.model.body_jntadr[self.ids[body][joint + 1]] for joint in joints]
            self._addresses[key] = self.model.jnt_qposadr[numbers], self.model.jnt_dofadr[numbers]
        return self._addresses[key]

    def put(self, index: int, position: Vector, orientation: Quaternion) -> None:
        """Put a body in place at rest; the quaternion is MuJoCo's, (w, x, y, z)."""
        number = self.model.body_mocapid[index]
        if number >= 0:
            self.data.mocap_pos[number], self.data.mocap_quat[number] = position, orientation
        else:
            joint = self.model.body_jntadr[index]
            where, speeds = self.model.jnt_qposadr[joint], self.model.jnt_dofadr[joint]
            self.data.qpos[where : where + 7] = (*position, *orientation)
            self.data.qvel[speeds : speeds + 6] = 0.0
        self.stale = True

    def set_dynamics(self, masses: dict[Frame, float], frictions: dict[Frame, float]) -> None:
        """Bring what was set into the model. The friction of two bodies is the product of theirs."""
        for (body, link), mass in masses.items():
            index = self.ids[body][link + 1]
            if self._masses[index] > 0:
                self.model.body_mass[index] = mass
                self.model.body_inertia[index] = self._inertias[index] * (mass / self._masses[index])
        for number, (one, other) in self._pairs.items():
            product = frictions.get(one, _FRICTION) * frictions.get(other, _FRICTION)
            self.model.pair_friction[number, :2] = product
        mujoco.mj_setConst(self.model, self._scratch)  # which spoils the state that it is given
        self.changed, self.stale = False, True

    def compute(self) -> None:
        """Compute what follows from the state: poses, contacts, velocities."""
        mujoco.mj_step1(self.model, self.data)
        self.stale = False

    def push(self, where: NDArray[np.int64], velocities: NDArray[np.float64], limits: NDArray[np.float64]) -> None:
        """Apply the forces that bring joints to velocities within one of MuJoCo's steps, within limits."""
        model, data = self.model, self.data
        self._accelerations[where] = (velocities - data.qvel[where]) / model.opt.timestep
        mujoco.mj_mulM(model, data, self._forces, self._accelerations)
        forces = self._forces[where] + data.qfrc_bias[where] - data.qfrc_passive[where]
        data.qfrc_applied[where] = np.clip(forces, -limits, limits)

    def advance(self) -> None:
        """Take one of MuJoCo's steps; positions, contacts and velocities are up to date before and after it."""
        mujoco.mj_step2(self.model, self.data)
        mujoco.mj_step1(self.model, self.data)


@dataclass(frozen=True)
class _Follower:
    """A joint that follows another: its position is the other's times `factor` plus `offset`."""

    joint: str
    followed: str
    factor: float
    offset: float


def _read_robot(description: Path) -> tuple[Any, list[_Follower]]:
    """Read a URDF file as MuJoCo does, with every link of it and nothing that is only seen.

    Returns:
        The model, and which joints follow others: not all versions of MuJoCo read that.
    """
    root, followers = ElementTree.parse(description).getroot(), []
    for link in root.iter("link"):
        for visual in link.findall("visual"):
            link.remove(visual)
        for index, collision in enumerate(link.findall("collision")):
            collision.set("name", f"{link.attrib['name']}:{index}")
    for joint in root.iter("joint"):
        for mimic in joint.findall("mimic"):
            factor, offset = float(mimic.get("multiplier", "1")), float(mimic.get("offset", "0"))
            followers.append(_Follower(joint.attrib["name"], mimic.attrib["joint"], factor, offset))
            joint.remove(mimic)
    extension = ElementTree.SubElement(root, "mujoco")
    ElementTree.SubElement(extension, "compiler", {"fusestatic": "false"})
    return mujoco.MjSpec.from_string(ElementTree.tostring(root, encoding="unicode")), followers
