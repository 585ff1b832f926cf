"""Policies written by hand that solve the tasks from the privileged state, to prove that the tasks are sound.

They see the state alone, by its field names, and remember nothing. Where the command is that the arm is still following
they tell from its velocity: a moving gripper is so many seconds behind.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Action = NDArray[np.float32]
Policy = Callable[[NDArray[np.float32]], Action]
_Fields = Mapping[str, float]
_Rule = Callable[[_Fields, float], list[float]]

# About the lag of the arms that are drawn, seconds.
_LAG_S = 0.1
# Share of the way that an action goes, since neither that nor a delay is known for sure.
_GAIN = 0.5
# Push: how far behind the cube's centre the gripper starts to push, how far away it stays while going there, and where
# it may touch the cube; and how near its goal the cube is let go on by itself.
_BEHIND_M = 0.058
_AROUND_M = 0.075
_TOUCHING_M = 0.054
_THERE_M = 0.03
# Lift: how high above the cube the gripper travels, and how well it must be aligned before it descends.
_ABOVE_M = 0.07
_ALIGNED_M = 0.012
# The opening up to which something may be between the fingers: a cube that they hold askew keeps them 57 mm apart.
_GRASPED_OPENING_M = 0.059
# And how far its centre may be below the fingertips' for them to close, and while they hold it.
_AROUND_CUBE_M = 0.010
_HELD_M = 0.025
# From this height on the cube is in the hand for sure; until then the hand rises as slowly as it closes.
_RAISED_M = 0.03
_SLOWLY, _SWIFTLY = 0.15, 0.5
# More than this share of the largest action only runs away from arms that are no faster.
_STEADY = 0.5


def scripted_policy(task: str, state_names: Sequence[str], max_step_m: float) -> Policy:
    """Return a function from a state [S] to an action [A].

    Args:
        task: "reach", "push" or "lift".
        state_names: The environment's `state_names`.
        max_step_m: The config's largest displacement per action, metres.

    Raises:
        ValueError: No policy is written for that task.
    """
    if task not in _RULES:
        raise ValueError(f"task is {task!r}, allowed: {', '.join(_RULES)}")
    rule = _RULES[task]

    def policy(state: NDArray[np.float32]) -> Action:
        fields = dict(zip(state_names, map(float, state), strict=True))
        return np.clip(np.array(rule(fields, max_step_m), np.float32), -1.0, 1.0)

    return policy


def _point(state: _Fields, name: str, axes: str) -> NDArray[np.float64]:
    return np.array([state[f"{name}_{axis}_m"] for axis in axes])


def _under_way(state: _Fields, axes: str) -> NDArray[np.float64]:
    """Return how far the gripper will still go by itself, metres."""
    return _LAG_S * np.array([state[f"gripper_v{axis}_m_per_s"] for axis in axes])


def _steadily(wanted: NDArray[np.float64], max_step_m: float) -> list[float]:
    """Return the action that goes a part of the way, no faster than arms can follow."""
    return [min(max(_GAIN * float(value) / max_step_m, -_STEADY), _STEADY) for value in wanted]


def _reach(state: _Fields, max_step_m: float) -> list[float]:
    wanted = _point(state, "goal", "xyz") - _point(state, "gripper", "xyz") - _under_way(state, "xyz")
    return [_GAIN * float(value) / max_step_m for value in wanted]


def _push(state: _Fields, max_step_m: float) -> list[float]:
    gripper, cube, goal = (_point(state, name, "xy") for name in ("gripper", "cube", "goal"))
    under_way = _under_way(state, "xy")
    to_goal = goal - cube
    distance = float(np.linalg.norm(to_goal))
    if distance < _THERE_M:
        return [-float(value) / max_step_m for value in under_way]  # the command stops where the gripper is
    gripper = gripper + under_way
    ahead = to_goal / distance
    side = np.array([-ahead[1], ahead[0]])
    from_cube = gripper - cube
    along, across = float(from_cube @ ahead), float(from_cube @ side)
    if along < -0.02 and abs(across) < 0.012:
        # Behind it: push, never further than what is missing, and come back to the line through cube and goal.
        wanted = ahead * min(distance + 0.002, 0.035) - side * across
        if along < -_BEHIND_M:
            wanted = wanted + ahead * (-along - _BEHIND_M)
        return _steadily(wanted, max_step_m)
    target = cube - ahead * _BEHIND_M
    if along > -0.8 * _BEHIND_M:
        # Beside or before it: away from it, then around it at a safe distance, a part of a circle at a time.
        angle, clear = math.atan2(across, along), math.hypot(along, across) - _TOUCHING_M
        turn = min(0.8, math.pi - abs(angle)) * min(max(clear / (_AROUND_M - _TOUCHING_M), 0.0), 1.0)
        turned = angle + math.copysign(turn, angle if angle else 1.0)
        target = cube + _AROUND_M * (ahead * math.cos(turned) + side * math.sin(turned))
    return _steadily(target - gripper, max_step_m)


def _lift(state: _Fields, max_step_m: float) -> list[float]:
    gripper, cube = (_point(state, name, "xyz") for name in ("gripper", "cube"))
    below, following = cube - gripper, _under_way(state, "xyz")
    offset = below - following
    aligned = float(np.hypot(offset[0], offset[1])) < _ALIGNED_M
    if abs(float(below[2])) < _HELD_M and state["finger_opening_m"] < _GRASPED_OPENING_M:
        return [0.0, 0.0, _SWIFTLY if cube[2] > _RAISED_M else _SLOWLY, -1.0]
    if abs(float(below[2])) < _AROUND_CUBE_M and aligned:
        return [0.0, 0.0, 0.0, -1.0]
    height = 0.0 if aligned else _ABOVE_M
    wanted = offset + np.array([0.0, 0.0, height])
    return [*_steadily(wanted, max_step_m), 1.0]


_RULES: dict[str, _Rule] = {"reach": _reach, "push": _push, "lift": _lift}
