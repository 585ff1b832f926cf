"""Evaluation: episodes with fixed seeds in one visual domain, driven by one of a method's policies.

Episode k of an evaluation with seed s has the same start, dynamics and visuals whatever policy drives it and however
many run at once: its seed follows from s and k alone, and is none that training has (`sim.seeds`). An episode counts as
a success if it is one at its last step.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

import sim
from deploy.errors import UserError, user_errors
from deploy.evaluation.motion import EpisodeMotion, motion_figures
from deploy.reporting.clips import ClipRow, write_clip
from deploy.runs.acting import load_policy
from deploy.runs.policy_source import PolicySource
from deploy.runs.results import EvaluationResult, MotionFigures
from deploy.settings.config import RunConfig
from learner.acting import ActingPolicy
from learner.methods import METHODS, Driver, Method
from sim.config import World
from sim.seeds import evaluation_seed

EPISODES_AT_ONCE = 10


@dataclass
class Episode:
    """What is kept of one episode to be looked at."""

    frames: list[npt.NDArray[np.uint8]] = field(default_factory=list)
    states: list[npt.NDArray[np.float32]] = field(default_factory=list)
    actions: list[npt.NDArray[np.float32]] = field(default_factory=list)
    success: bool = False


@dataclass(frozen=True)
class Evaluation:
    """The episodes of one evaluation, in their order.

    Attributes:
        driver: of the method, such as "teacher" (from state) or "student" (from images).
        domain: visual domain.
        seed: of the evaluation.
        world: what moved the bodies, "pybullet" or "mujoco".
        successes: of each episode.
        returns: sum of rewards of each episode.
        recorded: the first episodes, as many as were asked for.
        motion: of the arm; None for a world without one.
    """

    driver: str
    domain: str
    seed: int
    world: World
    successes: list[bool]
    returns: list[float]
    recorded: list[Episode]
    motion: MotionFigures | None

    @property
    def result(self) -> EvaluationResult:
        """What is reported of it."""
        return EvaluationResult.from_counts(
            self.driver,
            self.domain,
            episodes=len(self.successes),
            successes=sum(self.successes),
            mean_return=float(np.mean(self.returns)),
            seed=self.seed,
            motion=self.motion,
            world=self.world,
        )


def evaluate(
    policy: ActingPolicy,
    task: str,
    config: sim.SimConfig,
    *,
    driver: str,
    domain: str,
    episodes: int,
    seed: int,
    keep: int = 0,
) -> Evaluation:
    """Runs whole episodes without drawing: z is its probabilities, the action its mean.

    Args:
        policy: loaded networks.
        task: one of `sim.TASKS`.
        config: of the worlds; images are rendered only where they are needed.
        driver: of the policy's method, such as "teacher" (from state) or "student" (from images).
        domain: visual domain, see `sim.domains`.
        episodes: how many.
        seed: of the evaluation.
        keep: so many first episodes are recorded, with images.

    Raises:
        UserError: the method has no such driver, or the worlds need what is not installed here.
    """
    count = min(EPISODES_AT_ONCE, episodes)
    needs_image = find_driver(policy.method, driver).sees == "image"
    with user_errors():
        worlds = [
            sim.make_env(task, config, domain=domain, views=1 if needs_image or k < keep else 0, measure_motion=True)
            for k in range(count)
        ]
    successes: list[bool] = []
    returns: list[float] = []
    kept: list[Episode] = []
    motions: list[EpisodeMotion] = []
    try:
        for first in range(0, episodes, count):
            indices = range(first, min(first + count, episodes))
            recorded = {k: Episode() for k in indices if k < keep}
            seeds = [evaluation_seed(seed, k) for k in indices]
            wave = _run_wave(
                policy, worlds[: len(seeds)], seeds, domain, needs_image, [recorded.get(k) for k in indices]
            )
            successes += [success for success, *_ in wave]
            returns += [total for _, total, _ in wave]
            kept += recorded.values()
            motions += [motion for *_, motion in wave if motion.readings]
    finally:
        for world in worlds:
            world.close()
    motion = motion_figures(motions) if motions else None
    return Evaluation(driver, domain, seed, config.engine, successes, returns, kept, motion)


def _run_wave(
    policy: ActingPolicy,
    worlds: list[gym.Env[Any, Any]],
    seeds: list[int],
    domain: str,
    needs_image: bool,
    records: list[Episode | None],
) -> list[tuple[bool, float, EpisodeMotion]]:
    """One episode in each world at once; those that end early wait for the others."""
    count = len(seeds)
    options = {"domain": domain}
    observations = [world.reset(seed=s, options=options)[0] for world, s in zip(worlds, seeds, strict=True)]
    running, success, total = np.ones(count, bool), np.zeros(count, bool), np.zeros(count)
    motions = [EpisodeMotion() for _ in worlds]
    carry, is_first = policy.initial(count), np.ones(count, bool)
    from_image = np.full(count, needs_image)
    while running.any():
        state = np.stack([o["state"] for o in observations])
        image = np.stack([o["image"] for o in observations]) if needs_image else None
        action, carry = policy.step(carry, state, image, is_first, from_image, explore=False)
        if not np.isfinite(action).all():
            raise UserError("the policy's actions are not finite: its weights are of no use")
        is_first = np.zeros(count, bool)
        for k in np.flatnonzero(running):
            _record(records[k], observations[k], action[k])
            given = policy.spec.environment_action(action[k], worlds[k].action_space.dtype)
            observations[k], reward, terminated, truncated, info = worlds[k].step(given)
            total[k] += float(reward)
            if "motion" in info:
                motions[k].add(action[k], info["motion"], bool(info["is_success"]))
            if terminated or truncated:
                running[k], success[k] = False, bool(info["is_success"])
                _record(records[k], observations[k], None)
    for record, reached in zip(records, success, strict=True):
        if record is not None:
            record.success = bool(reached)
    return [(bool(s), float(r), motion) for s, r, motion in zip(success, total, motions, strict=True)]


def _record(record: Episode | None, observation: dict[str, Any], action: npt.NDArray[np.float32] | None) -> None:
    if record is None:
        return
    record.states.append(np.array(observation["state"]))
    record.frames.append(np.array(observation["image"]))
    if action is not None:
        record.actions.append(np.array(action))


def clip_row(caption: str, episodes: list[Episode]) -> ClipRow:
    """Recorded episodes as one row of a clip."""
    return ClipRow(
        caption, tuple(np.stack(episode.frames) for episode in episodes), tuple(episode.success for episode in episodes)
    )


def find_driver(method: Method, name: str) -> Driver:
    """A driver of a method by its name.

    Raises:
        UserError: there is none of this name.
    """
    found = {driver.name: driver for driver in method.drivers}
    if name not in found:
        raise UserError(f"method {method.name} has no policy '{name}': there is {', '.join(found)}")
    return found[name]


def best_driver(config: RunConfig) -> str:
    """Whom a run is judged by: who drives from images, or where nobody does, from state."""
    method = METHODS[config.learner.method]
    return (method.driver("image") or method.drivers[0]).name


def evaluate_run(
    run: PolicySource,
    *,
    policy: str | None,
    domain: str,
    episodes: int,
    seed: int,
    clip: Path | None,
    world: World | None = None,
) -> dict[str, Any]:
    """`twist eval`: the latest checkpoint's success, as the JSON line says it.

    Args:
        run: with a checkpoint, or a packed policy.
        policy: a driver of its method; None: `best_driver`.
        domain: visual domain.
        episodes: how many.
        seed: of the evaluation.
        clip: a GIF to write.
        world: whose physics and pictures; None: what the run was trained in.

    Raises:
        UserError: as `load_policy` and `evaluate`.
    """
    policy = best_driver(run.config) if policy is None else policy
    find_driver(METHODS[run.config.learner.method], policy)
    config = run.config.evaluated_sim if world is None else run.config.evaluated_sim.in_world(world)
    networks = load_policy(run)
    keep = min(episodes, run.config.evaluation.clip_episodes) if clip is not None else 0
    found = evaluate(
        networks,
        run.config.task,
        config,
        driver=policy,
        domain=domain,
        episodes=episodes,
        seed=seed,
        keep=keep,
    )
    if clip is not None:
        row = clip_row(f"{policy}, {domain} visuals", found.recorded)
        write_clip(clip, [row], frames_per_second=run.config.sim.control_hz)
    return {"task": run.config.task, **found.result.to_json()}
