from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from tiny_learner import CLASSES, GROUPS, SPEC, B, T, constant_output, generator, tensors, tiny_batch, tiny_config
from torch import Tensor

from learner.config import LearnerConfig
from learner.rssm import Latent
from learner.teacher import LEAST_DEVIATION, Teacher, scales, teacher_losses

POST = torch.tensor([0.7, 0.1, 0.1, 0.1])
KL_TO_UNIFORM = GROUPS * (0.7 * math.log(2.8) + 0.3 * math.log(0.4))  # 1.338 nats
KL_FROM_UNIFORM = GROUPS * (0.25 * math.log(1 / 2.8) + 0.75 * math.log(2.5))


def make_teacher(config: LearnerConfig | None = None) -> Teacher:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Teacher(SPEC, config or tiny_config())


@torch.no_grad()
def with_known_latents(free_nats: float) -> tuple[Teacher, LearnerConfig]:
    """A teacher whose posterior is POST in each group and whose prior is uniform, whatever it sees."""
    config = tiny_config(rssm={"unimix": 0.0}, teacher={"free_nats": free_nats})
    model = make_teacher(config)
    for layer in (model.rssm.post_out, model.rssm.prior_out):
        layer.weight.zero_()
        layer.bias.zero_()
    model.rssm.post_out.bias.copy_(torch.log(POST).repeat(GROUPS))
    return model, config


def losses_of(model: Teacher, config: LearnerConfig, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    return teacher_losses(model, config.teacher, batch, generator())[0]


def test_the_bounds_of_the_state_become_minus_one_and_one() -> None:
    model = make_teacher()
    state = torch.tensor([[-1.0, 0.0], [1.0, 0.5], [0.5, 0.125]])  # bounds are [-1, 1] and [0, 0.5]
    scaled = model.normalise(state)
    torch.testing.assert_close(scaled, torch.tensor([[-1.0, -1.0], [1.0, 1.0], [0.5, -0.5]]))
    torch.testing.assert_close(model.denormalise(scaled), state)


def test_state_loss_on_paper() -> None:
    model, config = make_teacher(), tiny_config()
    constant_output(model.decoder, torch.tensor([0.25, -0.5]))
    batch = tensors(tiny_batch(image=False))
    batch["state"] = torch.tensor([0.25, 0.25]).expand(B, T, 2)  # 0.25 and 0.0 of the way from -1 to 1
    # The first is told exactly, with the least deviation; the second is 0.5 off, and so is its deviation then:
    # log 0.05, and log 0.5 + 0.5^2 / (2 * 0.5^2)
    expected = torch.full((B, T), math.log(LEAST_DEVIATION) + math.log(0.5) + 0.5)
    torch.testing.assert_close(losses_of(model, config, batch)["state"], expected)


def test_reward_loss_of_an_untrained_head_is_that_of_61_equal_bins() -> None:
    losses = losses_of(make_teacher(), tiny_config(), tensors(tiny_batch(image=False)))
    torch.testing.assert_close(losses["reward"], torch.full((B, T), math.log(61)))


def test_continue_loss_on_paper() -> None:
    model = make_teacher()
    constant_output(model.continues, math.log(0.9 / 0.1))
    batch = tensors(tiny_batch(image=False))
    batch["is_terminal"][:] = False
    batch["is_terminal"][0, 4] = True
    loss = losses_of(model, tiny_config(), batch)["continue"]
    expected = torch.full((B, T), -math.log(0.9))
    expected[0, 4] = -math.log(0.1)
    torch.testing.assert_close(loss, expected)


def test_a_truncated_episode_is_not_learnt_as_an_ended_one() -> None:
    batch = tensors(tiny_batch(image=False))
    model = make_teacher()
    truncated = batch | {"is_last": ~batch["is_last"]}
    assert torch.equal(
        losses_of(model, tiny_config(), batch)["continue"], losses_of(model, tiny_config(), truncated)["continue"]
    )


def test_kl_terms_on_paper() -> None:
    model, config = with_known_latents(free_nats=0.0)
    losses = losses_of(model, config, tensors(tiny_batch(image=False)))
    torch.testing.assert_close(losses["dynamics"], torch.full((B, T), KL_TO_UNIFORM))
    torch.testing.assert_close(losses["representation"], torch.full((B, T), KL_TO_UNIFORM))
    assert pytest.approx(KL_TO_UNIFORM) != KL_FROM_UNIFORM  # the direction matters in this example


def test_balance_dynamics_moves_the_prior_and_representation_the_posterior() -> None:
    model, config = with_known_latents(free_nats=0.0)
    outputs = model.rssm.prior_out.bias, model.rssm.post_out.bias
    losses = losses_of(model, config, tensors(tiny_batch(image=False)))
    gradients = {}
    for name in ("dynamics", "representation"):
        first_step = losses[name][0, 0]  # no earlier z leads to it
        gradients[name] = torch.autograd.grad(
            first_step, outputs, retain_graph=True, allow_unused=True, materialize_grads=True
        )
    to_prior, _ = gradients["dynamics"]
    torch.testing.assert_close(to_prior.view(GROUPS, CLASSES), (0.25 - POST).expand(GROUPS, CLASSES))
    assert gradients["dynamics"][1].abs().max() == 0.0
    assert gradients["representation"][0].abs().max() == 0.0
    assert gradients["representation"][1].abs().min() > 0.0


def test_below_the_free_nats_the_kl_is_a_constant_without_gradient() -> None:
    free = KL_TO_UNIFORM + 0.5
    model, config = with_known_latents(free_nats=free)
    losses = losses_of(model, config, tensors(tiny_batch(image=False)))
    for name in ("dynamics", "representation"):
        torch.testing.assert_close(losses[name], torch.full((B, T), free))
    (gradient,) = torch.autograd.grad(losses["dynamics"].sum(), model.rssm.prior_out.bias)
    assert gradient.abs().max() == 0.0


def test_above_the_free_nats_the_kl_counts_in_full() -> None:
    model, config = with_known_latents(free_nats=KL_TO_UNIFORM - 0.5)
    losses = losses_of(model, config, tensors(tiny_batch(image=False)))
    torch.testing.assert_close(losses["dynamics"], torch.full((B, T), KL_TO_UNIFORM))


def test_metrics_tell_the_kl_that_is_not_clamped_and_the_posterior_s_entropy() -> None:
    model, config = with_known_latents(free_nats=100.0)
    _, metrics, _ = teacher_losses(model, config.teacher, tensors(tiny_batch(image=False)), generator())
    assert metrics["kl"].item() == pytest.approx(KL_TO_UNIFORM, rel=1e-5)
    entropy = -GROUPS * (0.7 * math.log(0.7) + 0.3 * math.log(0.1))
    assert metrics["post_entropy"].item() == pytest.approx(entropy, rel=1e-5)


def test_every_term_is_per_step_and_has_a_scale() -> None:
    config = tiny_config()
    losses, metrics, observed = teacher_losses(
        make_teacher(), config.teacher, tensors(tiny_batch(image=False)), generator()
    )
    assert losses.keys() == scales(config.teacher).keys()
    assert {loss.shape for loss in losses.values()} == {(B, T)}
    assert {value.shape for value in metrics.values()} == {()}
    assert observed.latent.deter.shape[:2] == (B, T)


def test_scales_are_the_configs() -> None:
    values = {"state": 2.0, "reward": 3.0, "continue": 4.0, "dynamics": 5.0, "representation": 6.0}
    assert scales(tiny_config(teacher={f"{k}_scale": v for k, v in values.items()}).teacher) == values


def test_predictions_are_in_physical_numbers() -> None:
    model = make_teacher()
    latent = Latent(torch.zeros(3, 16), torch.zeros(3, GROUPS, CLASSES))
    constant_output(model.continues, math.log(0.8 / 0.2))
    constant_output(model.reward, torch.log(model.two_hot.encode(torch.tensor(2.5)) + 1e-12))
    torch.testing.assert_close(model.predict_continue(latent), torch.full((3,), 0.8))
    torch.testing.assert_close(model.predict_reward(latent), torch.full((3,), 2.5), rtol=1e-4, atol=1e-5)


def test_the_teacher_never_looks_at_images() -> None:
    batch = tiny_batch()
    blind = {k: v for k, v in batch.items() if k != "image"}
    model, config = make_teacher(), tiny_config()
    for a, b in zip(
        losses_of(model, config, tensors(batch)).values(),
        losses_of(model, config, tensors(blind)).values(),
        strict=True,
    ):
        assert np.array_equal(a.detach().numpy(), b.detach().numpy())
