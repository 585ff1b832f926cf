"""The three tasks: what they place, what they observe, what they reward and when they count as solved.

The thresholds of success are part of what results mean, so they are constants and not settings. Where a task is solved,
rest is rewarded: else nothing is lost by stirring about. There the environment takes the price of changed actions off
(`sim.config.SimConfig.action_change_price`), the same for all tasks.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from sim.assets import CUBE_HALF_EDGE_M, GOAL_RADIUS_M
from sim.camera import LIFT_CAMERA, NOMINAL_CAMERA, TABLE_CAMERA
from sim.engine import Vector
from sim.factors import TaskObject
from sim.robot import MAX_OPENING_M, GripperState
from sim.scene import Scene
from sim.scenery import CameraPose

SUCCESS_DISTANCE_M = 0.05
SUCCESS_LIFT_M = 0.10
CUBE_REST_HEIGHT_M = CUBE_HALF_EDGE_M

# The reward of push asks for no more than this.
_CLOSE_ENOUGH_M = 0.03
# At 1 / 10 m/s three quarters of what rest earns are gone.
_REST_PER_M_PER_S = 10.0

_DISC_HEIGHT_M = 0.001
_SPEED_LIMIT_M_PER_S = 0.9
# Relative positions are about the last stretch: further away they saturate, where the absolute ones say enough.
_RELATIVE_LIMIT_M = 0.20
# Observed positions may leave the workspace by this much before they are clipped.
_MARGIN_M = 0.05

# What students recognise goal and cube by: all else may have any hue.
_RED_DEG, _YELLOW_DEG = 0.0, 52.0
_GOAL, _CUBE = TaskObject("goal", _RED_DEG), TaskObject("cube", _YELLOW_DEG)


@dataclass(frozen=True)
class Workspace:
    """The box in which the gripper's target stays, metres."""

    low: Vector
    high: Vector


@dataclass(frozen=True)
class StateField:
    """One number of the observed state with its physical bounds, its unit at the end of its name."""

    name: str
    low: float
    high: float


@dataclass(frozen=True)
class Start:
    """Where an episode starts: gripper position and opening, metres."""

    position: Vector
    opening: float


class Task(ABC):
    """A task in a scene. Subclasses say what is placed, observed, rewarded and solved, and what it is about."""

    name: ClassVar[str]
    action_size: ClassVar[int]
    episode_steps: ClassVar[int]
    workspace: ClassVar[Workspace]
    objects: ClassVar[tuple[TaskObject, ...]]
    camera: ClassVar[CameraPose] = NOMINAL_CAMERA

    @property
    @abstractmethod
    def fields(self) -> tuple[StateField, ...]:
        """The numbers of the state, in the order of `observe`."""

    @abstractmethod
    def reset(self, rng: np.random.Generator) -> Start:
        """Place goal and objects for a new episode and say where the gripper starts."""

    @abstractmethod
    def observe(self, gripper: GripperState, target: Vector) -> list[float]:
        """Return the state's numbers, of a gripper that was last told to go to `target`."""

    @abstractmethod
    def reward(self, gripper: GripperState) -> float:
        """Return the dense reward of the present state, 0 to 1 while unsolved."""

    @abstractmethod
    def is_success(self, gripper: GripperState) -> bool:
        """Say whether the present state solves the task."""

    def target(self, previous: Start, action: NDArray[np.float64], max_step_m: float) -> Start:
        """Return the gripper's new target after an action (each component in -1 to 1).

        The first components displace the gripper along x, y and z. A fourth one opens (1) or closes (-1) the fingers.
        """
        position = list(previous.position)
        for axis in range(min(3, self.action_size)):
            moved = position[axis] + max_step_m * float(action[axis])
            position[axis] = min(max(moved, self.workspace.low[axis]), self.workspace.high[axis])
        opening = previous.opening
        if self.action_size > 3:
            opening = MAX_OPENING_M * (float(action[3]) + 1.0) / 2.0
        x, y, z = position
        return Start((x, y, z), opening)


def _gripper_fields(workspace: Workspace) -> tuple[StateField, ...]:
    position = _position_fields("gripper", workspace)
    speed = _SPEED_LIMIT_M_PER_S
    velocity = tuple(StateField(f"gripper_v{axis}_m_per_s", -speed, speed) for axis in "xyz")
    return position + velocity + _relative_fields("target", "gripper")


def _gripper_numbers(gripper: GripperState, target: Vector) -> list[float]:
    """Return the numbers of `_gripper_fields`.

    Where the gripper was told to go is a part of the state: it trails that by what its lag and its limits are, and a
    policy that does not know it swings about its goal.
    """
    return [*gripper.position, *gripper.velocity, *_relative(target, gripper.position)]


def _position_fields(name: str, workspace: Workspace) -> tuple[StateField, ...]:
    """All positions share their bounds, so that equal numbers mean equal places after scaling."""
    return tuple(
        StateField(f"{name}_{axis}_m", low - _MARGIN_M, high + _MARGIN_M)
        for axis, low, high in zip("xyz", workspace.low, workspace.high, strict=True)
    )


def _relative_fields(what: str, origin: str, axes: str = "xyz") -> tuple[StateField, ...]:
    """Where `what` is as seen from `origin`.

    This follows from the absolute positions, and yet it must be a part of the state: a camera that is not quite where
    the policy believes shifts all absolute positions in the same way and leaves the relative ones as they are.
    """
    return tuple(StateField(f"{what}_from_{origin}_{axis}_m", -_RELATIVE_LIMIT_M, _RELATIVE_LIMIT_M) for axis in axes)


def _stillness(gripper: GripperState) -> float:
    """Return 1 for a gripper at rest, less the faster it is."""
    return 1.0 - math.tanh(_REST_PER_M_PER_S * math.hypot(*gripper.velocity))


def _relative(position: Vector, origin: Vector) -> list[float]:
    return [a - b for a, b in zip(position, origin, strict=True)]


def _uniform(rng: np.random.Generator, low: tuple[float, ...], high: tuple[float, ...]) -> list[float]:
    return [float(value) for value in rng.uniform(low, high)]


class Reach(Task):
    """Move the gripper to a ball that lies on a mat on the table."""

    name = "reach"
    action_size = 3
    episode_steps = 16
    workspace = Workspace((0.36, -0.16, 0.03), (0.64, 0.16, 0.20))
    objects = (_GOAL,)

    def __init__(self, scene: Scene) -> None:
        self._engine = scene.engine
        self._ball = scene.add_goal("ball")
        self._goal: Vector = (0.5, 0.0, GOAL_RADIUS_M)

    @property
    def fields(self) -> tuple[StateField, ...]:
        """See `Task.fields`."""
        goal = _position_fields("goal", self.workspace) + _relative_fields("goal", "gripper")
        return _gripper_fields(self.workspace) + goal

    def reset(self, rng: np.random.Generator) -> Start:
        """See `Task.reset`."""
        x, y = _uniform(rng, (0.38, -0.14), (0.62, 0.14))
        self._goal = (x, y, GOAL_RADIUS_M)
        self._engine.set_pose(self._ball, self._goal)
        start_x, start_y, start_z = _uniform(rng, (0.38, -0.14, 0.10), (0.62, 0.14, 0.20))
        return Start((start_x, start_y, start_z), 0.0)

    def observe(self, gripper: GripperState, target: Vector) -> list[float]:
        """See `Task.observe`."""
        return [*_gripper_numbers(gripper, target), *self._goal, *_relative(self._goal, gripper.position)]

    def reward(self, gripper: GripperState) -> float:
        """See `Task.reward`: half of it leads here from afar, the rest pays for the last centimetres and rest there."""
        distance = math.dist(gripper.position, self._goal)
        there = 1.0 - math.tanh(20.0 * distance)
        return 0.5 * (1.0 - math.tanh(4.0 * distance)) + there * (0.4 + 0.1 * _stillness(gripper))

    def is_success(self, gripper: GripperState) -> bool:
        """See `Task.is_success`: the gripper is within 0.05 m of the ball's centre."""
        return math.dist(gripper.position, self._goal) <= SUCCESS_DISTANCE_M


class _CubeTask(Task):
    """What push and lift share: a cube on the table and its part of the state.

    The cube's turn is no part of it: of a cube a few pixels wide no student could tell it, and a policy that knows it
    does what nobody can follow.
    """

    def __init__(self, scene: Scene) -> None:
        self._engine = scene.engine
        self._cube = scene.add_cube()

    def _cube_fields(self) -> tuple[StateField, ...]:
        speed = _SPEED_LIMIT_M_PER_S
        velocity = tuple(StateField(f"cube_v{axis}_m_per_s", -speed, speed) for axis in "xyz")
        return _position_fields("cube", self.workspace) + velocity + _relative_fields("cube", "gripper")

    def _observe_cube(self, gripper: GripperState) -> list[float]:
        motion = self._engine.motion(self._cube)
        return [*motion.position, *motion.velocity, *_relative(motion.position, gripper.position)]

    def _place_cube(self, x: float, y: float, yaw: float) -> None:
        turn = (0.0, 0.0, math.sin(yaw / 2), math.cos(yaw / 2))
        self._engine.set_pose(self._cube, (x, y, CUBE_REST_HEIGHT_M), turn)

    def _cube_position(self) -> Vector:
        return self._engine.motion(self._cube).position


class Push(_CubeTask):
    """Push a cube onto a disc with the closed gripper, which stays just above the table."""

    name = "push"
    action_size = 2
    episode_steps = 60
    workspace = Workspace((0.35, -0.18, 0.03), (0.65, 0.18, 0.03))
    objects = (_CUBE, _GOAL)
    camera = TABLE_CAMERA

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._disc = scene.add_goal("disc")
        self._goal: Vector = (0.5, 0.0, _DISC_HEIGHT_M)

    @property
    def fields(self) -> tuple[StateField, ...]:
        """See `Task.fields`."""
        goal = _position_fields("goal", self.workspace)[:2] + _relative_fields("goal", "cube", "xy")
        return _gripper_fields(self.workspace) + self._cube_fields() + goal

    def reset(self, rng: np.random.Generator) -> Start:
        """See `Task.reset`."""
        low, high = (0.42, -0.11), (0.58, 0.11)
        cube = goal = gripper = _uniform(rng, low, high)
        while math.dist(cube, goal) < 0.10:
            goal = _uniform(rng, low, high)
        while math.dist(cube, gripper) < 0.09:
            gripper = _uniform(rng, (0.37, -0.16), (0.63, 0.16))
        self._place_cube(cube[0], cube[1], float(rng.uniform(-math.pi / 4, math.pi / 4)))
        self._goal = (goal[0], goal[1], _DISC_HEIGHT_M)
        self._engine.set_pose(self._disc, self._goal)
        return Start((gripper[0], gripper[1], self.workspace.low[2]), 0.0)

    def observe(self, gripper: GripperState, target: Vector) -> list[float]:
        """See `Task.observe`."""
        to_goal = _relative(self._goal, self._cube_position())[:2]
        return [*_gripper_numbers(gripper, target), *self._observe_cube(gripper), *self._goal[:2], *to_goal]

    def reward(self, gripper: GripperState) -> float:
        """See `Task.reward`: being near the cube, most for the cube being near the disc, and there for stillness.

        It asks for 2 cm more than success does, as a student that errs by as much stops as much short. Inside, only
        keeping still gains anything: where nothing does, a policy stirs about and throws the cube off again.
        """
        cube = self._cube_position()
        to_cube, to_goal = math.dist(gripper.position[:2], cube[:2]), math.dist(cube[:2], self._goal[:2])
        if to_goal <= _CLOSE_ENOUGH_M:
            return 0.8 + 0.2 * _stillness(gripper)
        near_goal = 1.0 - math.tanh(5.0 * (to_goal - _CLOSE_ENOUGH_M))
        return 0.2 * (1.0 - math.tanh(5.0 * to_cube)) + 0.5 * near_goal

    def is_success(self, gripper: GripperState) -> bool:
        """See `Task.is_success`: the cube's centre is within 0.05 m of the disc's, seen from above."""
        return math.dist(self._cube_position()[:2], self._goal[:2]) <= SUCCESS_DISTANCE_M


class Lift(_CubeTask):
    """Grasp a cube and raise it."""

    name = "lift"
    action_size = 4
    episode_steps = 50
    workspace = Workspace((0.36, -0.16, 0.02), (0.64, 0.16, 0.20))
    objects = (_CUBE,)
    camera = LIFT_CAMERA

    @property
    def fields(self) -> tuple[StateField, ...]:
        """See `Task.fields`."""
        opening = StateField("finger_opening_m", 0.0, MAX_OPENING_M)
        return (*_gripper_fields(self.workspace), opening, *self._cube_fields())

    def reset(self, rng: np.random.Generator) -> Start:
        """See `Task.reset`."""
        cube_x, cube_y = _uniform(rng, (0.40, -0.13), (0.60, 0.13))
        self._place_cube(cube_x, cube_y, float(rng.uniform(-math.pi / 12, math.pi / 12)))
        x, y, z = _uniform(rng, (0.40, -0.13, 0.12), (0.60, 0.13, 0.20))
        return Start((x, y, z), MAX_OPENING_M)

    def observe(self, gripper: GripperState, target: Vector) -> list[float]:
        """See `Task.observe`."""
        return [*_gripper_numbers(gripper, target), gripper.opening, *self._observe_cube(gripper)]

    def reward(self, gripper: GripperState) -> float:
        """See `Task.reward`: being at the cube, closing the fingers about it, its height, and up there rest.

        Fingers take most of a second to close. Nobody does that by chance just where the cube is: without pay for it a
        policy stays at the cube with open fingers.
        """
        cube = self._cube_position()
        distance = math.dist(gripper.position, cube)
        # On top of the cube closing gains nothing: there the point between the fingertips is half an edge away.
        about = max(0.0, 1.0 - distance / CUBE_HALF_EDGE_M)
        closed = min(1.0, (MAX_OPENING_M - gripper.opening) / (MAX_OPENING_M - 2.0 * CUBE_HALF_EDGE_M))
        share = min(max((cube[2] - CUBE_REST_HEIGHT_M) / SUCCESS_LIFT_M, 0.0), 1.0)
        solved = 0.1 + 0.1 * _stillness(gripper) if share >= 1.0 else 0.0
        return 0.2 * (1.0 - math.tanh(5.0 * distance)) + 0.2 * about * closed + 0.4 * share + solved

    def is_success(self, gripper: GripperState) -> bool:
        """See `Task.is_success`: the cube's centre is at least 0.10 m above its resting height."""
        return self._cube_position()[2] >= CUBE_REST_HEIGHT_M + SUCCESS_LIFT_M


TASKS: dict[str, type[Reach] | type[Push] | type[Lift]] = {task.name: task for task in (Reach, Push, Lift)}
