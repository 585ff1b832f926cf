"""The exported step is the step with which evaluations act, and its reset forgets everything."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deploy.robot.graph import StudentStep
from deploy.runs.acting import load_policy
from deploy.runs.policy_source import find_policy
from learner.acting import ActingPolicy


@pytest.fixture(scope="module")
def networks() -> ActingPolicy:
    return load_policy(find_policy("pretrained/reach"))


def pictures(networks: ActingPolicy, count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *networks.spec.image_shape), dtype=np.uint8)


def outputs(step: StudentStep, images: np.ndarray, latent: list[torch.Tensor]) -> list[dict[str, np.ndarray]]:
    found, inputs = [], [torch.zeros(1), torch.zeros(1, step.proprioception.size), *latent]
    for image in images:
        inputs[0] = torch.from_numpy(image[None])
        with torch.no_grad():
            out = dict(zip(step.outputs, step(*inputs), strict=True))
        inputs[2:] = [out["deter_next"], out["stoch_next"], out["action"], out["reset_next"]]
        found.append({name: value[0].numpy() for name, value in out.items()})
    return found


def test_it_acts_as_evaluations_do(networks: ActingPolicy) -> None:
    """Which compute in float32 throughout, and differ by what the recurrence makes of that."""
    step, images = StudentStep(networks, None), pictures(networks, 8)
    found = outputs(step, images, list(step.initial()[2:]))
    carry, blind = networks.initial(1), np.zeros((1, networks.spec.state_dim), np.float32)
    for index, image in enumerate(images):
        first = np.array([index == 0])
        action, carry = networks.step(carry, blind, image[None], first, np.array([True]), explore=False)
        assert found[index]["action"] == pytest.approx(action[0], abs=1e-4)
        assert found[index]["deter_next"] == pytest.approx(carry.latent.deter[0].numpy(), abs=1e-4)
        assert found[index]["stoch_next"] == pytest.approx(carry.latent.stoch[0].numpy(), abs=1e-4)


def test_reset_forgets_latent_and_action(networks: ActingPolicy) -> None:
    step, images = StudentStep(networks, None), pictures(networks, 3)
    deter, stoch, action, reset = step.initial()[2:]
    fresh = outputs(step, images, [deter, stoch, action, reset])
    used = outputs(step, images, [deter + 0.5, stoch + 1.0, action - 0.7, reset])
    kept = outputs(step, images, [deter + 0.5, stoch + 1.0, action - 0.7, ~reset])
    for name in step.outputs:
        assert np.array_equal(fresh[-1][name], used[-1][name])
    assert not np.array_equal(fresh[0]["deter_next"], kept[0]["deter_next"])


def test_surprise_is_the_divergence_of_posterior_from_prior(networks: ActingPolicy) -> None:
    step, images = StudentStep(networks, None), pictures(networks, 1)
    found = outputs(step, images, list(step.initial()[2:]))[0]
    with torch.no_grad():
        rssm, deter = networks.student.rssm, torch.from_numpy(found["deter_next"][None])
        prior, embed = rssm.prior(deter), networks.student.encoder(torch.from_numpy(images))
        own = torch.zeros(1, networks.student.proprioception.size)
        post = rssm.post(deter, rssm.project(networks.student.seen(embed, own)))
    p, q = post.exp().numpy().astype(np.float64), prior.exp().numpy().astype(np.float64)
    assert found["surprise"] == pytest.approx((p * np.log(p / q)).sum(), rel=1e-4)
