from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from tiny_learner import (
    SPEC,
    B,
    Batch,
    T,
    constant_output,
    generator,
    noise,
    sharpen_posterior,
    tensors,
    tiny_batch,
    tiny_config,
)
from torch import Tensor, nn

from learner import student as student_module
from learner.behaviour import Policy
from learner.config import LearnerConfig, StudentConfig
from learner.networks import copy_parameters, frozen_parameters
from learner.readout import LEAST_DEVIATION
from learner.rssm import Latent, Observed
from learner.student import Student, imagination_alignment, scales, student_losses, teacher_target
from learner.teacher import Teacher

TERMS = {"posterior", "prior", "deter", "state", "action", "readout", "imagination"}


class SeeingEncoder(nn.Module):
    """Stands for an image encoder that has learnt all there is: it knows each image's state and embeds that.

    The first pixel of an image names its row in `states`, the flattened states of the batch.
    """

    def __init__(self, teacher: Teacher, states: Tensor) -> None:
        super().__init__()
        self._embed = teacher.embed(states.flatten(0, 1)).detach()

    def forward(self, image: Tensor) -> Tensor:
        return self._embed[image[..., 0, 0, 0].long()]


def make_parts(config: LearnerConfig) -> tuple[Student, Teacher, Policy]:
    """A student, a frozen teacher and its frozen policy, all untrained and different."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        teacher = Teacher(SPEC, config)
        policy = Policy(teacher.rssm.feat_size, SPEC.action_dim, config)
        student = Student(SPEC, config)
    frozen_parameters(teacher)
    frozen_parameters(policy)
    return student, teacher, policy


def named_images(batch: Batch, views: int) -> Batch:
    """The batch with images that name their own step."""
    image = np.zeros((B, T, views, *SPEC.image_shape), np.uint8)
    image[:] = np.arange(B * T).reshape(B, T, 1, 1, 1, 1)
    return batch | {"image": image}


def arrived(feed: str, views: int = 1) -> tuple[tuple[Student, Teacher, Policy], LearnerConfig, dict[str, Tensor]]:
    """A tied student that sees in each image what the teacher sees in the state; z is certain, so draws agree."""
    config = tiny_config(rssm={"unimix": 0.0}, student={"feed": feed, "dynamics": "tied"})
    student, teacher, policy = make_parts(config)
    sharpen_posterior(teacher.rssm)
    copy_parameters(teacher.rssm, student.rssm)
    batch = tensors(named_images(tiny_batch(), views))
    student.encoder = SeeingEncoder(teacher, batch["state"])  # type: ignore[assignment]
    return (student, teacher, policy), config, batch


def losses_of(
    parts: tuple[Student, Teacher, Policy], config: StudentConfig, batch: dict[str, Tensor], seed: int = 0
) -> dict[str, Tensor]:
    return student_losses(*parts, config, batch, generator(seed))[0]


@pytest.mark.parametrize("views", [1, 3])
@pytest.mark.parametrize("feed", ["student", "teacher"])
def test_a_student_that_sees_what_the_teacher_sees_has_nothing_to_learn(feed: str, views: int) -> None:
    parts, config, batch = arrived(feed, views)
    losses = losses_of(parts, config.student, batch)
    for name in ("posterior", "prior", "deter", "action"):
        torch.testing.assert_close(losses[name], torch.zeros(B * views, T), atol=1e-4, rtol=0.0)
    torch.testing.assert_close(losses["imagination"], torch.zeros_like(losses["imagination"]), atol=1e-4, rtol=0.0)


def test_what_is_left_of_the_state_loss_is_the_teacher_s_own_error() -> None:
    (student, teacher, policy), config, batch = arrived("student")
    losses = losses_of((student, teacher, policy), config.student, batch)
    own = teacher.decoder(teacher.observe(batch, noise()).latent.feat)
    torch.testing.assert_close(
        losses["state"], (own - teacher.normalise(batch["state"])).square().sum(-1), atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize("term", ["posterior", "prior", "deter", "state", "action"])
def test_a_student_that_sees_something_else_has_something_to_learn(term: str) -> None:
    config = tiny_config()
    assert losses_of(make_parts(config), config.student, tensors(tiny_batch()))[term].min() > 0.0


def test_state_readout_and_action_losses_on_paper() -> None:
    config = tiny_config()
    student, teacher, policy = make_parts(config)
    constant_output(teacher.decoder, torch.tensor([0.25, -0.5]))
    with torch.no_grad():
        student.readout.weight.zero_()
        student.readout.bias.copy_(torch.tensor([0.75, 0.0]))
    constant_output(policy.net, 0.0)
    batch = tensors(tiny_batch())
    batch["state"] = torch.tensor([0.25, 0.25]).expand(B, T, 2)  # 0.25 and 0.0 on the way from -1 to 1
    batch["state_at_exposure"] = torch.tensor([0.5, 0.25]).expand(B, T, 2)  # the camera was late
    losses = losses_of((student, teacher, policy), config.student, batch)
    torch.testing.assert_close(losses["state"], torch.full((B, T), 0.25))
    # One is 0.25 off what the image shows, and so is its deviation: log 0.25 + 0.25^2 / (2 * 0.25^2). The other has the
    # least deviation.
    expected = math.log(0.25) + 0.5 + math.log(LEAST_DEVIATION)
    torch.testing.assert_close(losses["readout"], torch.full((B, T), expected))
    torch.testing.assert_close(losses["action"], torch.zeros(B, T))


def test_posterior_and_prior_losses_run_from_the_teacher_to_the_student() -> None:
    """KL(teacher | student): the teacher says (.7 .1 .1 .1) where the student knows nothing."""
    config = tiny_config(rssm={"unimix": 0.0})
    student, teacher, policy = make_parts(config)
    says = torch.tensor([0.7, 0.1, 0.1, 0.1])
    with torch.no_grad():
        for layer in (student.rssm.post_out, student.rssm.prior_out, teacher.rssm.post_out, teacher.rssm.prior_out):
            layer.weight.zero_()
            layer.bias.zero_()
        teacher.rssm.post_out.bias.copy_(torch.log(says).repeat(3))
        teacher.rssm.prior_out.bias.copy_(torch.log(says).repeat(3))
    losses = losses_of((student, teacher, policy), config.student, tensors(tiny_batch()))
    expected = 3 * float((says * torch.log(says / 0.25)).sum())
    torch.testing.assert_close(losses["posterior"], torch.full((B, T), expected))
    torch.testing.assert_close(losses["prior"], torch.full((B, T), expected))


def test_every_term_has_a_scale_and_a_shape() -> None:
    config = tiny_config(student={"imagination_horizon": 4, "imagination_starts": 7})
    losses = losses_of(make_parts(config), config.student, tensors(tiny_batch(views=2)))
    assert losses.keys() == scales(config.student).keys() == TERMS
    assert losses.pop("imagination").shape == (4, 7)
    assert {loss.shape for loss in losses.values()} == {(B * 2, T)}


def test_scales_are_the_configs_and_imagination_is_left_out_at_zero() -> None:
    values = {name: float(k + 1) for k, name in enumerate(sorted(TERMS))}
    config = tiny_config(student={f"{name}_scale": value for name, value in values.items()})
    assert scales(config.student) == values
    without = tiny_config(student={"imagination_scale": 0.0})
    losses = losses_of(make_parts(without), without.student, tensors(tiny_batch()))
    assert losses.keys() == scales(without.student).keys() == TERMS - {"imagination"}


def test_every_view_has_its_own_sequence_s_target() -> None:
    config = tiny_config()
    _, teacher, policy = make_parts(config)
    batch = tensors(tiny_batch(views=3))
    one = teacher_target(teacher, policy, batch, 1, noise())
    three = teacher_target(teacher, policy, batch, 3, noise())
    for a, b in zip(target_tensors(one), target_tensors(three), strict=True):
        assert b.shape[0] == 3 * B
        for row in range(3 * B):
            assert torch.equal(b[row], a[row // 3])


def target_tensors(target: object) -> Iterator[Tensor]:
    if isinstance(target, Tensor):
        yield target
    else:
        for part in target:  # type: ignore[attr-defined]
            yield from target_tensors(part)


def test_views_of_one_sequence_are_rows_side_by_side() -> None:
    """Only the second view of the first sequence is seen wrongly: only its row is punished."""
    parts, config, batch = arrived("student", views=2)
    batch["image"][0, :, 1] = B * T - 1
    posterior = losses_of(parts, config.student, batch)["posterior"].amax(dim=1)
    assert posterior[1] > 1.0
    torch.testing.assert_close(posterior[[0, 2, 3]], torch.zeros(3), atol=1e-4, rtol=0.0)


@pytest.mark.parametrize("feed", ["student", "teacher"])
def test_equal_models_from_equal_starts_imagine_the_same(feed: str) -> None:
    config = tiny_config(student={"feed": feed})
    student, teacher, policy = make_parts(config)
    copy_parameters(teacher.rssm, student.rssm)
    start = teacher.observe(tensors(tiny_batch()), noise()).latent
    start = Latent(start.deter.flatten(0, 1), start.stoch.flatten(0, 1))
    deter, prior = imagination_alignment(student, teacher, policy, config.student, (start, start), generator(1))
    assert deter.shape == prior.shape == (3, B * T)
    torch.testing.assert_close(deter, torch.zeros_like(deter), atol=1e-6, rtol=0.0)
    torch.testing.assert_close(prior, torch.zeros_like(prior), atol=1e-6, rtol=0.0)


def test_different_models_or_different_starts_imagine_differently() -> None:
    config = tiny_config()
    student, teacher, policy = make_parts(config)
    start = teacher.observe(tensors(tiny_batch()), noise()).latent
    start = Latent(start.deter.flatten(0, 1), start.stoch.flatten(0, 1))
    other = Latent(start.deter.flip(0), start.stoch.flip(0))

    def deter_error(pair: tuple[Latent, Latent]) -> float:
        args = (student, teacher, policy, config.student)
        return imagination_alignment(*args, pair, generator(1))[0].sum().item()

    assert deter_error((start, start)) > 0.0
    copy_parameters(teacher.rssm, student.rssm)
    assert deter_error((start, other)) > 0.0


def test_no_gradient_reaches_teacher_or_policy() -> None:
    config = tiny_config(student={"dynamics": "scratch"})
    student, teacher, policy = make_parts(config)
    losses = losses_of((student, teacher, policy), config.student, tensors(tiny_batch()))
    torch.stack([loss.mean() for loss in losses.values()]).sum().backward()
    assert all(x.grad is None for module in (teacher, policy) for x in module.parameters())
    assert all(x.grad is not None and x.grad.abs().max() > 0.0 for x in student.parameters())


def test_the_teacher_s_z_is_fed_when_the_config_says_so() -> None:
    """With the teacher's z in the recurrence, and tied dynamics, h is the teacher's, however wrong the images are."""
    errors = {}
    for feed in ("student", "teacher"):
        config = tiny_config(student={"feed": feed})
        student, teacher, policy = make_parts(config)
        student.copy_dynamics(teacher)
        errors[feed] = losses_of((student, teacher, policy), config.student, tensors(tiny_batch()))["deter"].max()
    assert errors["teacher"] < 1e-9
    assert errors["student"] > 1e-3


def test_metrics_tell_how_often_the_models_agree() -> None:
    parts, config, batch = arrived("student")
    _, metrics = student_losses(*parts, config.student, batch, generator())
    assert metrics["z_agreement"].item() == 1.0
    assert metrics["action_error"].item() == pytest.approx(0.0, abs=1e-4)


def test_tied_dynamics_are_not_the_student_s_to_train() -> None:
    for dynamics, trained in (("tied", False), ("teacher_init", True), ("scratch", True)):
        student, _, _ = make_parts(tiny_config(student={"dynamics": dynamics}))
        assert {x.requires_grad for x in student.rssm.dynamics.parameters()} == {trained}
        assert all(x.requires_grad for x in student.encoder.parameters())
        assert student.rssm.post_out.weight.requires_grad


def test_teacher_and_student_draw_z_with_one_noise_and_all_views_with_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """A student that is the teacher draws the same z, also where the posterior leaves the choice open."""
    (student, teacher, policy), config, batch = arrived("student", views=2)
    with torch.no_grad():  # nothing is certain any more
        for rssm in (teacher.rssm, student.rssm):
            rssm.post_out.weight.zero_()
    seen: list[Observed] = []
    for model in (teacher, student):
        observe = model.rssm.observe

        def noted(*args: Any, observe: Any = observe, **kwargs: Any) -> Observed:
            seen.append(observe(*args, **kwargs))
            return seen[-1]

        monkeypatch.setattr(model.rssm, "observe", noted)
    losses_of((student, teacher, policy), config.student, batch)
    theirs, ours = (x.latent.stoch.detach().argmax(-1) for x in seen)
    assert torch.equal(ours, theirs.repeat_interleave(2, dim=0))
    assert len(theirs.unique()) > 1


def test_imagination_is_aligned_from_steps_after_which_the_episode_goes_on() -> None:
    """All steps but one are terminal or padding: every trajectory begins at that one."""
    config = tiny_config()
    parts, batch = make_parts(config), tensors(tiny_batch())
    batch["is_terminal"][:] = True
    batch["is_terminal"][1, 1] = batch["is_terminal"][0, 4] = False
    batch["valid"][0, 4] = False
    starts: list[Latent] = []
    imagine = student_module.imagine

    def noted(model: Teacher, policy: Policy, start: Latent, *args: Any) -> Any:
        starts.append(start)
        return imagine(model, policy, start, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(student_module, "imagine", noted)
        losses_of(parts, config.student, batch)
    teacher = parts[1]
    with torch.no_grad():
        seen = teacher.observe(batch, teacher.rssm.draw(batch["action"], generator())).latent
    torch.testing.assert_close(starts[0].deter, seen.deter[1, 1].expand_as(starts[0].deter))
