"""What a policy is given beside the picture where its contract asks for it: what the robot measures of itself.

Its names are those that training's state has for the same numbers; a test holds both together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arm import Observation, Target, Vector
from .contract import Contract
from .kinematics import gripper_at

_AXES = "xyz"

MEASURED = (
    *(f"gripper_{axis}_m" for axis in _AXES),
    *(f"gripper_v{axis}_m_per_s" for axis in _AXES),
    *(f"target_from_gripper_{axis}_m" for axis in _AXES),
    "finger_opening_m",
)
"""All that a robot can be asked for."""


def proprioception(contract: Contract, observation: Observation) -> NDArray[np.float32]:
    """The numbers [P] that the contract asks for, physical units, within the bounds that training had."""
    state = contract.state
    every = _numbers(gripper_at(observation.joints), observation.velocity, observation.told, observation.opening)
    bounds = {name: (low, high) for name, low, high in zip(state.names, state.low, state.high, strict=True)}
    return np.array([np.clip(every[name], *bounds[name]) for name in contract.proprioception], np.float32)


def recorded_proprioception(contract: Contract, tick: Mapping[str, Any]) -> NDArray[np.float32]:
    """The same of a recorded tick."""
    return proprioception(contract, recorded_observation(tick, np.zeros((0, 0, 3), np.uint8), 0.0, 0.0))


def recorded_observation(
    tick: Mapping[str, Any], image: NDArray[np.uint8], image_stamp: float, joints_stamp: float
) -> Observation:
    """What a robot saw and measured at a recorded tick, with stamps of another clock."""
    x, y, z, opening = tick["told"]
    vx, vy, vz = tick["velocity"]
    told = Target((x, y, z), opening)
    return Observation(image, image_stamp, tuple(tick["joints"]), joints_stamp, tick["opening"], (vx, vy, vz), told)


def _numbers(position: Vector, velocity: Vector, told: Target, opening: float) -> dict[str, float]:
    under_way = [there - here for there, here in zip(told.position, position, strict=True)]
    return dict(zip(MEASURED, [*position, *velocity, *under_way, opening], strict=True))
