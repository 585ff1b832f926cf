"""Asymmetric SAC: losses against numbers worked out by hand, and a small problem whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from tiny_learner import SPEC, B, T, config_of, constant_output, generator, tiny_batch

from learner.acting import ActingPolicy, acting_policy
from learner.learner import Learner
from learner.methods.asymmetric_sac import SACPart, as_acted, squashed, stacked


def test_actions_are_as_dense_as_torch_says() -> None:
    mean, deviation = torch.tensor([[0.3, -1.2]]), torch.tensor([[0.5, 1.5]])
    noise = torch.tensor([[0.7, -0.4]])
    action, density = squashed(mean, deviation, noise)
    normal = torch.distributions.Normal(mean, deviation)
    expected = torch.distributions.TransformedDistribution(normal, torch.distributions.TanhTransform(cache_size=1))
    assert torch.allclose(action, torch.tanh(mean + deviation * noise))
    assert torch.allclose(density, expected.log_prob(action).sum(-1), atol=1e-4)


def test_the_last_images_are_those_of_the_episode() -> None:
    image = torch.arange(6, dtype=torch.uint8).reshape(1, 6, 1, 1, 1).expand(1, 6, 2, 2, 1)
    is_first = torch.tensor([[True, False, False, True, False, False]])
    seen = stacked(image, is_first, 3)
    assert seen.shape == (1, 6, 2, 2, 3)
    assert seen[0, :, 0, 0].tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 2], [3, 3, 3], [3, 3, 4], [3, 4, 5]]


def test_a_stack_is_the_actor_s_where_the_episode_begins_in_the_sequence_or_no_image_is_missing() -> None:
    begins = torch.zeros(3, 5, dtype=torch.bool)
    begins[0, 0] = begins[1, 1] = True
    assert as_acted(begins, 3).tolist() == [
        [True, True, True, True, True],
        [False, True, True, True, True],
        [False, False, True, True, True],
    ]
    assert as_acted(begins, 1).all()


def test_steps_of_which_images_are_missing_are_not_learned_from() -> None:
    """Where the actor had other images than the sequence has, neither actor nor critics nor temperature look."""
    losses = []
    for changed in (False, True):
        learner = Learner(SPEC, config_of("asymmetric_sac"), 0)
        batch = tiny_batch()
        batch["is_first"][:] = False
        if changed:
            batch["reward"][:, 1] += 1.0  # what comes after row 1 its critics would ask the actor, which lacks an image
            batch["action"][:, 1] = 0.0
        metrics = learner.update("sac", batch)
        losses.append([metrics[f"loss_{name}"].item() for name in ("critic", "actor", "temperature")])
    assert losses[0] == losses[1]


def test_the_actor_is_given_the_images_that_it_was_trained_on() -> None:
    policy = acting_policy(SPEC, config_of("asymmetric_sac"))
    batch, carry, stacks = tiny_batch(), policy.initial(B), []
    for t in range(T):
        _, carry = policy.step(
            carry, batch["state"][:, t], batch["image"][:, t, 0], batch["is_first"][:, t], np.ones(B, bool), False
        )
        stacks.append(carry.images.permute(0, 2, 3, 1, 4).flatten(-2))
    is_first = torch.as_tensor(batch["is_first"]).clone()
    # An actor's first step is an episode's: so is what a sequence begins with.
    whole = stacked(torch.as_tensor(batch["image"][:, :, 0]), is_first, policy.config.sac.frames)
    from_first = torch.as_tensor(batch["is_first"]).cumsum(1) > 0
    ours = torch.stack(stacks, dim=1)
    assert torch.equal(ours[from_first], whole[from_first])


def test_the_losses_of_critic_and_temperature_on_paper() -> None:
    learner = Learner(SPEC, config_of("asymmetric_sac"), 0)
    (part,) = learner.parts
    assert isinstance(part, SACPart)
    for nets in (part.critic.nets, part.critic.slow):
        for net in nets:
            constant_output(net, 0.0)
    batch = tiny_batch()
    batch["is_terminal"][:] = True  # nothing comes after a step: what is wanted of the critics is the reward
    metrics = learner.update("sac", batch)
    # The second sequence goes on from before it: its first stack of three images that is the actor's is row 2's.
    taken = np.array([[True, True, True, True], [False, True, False, True]])
    expected = np.square(batch["reward"][:, 1:])[taken].mean()  # two critics, half the square each
    assert metrics["loss_critic"].item() == pytest.approx(expected, rel=1e-5)
    temperature = learner.config.sac.initial_temperature
    surplus = -metrics["entropy"].item() - SPEC.action_dim
    assert metrics["loss_temperature"].item() == pytest.approx(-math.log(temperature) * surplus, rel=1e-5)


def test_what_is_wanted_of_the_critics_and_of_the_actor_on_paper() -> None:
    """Two rows; each critic says one number whatever it is asked, the slow ones others, and the actor is known."""
    learner = Learner(SPEC, config_of("asymmetric_sac"), 0)
    (part,) = learner.parts
    assert isinstance(part, SACPart)
    for nets, values in ((part.critic.nets, (1.0, 3.0)), (part.critic.slow, (5.0, 4.0))):
        for net, value in zip(nets, values, strict=True):
            constant_output(net, value)
    constant_output(part.actor.head, 0.0)  # mean 0, deviation exp(-1.5)
    batch = {name: array[:, :2] if array.ndim > 1 else array for name, array in tiny_batch().items()}
    batch["is_first"][:] = [[True, False], [True, False]]
    batch["is_terminal"][:] = [[False, False], [False, True]]
    batch["reward"][:] = [[9.0, 0.5], [9.0, 0.25]]
    drawn = torch.randn((B, 2, SPEC.action_dim), generator=generator(11))
    part.generator.manual_seed(11)
    metrics = learner.update("sac", batch)
    raw = math.exp(-1.5) * drawn
    normal = -0.5 * drawn.square() + 1.5 - 0.5 * math.log(2.0 * math.pi)
    density = (normal - torch.log(1.0 - torch.tanh(raw).square())).sum(-1)
    temperature = learner.config.sac.initial_temperature
    # The first goes on, with the lesser of the slow critics' values and its entropy; the second has come to its end.
    going_on = 0.5 + 0.9 * (4.0 - temperature * density[0, 1].item())
    wanted = (going_on, 0.25)
    expected = np.mean([0.5 * (1.0 - x) ** 2 + 0.5 * (3.0 - x) ** 2 for x in wanted])
    assert metrics["loss_critic"].item() == pytest.approx(expected, rel=1e-4)
    first = density[:, 0].mean().item()
    assert metrics["entropy"].item() == pytest.approx(-first, rel=1e-4)
    # The critics have moved by then, by a step of Adam: their least value is 1 no more, but near.
    assert metrics["loss_actor"].item() == pytest.approx(temperature * first - 1.0, abs=1e-2)


def test_what_stands_elsewhere_is_not_looked_at() -> None:
    """A terminal step's own state, and the reward of a row to which no action led, are wanted of nobody."""
    losses = []
    for changed in (False, True):
        learner = Learner(SPEC, config_of("asymmetric_sac"), 0)
        batch = tiny_batch()
        batch["is_first"][:, 0] = True
        batch["is_terminal"][:, T - 1] = True
        if changed:
            batch["state"][:, T - 1] += 0.1
            batch["reward"][:, 0] += 1.0
            batch["reward"][1, 3] += 1.0  # where an episode begins
        losses.append(learner.update("sac", batch)["loss_critic"].item())
    assert losses[0] == losses[1]


def test_the_critics_learn_what_an_action_is_worth_and_the_actor_does_it() -> None:
    """A step each: worth the more the nearer the action is to 0.5 in both directions."""
    learner = Learner(SPEC, config_of("asymmetric_sac"), 0)
    (part,) = learner.parts
    assert isinstance(part, SACPart)
    part.optimisers["critic"].learning_rate.fill_(1e-2)
    part.optimisers["actor"].learning_rate.fill_(3e-3)
    for seed in range(250):
        batch = tiny_batch(seed)
        batch["is_terminal"][:] = True
        batch["reward"] = (-np.square(batch["action"] - 0.5).sum(-1)).astype(np.float32)
        learner.update("sac", batch)
    policy: ActingPolicy = acting_policy(SPEC, learner.config)
    policy.load(*learner.publish())
    batch = tiny_batch(999)
    action, _ = policy.step(
        policy.initial(B), batch["state"][:, 0], batch["image"][:, 0, 0], np.ones(B, bool), np.ones(B, bool), False
    )
    assert np.abs(action - 0.5).max() < 0.25
