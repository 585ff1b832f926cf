"""Learning where the answers are known: what teacher, policy and student make of the point on a line."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import point_world
import pytest
import torch
from tiny_learner import TwistLearner, generator, tensors, tiny_config

from learner.behaviour import Policy, imagine
from learner.methods.twist import TwistPolicy
from learner.rssm import Latent, Observed
from learner.teacher import Teacher

Worth = Callable[[np.ndarray], np.ndarray]
UPDATES = 200


def towards_the_right(position: np.ndarray) -> np.ndarray:
    return position


def towards_the_middle(position: np.ndarray) -> np.ndarray:
    return -np.abs(position)


class Trained(NamedTuple):
    """A learner after its updates, and what it was before."""

    learner: TwistLearner
    untrained_policy: Policy
    reward_error_before: float
    reward_error_after: float


def batch_of(rng: np.random.Generator, chunks: int, worth: Worth, *, image: bool) -> dict[str, np.ndarray]:
    batch = point_world.random_batch(rng, chunks, image=image)
    reward = worth(batch["state"][..., 0])
    return batch | {"reward": np.where(batch["is_first"], 0.0, reward).astype(np.float32)}


def observed(teacher: Teacher, batch: dict[str, torch.Tensor]) -> Observed:
    return teacher.observe(batch, teacher.rssm.draw(batch["action"], generator()))


def reward_error(learner: TwistLearner, worth: Worth) -> float:
    """Mean absolute error on fresh episodes."""
    batch = tensors(batch_of(np.random.default_rng(99), 64, worth, image=False))
    with torch.no_grad():
        predicted = learner.teacher.predict_reward(observed(learner.teacher, batch).latent)
    return (predicted - batch["reward"])[:, 1:].abs().mean().item()


def train(worth: Worth, student_updates: int) -> Trained:
    config = tiny_config(
        rssm={"deter": 32, "hidden": 32, "groups": 4, "classes": 4},
        teacher={"learning_rate": 6e-3, "state_scale": 1.0, "free_nats": 0.1},
        behaviour={"horizon": 5, "starts": 32, "actor_learning_rate": 3e-3, "critic_learning_rate": 3e-3},
        student={
            "learning_rate": 3e-3,
            "dynamics": "tied",
            "refresh_updates": 5,
            "average_rate": 0.05,
            "imagination_scale": 0.0,
        },
    )
    learner = TwistLearner(point_world.SPEC, config, seed=0)
    policy, before = copy.deepcopy(learner.policy), reward_error(learner, worth)
    rng = np.random.default_rng(0)
    for _ in range(UPDATES):
        learner.teacher_update(batch_of(rng, 16, worth, image=False))
    for _ in range(student_updates):
        learner.student_update(batch_of(rng, 8, worth, image=True))
    return Trained(learner, policy, before, reward_error(learner, worth))


@pytest.fixture(scope="module")
def to_the_right() -> Trained:
    return train(towards_the_right, student_updates=0)


@pytest.fixture(scope="module")
def to_the_middle() -> Trained:
    return train(towards_the_middle, student_updates=UPDATES)


def driven(learner: TwistLearner, *, student: bool, blind: bool = False) -> np.ndarray:
    """Where sixteen points from all over the line are after twelve steps of the policy's modes, [16]."""
    acting = TwistPolicy(point_world.SPEC, learner.config)
    acting.load(*learner.publish())
    position = np.linspace(-1.0, 1.0, 16).astype(np.float32)
    carry = acting.initial(16)
    for t in range(12):
        image = point_world.seen(np.zeros_like(position) if blind else position)
        first, driver = np.full(16, t == 0), np.full(16, student)
        action, carry = acting.step(carry, position[:, None], image, first, driver, explore=False)
        position = point_world.moved(position, action[:, 0])
    return position


def test_the_teacher_learns_the_reward(to_the_right: Trained, to_the_middle: Trained) -> None:
    for trained in (to_the_right, to_the_middle):
        assert trained.reward_error_before > 0.45  # it says 0 everywhere; the mean distance from 0 is 1/2
        assert trained.reward_error_after < 0.3


@pytest.mark.parametrize("world", ["to_the_right", "to_the_middle"])
def test_the_policy_moves_to_higher_reward_in_imagination(world: str, request: pytest.FixtureRequest) -> None:
    """In the same world model and from the same starts, the trained policy earns more than the untrained one."""
    trained: Trained = request.getfixturevalue(world)
    teacher = trained.learner.teacher
    batch = tensors(point_world.random_batch(np.random.default_rng(7), 64, image=False))
    earned = []
    with torch.no_grad():
        start = observed(teacher, batch).latent
        for policy in (trained.untrained_policy, trained.learner.policy):
            dreamt = imagine(teacher, policy, Latent(start.deter[:, 0], start.stoch[:, 0]), 5, generator(1))
            earned.append(teacher.predict_reward(dreamt.latent)[-1].mean().item())
    assert earned[1] > earned[0] + 0.1


def test_the_policy_drives_the_point_to_where_it_is_worth_most(to_the_right: Trained, to_the_middle: Trained) -> None:
    assert driven(to_the_right.learner, student=False).mean() > 0.8
    assert np.abs(driven(to_the_middle.learner, student=False)).mean() < 0.25


def test_the_student_drives_it_there_from_images_alone(to_the_middle: Trained) -> None:
    assert np.abs(driven(to_the_middle.learner, student=True)).mean() < 0.25


def test_it_takes_eyes_to_do_so(to_the_middle: Trained) -> None:
    assert np.abs(driven(to_the_middle.learner, student=True, blind=True)).mean() > 0.4
