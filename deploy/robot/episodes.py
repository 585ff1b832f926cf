"""Episodes of the acting student in simulation, step by step, as the golden trace and the calibration need them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import sim
from deploy.errors import UserError
from deploy.robot.graph import NEXT, StudentStep
from deploy.robot.runtime.golden import Trace
from deploy.settings.config import RunConfig
from sim.seeds import evaluation_seed


@dataclass(frozen=True)
class StudentEpisode:
    """One episode, T steps.

    Attributes:
        trace: by name [T, ...], see `deploy.robot.runtime.golden`.
        gripper_m: [T, 3], where the arm measured the gripper at each step.
        measured: what else it measured, by name [T, ...], see there.
        start_m: where the gripper was at its beginning.
        opening_m: of the fingers, then.
        success: at its last step.
    """

    trace: Trace
    gripper_m: NDArray[np.float64]
    measured: Trace
    start_m: tuple[float, float, float]
    opening_m: float
    success: bool


def student_episodes(
    step: StudentStep, config: RunConfig, *, domain: str, seed: int, count: int
) -> Iterator[StudentEpisode]:
    """Drives episodes of an evaluation (`sim.seeds`) with the student's modes, on the CPU in float32.

    Raises:
        UserError: an action is not finite.
    """
    world = sim.make_env(config.task, config.evaluated_sim, domain=domain, views=1)
    try:
        yield from episodes_in(step, world, seed=seed, count=count)
    finally:
        world.close()


def episodes_in(step: StudentStep, world: Any, *, seed: int, count: int) -> Iterator[StudentEpisode]:
    """As `student_episodes`, in a world of the caller's with one view."""
    for index in range(count):
        yield _episode(step, world, evaluation_seed(seed, index))


def _episode(step: StudentStep, world: Any, seed: int) -> StudentEpisode:
    observation, _ = world.reset(seed=seed)
    begun = world.unwrapped.scene.robot.state()
    inputs = list(step.initial())
    measured: list[dict[str, Any]] = []
    rows: list[dict[str, NDArray[Any]]] = []
    done = success = False
    while not done:
        image = np.array(observation["image"])
        measured.append(_measured(world))
        own = step.proprioception.of(torch.from_numpy(np.array(observation["state"])))
        inputs[:2] = [torch.from_numpy(image[None]), own[None]]
        with torch.no_grad():
            out = dict(zip(step.outputs, step(*inputs), strict=True))
        rows.append({**_row(image, bool(inputs[-1]), out), "proprioception": own.numpy()})
        action = rows[-1]["action"]
        if not np.isfinite(action).all():
            raise UserError("the policy's actions are not finite: its weights are of no use")
        inputs[2:] = [out["deter_next"], out["stoch_next"], out["action"], out["reset_next"]]
        given = step.spec.environment_action(action, world.action_space.dtype)
        observation, _, terminated, truncated, info = world.step(given)
        done, success = bool(terminated or truncated), bool(info["is_success"])
    trace = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    columns = {name: np.array([row[name] for row in measured]) for name in measured[0]}
    return StudentEpisode(trace, columns.pop("gripper"), columns, begun.position, begun.opening, success)


def _measured(world: Any) -> dict[str, Any]:
    """What the arm measures now, and where it was told to go."""
    gripper, told = world.unwrapped.scene.robot.state(), world.unwrapped.target
    return {
        "gripper": gripper.position,
        "velocity": gripper.velocity,
        "opening": gripper.opening,
        "told": [*told.position, told.opening],
    }


def _row(image: NDArray[np.uint8], reset: bool, out: dict[str, torch.Tensor]) -> dict[str, NDArray[Any]]:
    plain = {name: tensor[0].numpy() for name, tensor in out.items() if name not in NEXT}
    latent = {name: out[f"{name}_next"][0].numpy() for name in ("deter", "stoch")}
    return {"image": image, "reset": np.array(reset), **plain, **latent}


def joined(episodes: list[StudentEpisode]) -> Trace:
    """Their traces one after the other."""
    trace = {name: np.concatenate([each.trace[name] for each in episodes]) for name in episodes[0].trace}
    measured = {name: np.concatenate([each.measured[name] for each in episodes]) for name in episodes[0].measured}
    return {**trace, **measured, "gripper": np.concatenate([each.gripper_m for each in episodes])}
