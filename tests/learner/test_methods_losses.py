"""What is each method's own: losses against numbers worked out by hand, and small problems whose answer is known."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_learner import SPEC, B, Batch, T, config_of, constant_output, generator, snapshot, tensors, tiny_batch

from learner.acting import acting_policy
from learner.behaviour import Policy
from learner.frames import Frames, by_view
from learner.learner import Learner
from learner.methods import policy_distillation
from learner.methods.dreamer import DreamerPolicy, model_of
from learner.methods.part import TensorBatch
from learner.methods.policy_distillation import DistilledPolicy, ImagePolicy, ImagePolicyPart
from learner.methods.state_regression import ReaderPart, StateRegressionPolicy
from learner.methods.teaching import TeacherPart
from learner.methods.twist import StudentPart
from learner.networks import ImageDecoder
from learner.rssm import Latent
from learner.teacher import Teacher, teacher_losses


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
    frames = Frames(image, torch.tensor(SPEC.state_high).expand(7, -1), torch.zeros(7, 0))
    means, _ = part.losses(tensors(tiny_batch()), frames)
    assert means["readout"].item() == pytest.approx(expected)


def test_images_that_are_read_without_error_drive_as_the_state_does() -> None:
    learner = learner_of("state_regression")
    policy = acting_policy(SPEC, learner.config)
    assert isinstance(policy, StateRegressionPolicy)
    batch = tiny_batch()

    class Oracle(torch.nn.Module):
        proprioception = policy.reader.proprioception

        def forward(self, image: torch.Tensor, measured: torch.Tensor) -> torch.Tensor:
            assert not measured.numel()
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


def test_it_learns_to_do_what_the_teacher_does_in_another_s_episodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The teacher pushes as the state's first entry says, which the images show; the actions taken were others.

    Judged where it never was, beside a policy whose images show nothing.
    """

    def pushes(teacher: Teacher, policy: Policy, batch: TensorBatch, views: int, noise: torch.Tensor) -> Any:
        return SimpleNamespace(action=batch["state"][..., :1].expand_as(batch["action"]))

    monkeypatch.setattr(policy_distillation, "teacher_target", pushes)
    errors = {}
    for sees in (True, False):
        learner = learner_of("policy_distillation", learning_rate=3e-3, average_rate=1.0)
        part = learner.parts[1]
        assert isinstance(part, ImagePolicyPart)
        for seed in range(150):
            learner.update("student", shown(seed, sees))
        _, metrics = part.losses(tensors(shown(999, sees)), None)
        errors[sees] = metrics["action_error"].item()
    assert errors[True] < 0.5 * errors[False]


def shown(seed: int, sees: bool) -> Batch:
    """A batch whose images are as bright as the state's first entry says, or all alike."""
    batch = tiny_batch(seed)
    brightness = (batch["state"][..., :1, None, None, None] + 1.0) / 2.0
    batch["image"][:] = (255 * brightness).astype(np.uint8) if sees else 128
    return batch


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


@pytest.mark.parametrize("method", ["dreamer_dr", "dreamer_state_recon"])
def test_a_dreamer_that_acts_filters_as_in_training(method: str) -> None:
    """Step by step it arrives at the latent that the model has for the same rows; episodes begin where they do."""
    learner = Learner(SPEC, config_of(method), 0)
    for seed in range(2):
        learner.update("dreamer", tiny_batch(seed))
    policy = acting_policy(SPEC, learner.config)
    assert isinstance(policy, DreamerPolicy)
    policy.load(*learner.publish())
    batch, carry, acted, stochs = tiny_batch(7), policy.initial(B), [], []
    for t in range(T):
        images, first = batch["image"][:, t, 0], batch["is_first"][:, t] | (t == 0)
        action, carry = policy.step(carry, batch["state"][:, t], images, first, np.ones(B, bool), False)
        acted.append(action)
        stochs.append(carry.latent.stoch)
    actions = np.stack(acted, axis=1)
    led_to = torch.from_numpy(np.concatenate((np.zeros_like(actions[:, :1]), actions[:, :-1]), axis=1))
    is_first = torch.from_numpy(batch["is_first"].copy())
    is_first[:, 0] = True
    with torch.no_grad():
        embed = policy.model.encoder(torch.as_tensor(batch["image"][:, :, 0]))
        drawn, fed = policy.model.rssm.draw(led_to), torch.stack(stochs, 1)
        seen = policy.model.rssm.observe(embed, led_to * ~is_first[..., None], is_first, drawn, fed)
        mean, _ = policy.policy(Latent(seen.latent.deter, fed).feat)
    torch.testing.assert_close(seen.latent.deter[:, -1], carry.latent.deter)
    torch.testing.assert_close(seen.post.exp(), fed)
    np.testing.assert_allclose(mean.numpy(), actions, atol=1e-5)


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
