"""What is each method's own: losses against numbers worked out by hand, and small problems whose answer is known."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from tiny_learner import SPEC, B, T, config_of, constant_output, generator, snapshot, tensors, tiny_batch

from learner.acting import ActingPolicy, acting_policy
from learner.frames import Frames
from learner.learner import Learner
from learner.methods.asymmetric_sac import SACPart, squashed, stacked
from learner.methods.dreamer import by_view, model_of
from learner.methods.following import FollowingPart
from learner.methods.policy_distillation import DistilledPolicy, ImagePolicy, ImagePolicyPart
from learner.methods.state_regression import ReaderPart, StateRegressionPolicy
from learner.methods.teaching import TeacherPart
from learner.methods.twist import StudentPart
from learner.networks import ImageDecoder
from learner.teacher import teacher_losses


def learner_of(method: str, **student: Any) -> Learner:
    return Learner(SPEC, config_of(method, shift_pixels=0, frames=0, **student), 0)


def teacher_of(learner: Learner) -> TeacherPart:
    part = learner.parts[0]
    assert isinstance(part, TeacherPart)
    return part


# --- twist_paper ------------------------------------------------------------------------------------------------------


def test_the_paper_s_form_learns_by_its_four_terms_and_by_no_other() -> None:
    learner = learner_of("twist_paper")
    part = learner.parts[1]
    assert isinstance(part, StudentPart)
    assert {name for name, scale in part.scales().items() if scale > 0.0} == {
        *("posterior", "prior", "deter", "imagination"),
    }
    readout, encoder, dynamics = (
        snapshot(x) for x in (part.student.readout, part.student.encoder, part.student.rssm.dynamics)
    )
    learner.update("student", tiny_batch())
    for before, module, moves in (
        (readout, part.student.readout, False),
        (encoder, part.student.encoder, True),
        (dynamics, part.student.rssm.dynamics, True),
    ):
        moved = [not torch.equal(x, y) for x, y in zip(before, snapshot(module), strict=True)]
        assert all(moved) if moves else not any(moved)


# --- state_regression -------------------------------------------------------------------------------------------------


def highest_state() -> dict[str, np.ndarray]:
    """A batch whose states are at their upper bounds, normalised 1, when the images are taken."""
    batch = tiny_batch()
    batch["state_at_exposure"][:] = SPEC.state_high
    return batch


def test_the_loss_of_what_is_read_off_images_on_paper() -> None:
    learner = learner_of("state_regression")
    part = learner.parts[1]
    assert isinstance(part, ReaderPart)
    with torch.no_grad():
        part.student.readout.weight.zero_()
        part.student.readout.bias.fill_(0.5)
    # An error of 0.5 in each of two dimensions, and deviations that fit it: 2 (log 0.25 + 1) / 2.
    expected = math.log(0.25) + 1.0
    means, _ = part.losses(tensors(highest_state()), None)
    assert means["readout"].item() == pytest.approx(expected)
    image = torch.zeros(7, *SPEC.image_shape, dtype=torch.uint8)
    frames = Frames(image, torch.tensor(SPEC.state_high).expand(7, -1))
    means, _ = part.losses(tensors(tiny_batch()), frames)
    assert means["readout"].item() == pytest.approx(expected)


def test_images_that_are_read_without_error_drive_as_the_state_does() -> None:
    learner = learner_of("state_regression")
    policy = acting_policy(SPEC, learner.config)
    assert isinstance(policy, StateRegressionPolicy)
    batch = tiny_batch()

    class Oracle(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return policy.teacher.normalise(torch.as_tensor(batch["state"][image[:, 0, 0, 0].long(), t]))

    policy.reader = Oracle()  # type: ignore[assignment]
    image = np.zeros((B, *SPEC.image_shape), np.uint8)
    image[:, 0, 0, 0] = np.arange(B)
    carries = [policy.initial(B), policy.initial(B)]
    for t in range(T):
        actions = []
        for k, from_image in enumerate((np.zeros(B, bool), np.ones(B, bool))):
            action, carries[k] = policy.step(
                carries[k], batch["state"][:, t], image, batch["is_first"][:, t], from_image, False
            )
            actions.append(action)
        np.testing.assert_allclose(actions[0], actions[1], atol=1e-6)


# --- policy_distillation ----------------------------------------------------------------------------------------------


def test_the_loss_of_actions_on_paper() -> None:
    learner = learner_of("policy_distillation")
    part, leader = learner.parts[1], teacher_of(learner)
    assert isinstance(part, ImagePolicyPart)
    constant_output(leader.policy.net, 0.5)
    constant_output(part.student.head, 0.0)
    part.refresh()
    batch = tiny_batch()
    batch["valid"][0, 3:] = False
    means, metrics = part.losses(tensors(batch), None)
    assert means["action"].item() == pytest.approx(SPEC.action_dim * math.tanh(0.5) ** 2, rel=1e-5)
    assert metrics["action_error"].item() == pytest.approx(math.tanh(0.5), rel=1e-5)


def test_the_policy_of_images_is_given_what_it_was_trained_on() -> None:
    """Step by step, as it acts, it does what it does over a whole sequence: its actions, and where episodes begin."""
    policy = acting_policy(SPEC, config_of("policy_distillation"))
    assert isinstance(policy, DistilledPolicy)
    batch, carry = tiny_batch(), policy.initial(B)
    acted = []
    for t in range(T):
        images, first = batch["image"][:, t, 0], batch["is_first"][:, t]
        action, carry = policy.step(carry, batch["state"][:, t], images, first, np.ones(B, bool), False)
        acted.append(action)
    actions = np.stack(acted, axis=1)
    led_to = np.concatenate((np.zeros_like(actions[:, :1]), actions[:, :-1]), axis=1)
    led_to[batch["is_first"]] = 0.0
    student: ImagePolicy = policy.student
    with torch.no_grad():
        embed = student.encoder(torch.as_tensor(batch["image"][:, :, 0]))
        whole = student(embed, torch.as_tensor(led_to), torch.as_tensor(batch["is_first"]))
    np.testing.assert_allclose(whole.clamp(-1.0, 1.0).numpy(), actions, atol=1e-5)


def test_it_learns_to_do_what_the_teacher_does_in_another_s_episodes() -> None:
    """The teacher pushes as the state's first entry says, which the images show; the actions taken were others."""
    learner = learner_of("policy_distillation", learning_rate=3e-3, average_rate=1.0)
    part = learner.parts[1]
    assert isinstance(part, FollowingPart)
    errors = []
    for seed in range(60):
        batch = tiny_batch(seed % 3)
        batch["image"][:] = (255 * (batch["state"][..., :1, None, None, None] + 1.0) / 2.0).astype(np.uint8)
        errors.append(learner.update("student", batch)["loss_action"].item())
    assert np.mean(errors[-6:]) < 0.5 * np.mean(errors[:6])


# --- dreamers ---------------------------------------------------------------------------------------------------------


def test_the_loss_of_an_image_on_paper() -> None:
    model = model_of(SPEC, config_of("dreamer_dr"))
    assert isinstance(model.decoder, ImageDecoder)
    for parameter in model.decoder.parameters():
        torch.nn.init.zeros_(parameter)
    batch = by_view(tensors(tiny_batch(views=2)))
    assert batch["image"].shape == (2 * B, T, *SPEC.image_shape)
    batch["image"] = torch.full_like(batch["image"], 255)
    loss, error = model.rebuilding_loss(torch.zeros(2 * B, T, model.rssm.feat_size), batch)
    # A grey image for a white one: an error of 0.5 for each of 16 x 16 x 3 levels.
    assert torch.allclose(loss, torch.full((2 * B, T), 0.25 * 16 * 16 * 3))
    assert error.item() == pytest.approx(0.5)


@pytest.mark.parametrize(("method", "rebuilt"), [("dreamer_dr", "image"), ("dreamer_state_recon", "state")])
def test_a_dreamer_sees_images_alone_and_rebuilds_what_its_method_says(method: str, rebuilt: str) -> None:
    config = config_of(method)
    model = model_of(SPEC, config)
    batch = by_view(tensors(tiny_batch()))
    losses, metrics, observed = teacher_losses(model, config.teacher, batch, generator())
    assert losses.keys() == {rebuilt, "reward", "continue", "dynamics", "representation"}
    assert f"{rebuilt}_error" in metrics
    other = {**batch, "state": batch["state"] + 0.1}
    again, _, seen = teacher_losses(model, config.teacher, other, generator())
    assert torch.equal(observed.latent.deter, seen.latent.deter)
    assert torch.equal(losses[rebuilt], again[rebuilt]) == (rebuilt == "image")


def test_every_view_of_a_step_is_a_sequence_of_its_own() -> None:
    batch = by_view(tensors(tiny_batch(views=3)))
    original = tiny_batch(views=3)
    for k in range(3):
        assert np.array_equal(batch["image"][3 + k].numpy(), original["image"][1, :, k])
        assert np.array_equal(batch["reward"][3 + k].numpy(), original["reward"][1])


def test_worlds_without_randomisation_are_judged_in_worlds_with_it() -> None:
    from deploy.settings.presets import resolve

    config = resolve("push", None, ["learner.method=dreamer_no_dr"])
    assert not config.sim.randomisation.visual.enabled
    assert config.evaluated_sim.randomisation.visual.enabled
    assert config.actors.state_only_envs == 0
    with pytest.raises(Exception, match=r"visual\.enabled is True: learner\.method=dreamer_no_dr allows False"):
        resolve("push", None, ["learner.method=dreamer_no_dr", "sim.randomisation.visual.enabled=true"])


# --- asymmetric_sac ---------------------------------------------------------------------------------------------------


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
    learner = Learner(SPEC, dataclasses.replace(config_of("asymmetric_sac")), 0)
    (part,) = learner.parts
    assert isinstance(part, SACPart)
    for nets in (part.critic.nets, part.critic.slow):
        for net in nets:
            constant_output(net, 0.0)
    batch = tiny_batch()
    batch["is_terminal"][:] = True  # nothing comes after a step: what is wanted of the critics is the reward
    metrics = learner.update("sac", batch)
    taken = ~batch["is_first"][:, 1:]
    expected = np.square(batch["reward"][:, 1:])[taken].mean()  # two critics, half the square each
    assert metrics["loss_critic"].item() == pytest.approx(expected, rel=1e-5)
    temperature = learner.config.sac.initial_temperature
    surplus = -metrics["entropy"].item() - SPEC.action_dim
    assert metrics["loss_temperature"].item() == pytest.approx(-math.log(temperature) * surplus, rel=1e-5)


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
