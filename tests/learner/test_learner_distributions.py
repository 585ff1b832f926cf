from __future__ import annotations

import math

import pytest
import torch
from tiny_learner import generator

from learner.distributions import (
    TwoHot,
    categorical_kl,
    drawn_or_expected,
    gumbel,
    mix_uniform,
    normal_entropy,
    pick_rows,
    squashed_normal,
    straight_through,
    symexp,
    symlog,
)

FIVE_BINS = TwoHot(bins=5, limit=2.0)  # centres -2, -1, 0, 1, 2 in symlog space


def test_kl_of_two_coins_is_the_number_on_paper() -> None:
    fair = torch.log(torch.tensor([[0.5, 0.5]]))
    biased = torch.log(torch.tensor([[0.25, 0.75]]))
    assert categorical_kl(fair, biased).item() == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3))
    assert categorical_kl(biased, fair).item() == pytest.approx(0.25 * math.log(0.5) + 0.75 * math.log(1.5))
    assert categorical_kl(fair, fair).item() == 0.0


def test_kl_is_summed_over_the_groups_and_only_over_them() -> None:
    p = torch.log(torch.tensor([[0.5, 0.5], [0.9, 0.1]])).expand(3, 4, 2, 2)
    q = torch.log(torch.tensor([[0.25, 0.75], [0.9, 0.1]])).expand(3, 4, 2, 2)
    kl = categorical_kl(p, q)
    assert kl.shape == (3, 4)
    torch.testing.assert_close(kl, torch.full((3, 4), 0.5 * math.log(2) + 0.5 * math.log(2 / 3)))


def test_mixing_in_a_tenth_of_the_uniform_distribution() -> None:
    mixed = mix_uniform(torch.log(torch.tensor([[0.8, 0.2]])), 0.1)
    torch.testing.assert_close(mixed.exp(), torch.tensor([[0.77, 0.23]]))


def test_no_class_is_impossible_once_mixed() -> None:
    mixed = mix_uniform(torch.tensor([[0.0, -1e9, -1e9, -1e9]]), 0.01)
    torch.testing.assert_close(mixed.exp(), torch.tensor([[0.9925, 0.0025, 0.0025, 0.0025]]))


def test_without_a_mix_it_is_a_softmax_in_float32() -> None:
    logit = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.bfloat16)
    log_probs = mix_uniform(logit, 0.0)
    assert log_probs.dtype == torch.float32
    torch.testing.assert_close(log_probs, torch.log_softmax(logit.float(), dim=-1))


def test_a_draw_is_one_hot_and_without_noise_it_is_the_probabilities() -> None:
    log_probs = torch.log(torch.tensor([[0.2, 0.7, 0.1], [0.5, 0.2, 0.3]]))
    noise = gumbel((2, 3), torch.device("cpu"), generator())
    drawn = drawn_or_expected(log_probs, noise)
    assert torch.equal(drawn, straight_through(log_probs, noise))
    assert sorted(drawn.flatten().tolist()) == [0.0, 0.0, 0.0, 0.0, 1.0, 1.0]
    assert drawn.sum(dim=-1).tolist() == [1.0, 1.0]
    torch.testing.assert_close(drawn_or_expected(log_probs, None), log_probs.exp())


def test_noise_decides_against_the_mode_when_it_outweighs_it() -> None:
    log_probs = torch.log(torch.tensor([[0.9, 0.1]]))
    just_short, just_enough = torch.tensor([[0.0, 2.19]]), torch.tensor([[0.0, 2.21]])  # ln 9 = 2.197
    assert straight_through(log_probs, just_short).tolist() == [[1.0, 0.0]]
    assert straight_through(log_probs, just_enough).tolist() == [[0.0, 1.0]]


def test_the_gradient_of_a_draw_is_that_of_the_probabilities() -> None:
    logit = torch.tensor([[0.3, -1.0, 0.8], [0.0, 0.5, 0.1]], requires_grad=True)
    weight = torch.tensor([[1.0, 2.0, -3.0], [0.5, 4.0, 1.0]])
    one_hot = straight_through(torch.log_softmax(logit, -1), gumbel((2, 3), torch.device("cpu"), generator(3)))
    assert set(one_hot.flatten().round(decimals=6).tolist()) == {0.0, 1.0}
    (through_draw,) = torch.autograd.grad((weight * one_hot).sum(), logit)
    (through_probs,) = torch.autograd.grad((weight * torch.softmax(logit, -1)).sum(), logit)
    torch.testing.assert_close(through_draw, through_probs)


def test_draws_follow_the_probabilities() -> None:
    probs = torch.tensor([[0.7, 0.2, 0.1], [0.05, 0.05, 0.9]])
    noise = gumbel((20_000, 2, 3), torch.device("cpu"), generator(1))
    frequency = straight_through(torch.log(probs).expand(20_000, 2, 3), noise).mean(dim=0)
    torch.testing.assert_close(frequency, probs, atol=0.01, rtol=0.0)


def test_noise_follows_from_its_generator() -> None:
    cpu = torch.device("cpu")
    assert torch.equal(gumbel((4, 5), cpu, generator(7)), gumbel((4, 5), cpu, generator(7)))
    assert not torch.equal(gumbel((4, 5), cpu, generator(7)), gumbel((4, 5), cpu, generator(8)))


def test_symlog_of_numbers_with_known_logarithms() -> None:
    x = torch.tensor([0.0, math.e - 1.0, -(math.e**2 - 1.0)])
    torch.testing.assert_close(symlog(x), torch.tensor([0.0, 1.0, -2.0]))


def test_symexp_undoes_symlog() -> None:
    x = torch.tensor([-1000.0, -3.5, -0.01, 0.0, 1e-4, 0.7, 12.0, 5000.0])
    torch.testing.assert_close(symexp(symlog(x)), x, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("place", "weights"),
    [
        pytest.param(0.25, [0.0, 0.0, 0.75, 0.25, 0.0], id="between two bins, in proportion to nearness"),
        pytest.param(-1.5, [0.5, 0.5, 0.0, 0.0, 0.0], id="in the middle of two bins"),
        pytest.param(1.0, [0.0, 0.0, 0.0, 1.0, 0.0], id="on a bin"),
        pytest.param(2.0, [0.0, 0.0, 0.0, 0.0, 1.0], id="on the last bin"),
        pytest.param(-2.0, [1.0, 0.0, 0.0, 0.0, 0.0], id="on the first bin"),
        pytest.param(7.0, [0.0, 0.0, 0.0, 0.0, 1.0], id="beyond the last bin"),
        pytest.param(-7.0, [1.0, 0.0, 0.0, 0.0, 0.0], id="beyond the first bin"),
    ],
)
def test_two_hot_weights(place: float, weights: list[float]) -> None:
    encoded = FIVE_BINS.encode(symexp(torch.tensor(place)))
    torch.testing.assert_close(encoded, torch.tensor(weights), atol=1e-6, rtol=0.0)


def test_two_hot_mean_gives_the_value_back() -> None:
    value = torch.tensor([-6.0, -1.0, 0.0, 0.3, 2.0, 6.3])
    logit = torch.log(FIVE_BINS.encode(value).clamp(min=1e-30))
    torch.testing.assert_close(FIVE_BINS.mean(logit), value, rtol=1e-4, atol=1e-6)


def test_an_untrained_two_hot_head_stands_for_zero() -> None:
    assert TwoHot().mean(torch.zeros(61)).item() == pytest.approx(0.0, abs=1e-6)


def test_two_hot_loss_is_the_cross_entropy_on_paper() -> None:
    logit = torch.log(torch.tensor([0.1, 0.2, 0.4, 0.2, 0.1]))
    value = symexp(torch.tensor(0.25))
    expected = -(0.75 * math.log(0.4) + 0.25 * math.log(0.2))
    assert FIVE_BINS.loss(logit, value).item() == pytest.approx(expected)
    assert FIVE_BINS.loss(torch.zeros(5), value).item() == pytest.approx(math.log(5))


def test_two_hot_loss_is_least_where_the_head_says_the_value() -> None:
    value = torch.tensor(1.3)
    right = torch.log(FIVE_BINS.encode(value) + 1e-6).requires_grad_()
    (gradient,) = torch.autograd.grad(FIVE_BINS.loss(right, value), right)
    torch.testing.assert_close(gradient, torch.zeros(5), atol=1e-4, rtol=0.0)


def test_squashed_normal_keeps_mean_and_deviation_in_their_bounds() -> None:
    mean, deviation = squashed_normal(torch.tensor([[0.5, -100.0, 0.0, 100.0], [100.0, 0.0, -100.0, 0.0]]), 0.2)
    torch.testing.assert_close(mean, torch.tensor([[math.tanh(0.5), -1.0], [1.0, 0.0]]))
    torch.testing.assert_close(deviation, torch.tensor([[0.6, 1.0], [0.2, 0.6]]))


def test_entropy_of_a_gaussian_on_paper() -> None:
    unit = 0.5 * math.log(2 * math.pi * math.e)  # 1.4189 nats
    entropy = normal_entropy(torch.tensor([[1.0, 1.0], [1.0, 0.5]]))
    torch.testing.assert_close(entropy, torch.tensor([2 * unit, 2 * unit - math.log(2)]))


def test_what_is_no_number_has_a_loss_that_is_none_and_raises_nothing() -> None:
    """Nor is it an index, which would end a CUDA context for good."""
    value = torch.tensor([math.nan, math.inf, -math.inf, 1.0])
    loss = TwoHot().loss(torch.zeros(4, 61), value)
    assert loss.isfinite().tolist() == [False, True, True, True]


def test_rows_are_drawn_out_of_those_allowed_and_all_of_them_alike() -> None:
    allowed = torch.tensor([False, True, False, False, True, True, False])
    rows = pick_rows(allowed, 3000, generator())
    counts = torch.bincount(rows, minlength=7)
    assert (counts > 0).tolist() == allowed.tolist()
    assert (counts[allowed] - 1000).abs().max() < 130  # five deviations
    assert torch.equal(rows, pick_rows(allowed, 3000, generator()))
    assert pick_rows(torch.zeros(4, dtype=torch.bool), 2, generator()).tolist() == [0, 0]
