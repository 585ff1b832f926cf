"""What a robot measures of itself goes beside the image, and nothing else of the state does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_learner import SPEC, B, T, config_of, tensors, tiny_batch, tiny_learner

from learner.acting import acting_policy
from learner.learner import Learner
from learner.methods import METHODS
from learner.methods.state_regression import StateRegressionPolicy
from learner.methods.twist import TwistPolicy
from learner.proprioception import Proprioception

OWN = ("gripper_*",)
FROM_IMAGES = [name for name, method in METHODS.items() if method.driver("image") is not None]


def trained(method: str, **student: Any) -> Learner:
    """A learner with an update of each part behind it, so that no output is a constant zero."""
    learner = Learner(SPEC, config_of(method, proprioception=OWN, **student), 0)
    for seed in range(3):
        for part in learner.method.parts:
            learner.update(part.name, tiny_batch(seed, image=part.reads == "pairs"))
    return learner


def acted(learner: Learner, state: np.ndarray) -> np.ndarray:
    """What is done from images [B, T, A] along states [B, T, S]."""
    policy = acting_policy(SPEC, learner.config)
    policy.load(*learner.publish())
    batch, carry, actions = tiny_batch(), policy.initial(B), []
    for t in range(T):
        images, first = batch["image"][:, t, 0], np.full(B, t == 0)
        action, carry = policy.step(carry, state[:, t], images, first, np.ones(B, bool), explore=False)
        actions.append(action)
    return np.stack(actions, axis=1)


@pytest.mark.parametrize("method", FROM_IMAGES)
def test_of_the_state_a_driver_from_images_looks_at_what_is_measured_alone(method: str) -> None:
    learner, state = trained(method), tiny_batch()["state"]
    others, own = state.copy(), state.copy()
    others[..., SPEC.state_names.index("goal_x_m")] = np.nan
    own[..., SPEC.state_names.index("gripper_x_m")] *= -1.0
    np.testing.assert_array_equal(acted(learner, others), acted(learner, state))
    assert np.abs(acted(learner, own) - acted(learner, state)).max() > 1e-4


@pytest.mark.parametrize("method", FROM_IMAGES)
def test_without_it_nothing_of_the_state_is_looked_at(method: str) -> None:
    learner = Learner(SPEC, config_of(method), 0)
    assert np.isfinite(acted(learner, np.full_like(tiny_batch()["state"], np.nan))).all()


@pytest.mark.parametrize("posterior", ["image", "read"])
@torch.no_grad()
def test_the_student_acts_on_what_it_was_trained_on(posterior: str) -> None:
    learner = trained("twist", posterior=posterior, dynamics="tied")
    policy = acting_policy(SPEC, learner.config)
    assert isinstance(policy, TwistPolicy)
    policy.load(*learner.publish())
    batch, carry, latents = tiny_batch(), policy.initial(B), []
    first = np.zeros((B, T), bool)
    first[:, 0] = True
    actions = np.zeros((B, T, SPEC.action_dim), np.float32)
    for t in range(T):
        images = batch["image"][:, t, 0]
        action, carry = policy.step(carry, batch["state"][:, t], images, first[:, t], np.ones(B, bool), False)
        latents.append(carry.latent.deter)
        if t + 1 < T:
            actions[:, t + 1] = action
    student, given = policy.student, tensors(batch)
    shown = student.seen(student.encoder(given["image"][:, :, 0]), student.proprioception.of(given["state"]))
    latent = student.rssm.initial(B)
    for t in range(T):
        at = torch.as_tensor(actions[:, t]), torch.as_tensor(first[:, t])
        latent = student.rssm.observe_step(latent, shown[:, t], *at, None)
        torch.testing.assert_close(latent.deter, latents[t])


def test_what_is_read_has_what_is_measured_in_its_place() -> None:
    policy = acting_policy(SPEC, config_of("state_regression", proprioception=OWN))
    assert isinstance(policy, StateRegressionPolicy)
    image = torch.zeros(2, *SPEC.image_shape, dtype=torch.uint8)
    read = policy.reader(image, torch.tensor([[0.25], [-1.0]]))
    column = SPEC.state_names.index("gripper_x_m")  # its bounds are -1 and 1
    assert read[:, column].tolist() == [0.25, -1.0]


def test_it_is_scaled_by_the_bounds_of_its_own_numbers() -> None:
    spec = replace(SPEC, state_names=("goal_x_m", "gripper_x_m"))
    own = Proprioception(spec, config_of("twist", proprioception=OWN))
    assert own.names == ("gripper_x_m",) and own.size == 1
    state = torch.tensor([[-1.0, 0.5], [1.0, 0.25]])
    assert own.of(state).tolist() == [[0.5], [0.25]]
    assert own.scaled(own.of(state)).tolist() == [[1.0], [0.0]]
    assert own.beside(torch.full((2, 3), 7.0), own.of(state)).tolist() == [[7.0, 7.0, 7.0, 1.0], [7.0, 7.0, 7.0, 0.0]]


def test_a_name_that_the_state_has_not_is_refused() -> None:
    with pytest.raises(ValueError, match=r"arm_\* is nothing of the state: allowed are gripper_x_m, goal_x_m"):
        tiny_learner(proprioception=("gripper_x_m", "arm_*"))


def test_what_the_image_tells_by_itself_is_learned_beside_it() -> None:
    """By that a robot is stopped whose camera shows the gripper elsewhere than the arm measures it."""
    learner = trained("twist", frames=6, encoder_share=0.0)
    student = learner.modules["student"]
    assert student.readout.in_features + 1 == student.informed.in_features
    for head in (student.readout, student.informed):
        assert head.weight.grad is not None and head.weight.grad.abs().max() > 0.0
