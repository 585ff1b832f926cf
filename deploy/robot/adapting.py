"""`twist adapt`: a bundle's student fitted to a robot's recording, judged by a part of it that was kept back.

A recording says where the gripper was (the arm measures it) and what was done; nothing else of it is known. So that the
rest is not forgotten, simulated episodes of the policy are learned from beside it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import sim
from deploy.errors import UserError
from deploy.robot.graph import StudentStep
from deploy.robot.runtime.contract import Contract
from deploy.robot.runtime.depth import GRIPPER
from deploy.robot.runtime.kinematics import gripper_at
from deploy.robot.runtime.proprioception import recorded_proprioception
from deploy.robot.runtime.recording import RecordedEpisode, Recording
from deploy.robot.terms import origin_of
from deploy.runs.acting import load_policy
from deploy.runs.checkpoints import seal
from deploy.runs.directory import read_config, write_config
from deploy.runs.packed_policy import PackedPolicy
from deploy.runs.policy_source import PolicySource
from deploy.settings.config import RunConfig
from learner import checkpoint
from learner.adaptation import Adaptation, AdaptationConfig
from learner.methods.twist import TwistPolicy
from learner.teacher import Teacher, TensorBatch
from sim.seeds import evaluation_seed

SIMULATED_SEED = 70_003
"""Of the episodes that are learned from beside the recording; nobody evaluates with it."""

RESERVED = 0.25
"""Share of a recording's episodes, its last ones, that say whether it became better."""

LEAST = 3


@dataclass(frozen=True)
class Judged:
    """How well a student understands pictures of a robot.

    Attributes:
        read_mm: mean distance of the gripper as read off single pictures from where the arm measured it.
        believed_mm: the same, as the latent has it.
        surprise: mean, nats.
    """

    read_mm: float
    believed_mm: float
    surprise: float

    def better_than(self, other: Judged) -> bool:
        """Whether the latent knows better where the gripper is, and is no more surprised."""
        return self.believed_mm < other.believed_mm and self.surprise <= 1.05 * other.surprise


@dataclass(frozen=True)
class RobotEpisode:
    """T steps of a policy on a robot: pictures that it could act on.

    Attributes:
        images: [T, H, W, 3] uint8.
        actions: [T, A], what the policy was told to have led to each; the first is zero.
        gripper_m: [T, 3], as measured.
        gripper_at_exposure_m: [T, 3], when each picture was taken.
        proprioception: [T, P], what the policy was given beside each picture.
    """

    images: NDArray[np.uint8]
    actions: NDArray[np.float32]
    gripper_m: NDArray[np.float64]
    gripper_at_exposure_m: NDArray[np.float64]
    proprioception: NDArray[np.float32]


def robot_episode(contract: Contract, recorded: RecordedEpisode) -> RobotEpisode | None:
    """What is to be learned from of a recorded episode; None where there is no step of the policy."""
    ticks = recorded.ticks
    seen = [index for index, tick in enumerate(ticks) if "policy" in tick]
    if not seen:
        return None
    steps = [ticks[index] for index in seen]
    done = [step["policy"] if step["executed"] is None else step["executed"] for step in steps]
    places = np.array([gripper_at(tick["joints"]) for tick in ticks])
    measured = np.array([tick["time_s"] - tick["joints_age_s"] for tick in ticks])
    exposed = np.array([step["time_s"] - max(0.0, step["age_s"]) for step in steps])
    return RobotEpisode(
        np.array(recorded.images[seen]),
        np.array([[0.0] * len(done[0]), *done[:-1]], np.float32),
        places[seen],
        np.stack([np.interp(exposed, measured, places[:, axis]) for axis in range(3)], axis=1),
        np.array([recorded_proprioception(contract, step) for step in steps]),
    )


def require_same_bundle(contract: Contract, bundle_sha256: str, recording: Recording) -> None:
    """Refuses a recording that another bundle has made.

    Raises:
        UserError: naming what differs.
    """
    head, where = recording.head, recording.path
    for name, wanted in (
        ("task", contract.task),
        ("rate_hz", contract.action.rate_hz),
        ("image_shape", list(contract.camera.shape)),
        ("action_names", [entry.name for entry in contract.action.entries]),
        ("bundle_sha256", bundle_sha256),
    ):
        if head[name] != wanted:
            raise UserError(f"{where}: has {name} {head[name]}; allowed is the bundle's, {wanted}")


def split(episodes: Sequence[RobotEpisode], where: Path) -> tuple[list[RobotEpisode], list[RobotEpisode]]:
    """Those to learn from and those that judge.

    Raises:
        UserError: there are too few.
    """
    if len(episodes) < LEAST:
        raise UserError(f"{where}: has {len(episodes)} episodes; allowed are {LEAST} and more")
    kept = max(1, round(RESERVED * len(episodes)))
    return list(episodes[:-kept]), list(episodes[-kept:])


def require_same_policy(contract: Contract, source: PolicySource) -> None:
    """Refuses a policy that a bundle was not made of.

    Raises:
        UserError: naming both.
    """
    found, wanted = origin_of(source), contract.origin
    if found.weights_sha256 != wanted.weights_sha256:
        raise UserError(
            f"{source.path}: has weights {found.weights_sha256[:12]} of run {found.run_id}; the bundle was made of "
            f"weights {wanted.weights_sha256[:12]} of run {wanted.run_id}"
        )


def distilled(source: PolicySource) -> TwistPolicy:
    """The networks of a policy whose student is a world model.

    Raises:
        UserError: its method has no such student; or as `load_policy`.
    """
    networks = load_policy(source)
    if not isinstance(networks, TwistPolicy):
        raise UserError(f"{source.path}: is of method {networks.method.name}; adapting needs a distilled student")
    return networks


def judge(networks: TwistPolicy, episodes: Sequence[RobotEpisode]) -> Judged:
    """Looks at episodes as the policy would, with what was done in them."""
    step = StudentStep(networks, None)
    axes = gripper_axes(networks)
    read, believed, surprise = [], [], []
    for episode in episodes:
        inputs = list(step.initial())
        for index, image in enumerate(episode.images):
            given = (image, episode.proprioception[index], episode.actions[index])
            inputs[0], inputs[1], inputs[4] = (torch.from_numpy(x[None]) for x in given)
            with torch.no_grad():
                out = dict(zip(step.outputs, step(*inputs), strict=True))
            inputs[2:] = [out["deter_next"], out["stoch_next"], inputs[4], out["reset_next"]]
            read.append(np.linalg.norm(out["state"][0].numpy()[axes] - episode.gripper_at_exposure_m[index]))
            believed.append(np.linalg.norm(out["belief"][0].numpy()[axes] - episode.gripper_m[index]))
            surprise.append(float(out["surprise"]))
    return Judged(1e3 * float(np.mean(read)), 1e3 * float(np.mean(believed)), float(np.mean(surprise)))


def gripper_axes(networks: TwistPolicy) -> list[int]:
    """Of the state, where the gripper is.

    Raises:
        UserError: it is not in the state.
    """
    names = networks.spec.state_names
    if not set(GRIPPER) <= set(names):
        raise UserError(f"the policy's state has {', '.join(names)}; adapting needs {', '.join(GRIPPER)}")
    return [names.index(name) for name in GRIPPER]


def fit(
    networks: TwistPolicy,
    run: RunConfig,
    recorded: Sequence[RobotEpisode],
    simulated: Sequence[TensorBatch],
    config: AdaptationConfig,
) -> Iterator[dict[str, float]]:
    """Fits the student in place; gives the terms of each update.

    Args:
        networks: of the policy.
        run: its settings.
        recorded: episodes to learn from.
        simulated: of `simulated_episodes`.
        config: how.
    """
    adaptation = Adaptation(networks, gripper_axes(networks), config, run.seed)
    draw = np.random.default_rng(run.seed)
    own = [recorded_batch(networks.teacher, gripper_axes(networks), episode) for episode in recorded]
    for _ in range(config.updates):
        yield adaptation.update(_drawn(own, config.batch_size, draw), _drawn(simulated, config.batch_size, draw))


def recorded_batch(teacher: Teacher, axes: list[int], episode: RobotEpisode) -> TensorBatch:
    """An episode [1, T, ...] as `learner.adaptation` takes it."""
    count = len(episode.images)

    def normalised(places: NDArray[np.float64]) -> torch.Tensor:
        state = torch.zeros(count, len(teacher.low))
        state[:, axes] = torch.from_numpy(places.astype(np.float32))
        return teacher.normalise(state)[None, :, axes]

    return {
        "image": torch.from_numpy(episode.images)[None],
        "action": torch.from_numpy(episode.actions)[None],
        "is_first": (torch.arange(count) == 0)[None],
        "valid": torch.ones(1, count, dtype=torch.bool),
        "measured": normalised(episode.gripper_m),
        "measured_at_exposure": normalised(episode.gripper_at_exposure_m),
        "proprioception": torch.from_numpy(episode.proprioception)[None],
    }


def simulated_episodes(networks: TwistPolicy, run: RunConfig, count: int) -> Iterator[TensorBatch]:
    """Episodes [1, T, ...] that the student drives in the worlds of its training."""
    world = sim.make_env(run.task, run.evaluated_sim, domain="train", views=1)
    try:
        for index in range(count):
            yield _simulated(networks, world, evaluation_seed(SIMULATED_SEED, index))
    finally:
        world.close()


def _simulated(networks: TwistPolicy, world: Any, seed: int) -> TensorBatch:
    observation, info = world.reset(seed=seed)
    carry, action = networks.initial(1), np.zeros((1, networks.spec.action_dim), np.float32)
    rows: list[tuple[Any, ...]] = []
    done = False
    while True:
        image = np.array(observation["image"])
        rows.append((np.array(observation["state"]), image, info["state_at_exposure"], action[0]))
        if done:
            break
        state, first = observation["state"][None], np.array([len(rows) == 1])
        action, carry = networks.step(carry, state, image[None], first, np.array([True]), explore=False)
        given = networks.spec.environment_action(action[0], world.action_space.dtype)
        observation, _, terminated, truncated, info = world.step(given)
        done = bool(terminated or truncated)
    states, images, shown, actions = (torch.from_numpy(np.stack(column)) for column in zip(*rows, strict=True))
    count = len(rows)
    return {
        "state": states[None],
        "image": images[None, :, None],
        "state_at_exposure": shown[None],
        "action": actions[None],
        "is_first": (torch.arange(count) == 0)[None],
        "is_terminal": torch.zeros(1, count, dtype=torch.bool),
        "valid": torch.ones(1, count, dtype=torch.bool),
    }


def _drawn(episodes: Sequence[TensorBatch], count: int, draw: np.random.Generator) -> TensorBatch:
    """`count` of them side by side, the shorter ones padded with their last row, which does not count."""
    chosen = [episodes[int(index)] for index in draw.integers(len(episodes), size=count)]
    longest = max(each["valid"].shape[1] for each in chosen)
    return {name: torch.cat([_padded(name, each[name], longest) for each in chosen]) for name in chosen[0]}


def _padded(name: str, values: torch.Tensor, length: int) -> torch.Tensor:
    missing = length - values.shape[1]
    if not missing:
        return values
    last = values[:, -1:].expand(-1, missing, *values.shape[2:])
    return torch.cat([values, torch.zeros_like(last) if name == "valid" else last], dim=1)


def write_adapted(source: PolicySource, networks: TwistPolicy, directory: Path) -> PackedPolicy:
    """The policy with its fitted student as a packed policy; it has no report, as nobody has judged it yet."""
    found = source.newest_checkpoint()
    document, learner = read_config(source.path), dict(found.learner())
    assert document is not None
    weights = checkpoint.read_weights(found.path)
    weights |= checkpoint.module_arrays({"student_average": networks.student})
    weights = {name: array for name, array in weights.items() if name.partition("/")[0] in networks.method.acts}
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    checkpoint.write_weights(checkpoint.LearnerState(weights, {}, learner), directory)
    seal(directory, found.step, {"learner": learner})
    write_config(directory, replace(document, config={**document.config, "redis_url": None}))
    return PackedPolicy.open(directory)
