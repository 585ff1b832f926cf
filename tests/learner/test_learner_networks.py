from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from learner.networks import (
    ERROR_RATE,
    MLP,
    GaussianLoss,
    ImageEncoder,
    NormGRUCell,
    copy_parameters,
    frozen_parameters,
    masked_mean,
    squared_error,
)
from learner.optimiser import Optimiser


def test_squared_error_is_summed_over_the_last_dimension() -> None:
    a, b = torch.tensor([[1.0, 2.0], [0.0, -1.0]]), torch.tensor([[4.0, -2.0], [0.0, -1.0]])
    assert squared_error(a, b).tolist() == [25.0, 0.0]


def test_masked_mean_ignores_padded_steps() -> None:
    loss = torch.tensor([[1.0, 2.0, 3.0], [5.0, 1e6, -1e6]])
    valid = torch.tensor([[True, True, True], [True, False, False]])
    assert masked_mean(loss, valid).item() == pytest.approx(11.0 / 4.0)
    assert masked_mean(loss, torch.zeros_like(valid)).item() == 0.0


def test_no_gradient_reaches_a_padded_step() -> None:
    loss = torch.ones(1, 2, requires_grad=True)
    masked_mean(loss, torch.tensor([[True, False]])).backward()
    assert loss.grad is not None
    assert loss.grad.tolist() == [[1.0, 0.0]]


def test_an_output_scale_of_zero_makes_the_first_outputs_zero() -> None:
    assert MLP(3, 8, 2, output_scale=0.0)(torch.randn(4, 5, 3)).abs().max().item() == 0.0
    assert MLP(3, 8, 2)(torch.randn(4, 5, 3)).shape == (4, 5, 2)


def test_a_cell_that_has_learnt_nothing_remembers_most() -> None:
    cell = NormGRUCell(2, 3)
    nn.init.zeros_(cell.linear.weight)
    before = torch.tensor([[1.0, -0.5, 0.25]])
    kept = 1.0 - 1.0 / (1.0 + math.e)  # the update gate is sigmoid(0 - 1), the candidate tanh(0)
    torch.testing.assert_close(cell(torch.ones(1, 2), before), before * kept)


def test_the_cell_on_paper() -> None:
    cell = NormGRUCell(1, 1)
    with torch.no_grad():
        cell.linear.weight.zero_()
        cell.norm.bias.copy_(torch.tensor([0.3, 0.8, 1.5]))  # reset, candidate, update
    update = 1.0 / (1.0 + math.exp(-0.5))
    candidate = math.tanh(0.8 / (1.0 + math.exp(-0.3)))
    after = cell(torch.zeros(1, 1), torch.tensor([[0.4]]))
    assert after.item() == pytest.approx(update * candidate + (1.0 - update) * 0.4)


def test_the_image_encoder_takes_any_leading_dimensions() -> None:
    encoder = ImageEncoder((16, 16, 3), (4, 8), 10)
    image = torch.randint(0, 256, (2, 3, 16, 16, 3), dtype=torch.uint8)
    embed = encoder(image)
    assert embed.shape == (2, 3, 10)
    torch.testing.assert_close(encoder(image[1, 2]), embed[1, 2])


def test_the_image_encoder_leaves_its_input_alone() -> None:
    image = torch.randint(0, 256, (1, 16, 16, 3), dtype=torch.uint8)
    before = image.clone()
    ImageEncoder((16, 16, 3), (4,), 10)(image)
    assert torch.equal(image, before)


def test_pixels_are_seen_between_minus_one_and_one() -> None:
    encoder = ImageEncoder((2, 2, 1), (1,), 4)
    seen: list[torch.Tensor] = []
    encoder.body.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    encoder(torch.tensor([[[0], [255]], [[51], [204]]], dtype=torch.uint8))
    torch.testing.assert_close(seen[0], torch.tensor([[[[-1.0, 1.0], [-0.6, 0.6]]]]))


def test_an_image_that_cannot_be_halved_is_refused() -> None:
    with pytest.raises(ValueError, match=r"20x16 pixels cannot be halved 3 times; allowed: multiples of 8"):
        ImageEncoder((20, 16, 3), (4, 8, 8), 10)


def test_parameters_are_copied_with_their_buffers_and_cast() -> None:
    source, target = nn.BatchNorm1d(3), nn.BatchNorm1d(3).to(torch.bfloat16)
    with torch.no_grad():
        source.weight.fill_(0.5)
        source.running_mean.fill_(2.0)  # type: ignore[union-attr]
    copy_parameters(source, target)
    assert target.weight.dtype == torch.bfloat16
    assert target.weight.tolist() == [0.5] * 3
    assert target.running_mean.tolist() == [2.0] * 3  # type: ignore[union-attr]


def test_the_optimiser_clips_and_tells_the_norm_before() -> None:
    layer = nn.Linear(2, 1, bias=False)
    optimiser = Optimiser(layer, learning_rate=0.1, gradient_norm=1.0)
    norm = optimiser.backward((layer.weight * torch.tensor([[3.0, 4.0]])).sum())
    assert norm.item() == pytest.approx(5.0)
    assert layer.weight.grad is not None
    torch.testing.assert_close(layer.weight.grad, torch.tensor([[0.6, 0.8]]), atol=1e-5, rtol=0.0)


def test_the_first_step_of_adam_is_the_learning_rate_against_the_gradient() -> None:
    layer = nn.Linear(2, 1, bias=False)
    nn.init.zeros_(layer.weight)
    optimiser = Optimiser(layer, learning_rate=0.1, gradient_norm=100.0)
    optimiser.backward((layer.weight * torch.tensor([[3.0, -4.0]])).sum())
    optimiser.step()
    torch.testing.assert_close(layer.weight.detach(), torch.tensor([[-0.1, 0.1]]))


def test_gradients_of_the_update_before_are_forgotten() -> None:
    layer = nn.Linear(1, 1, bias=False)
    optimiser = Optimiser(layer, learning_rate=0.1, gradient_norm=100.0)
    norms = [optimiser.backward(layer.weight.sum()).item() for _ in range(3)]
    assert norms == pytest.approx([1.0, 1.0, 1.0])


def test_where_one_optimiser_of_an_update_has_refused_those_that_share_it_refuse_and_none_after_it() -> None:
    layers, refused = [nn.Linear(1, 1, bias=False) for _ in range(2)], torch.zeros(())
    first, second = (Optimiser(layer, 0.1, 100.0, refused) for layer in layers)
    moved = []
    for wrong in (False, True, False):
        refused.zero_()
        before = [layer.weight.item() for layer in layers]
        first.backward(layers[0].weight.sum() * (math.nan if wrong else 1.0))
        second.backward(layers[1].weight.sum())
        for optimiser in (first, second):
            optimiser.step()
        moved.append([layer.weight.item() != x for layer, x in zip(layers, before, strict=True)])
    assert moved == [[True, True], [False, False], [True, True]]


def test_the_optimiser_leaves_frozen_parameters_out() -> None:
    pair = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
    frozen_parameters(pair[0])
    optimiser = Optimiser(pair, learning_rate=0.1, gradient_norm=1.0)
    assert [id(x) for x in optimiser.parameters] == [id(x) for x in pair[1].parameters()]


def test_each_dimension_is_judged_by_the_deviation_that_fits_its_errors() -> None:
    """Errors of 0.2 and 1: under a Gaussian of these deviations they are likeliest."""
    loss, errors, every = GaussianLoss(2, least=0.1), torch.tensor([[0.2, 1.0], [-0.2, -1.0]]), torch.ones(2).bool()
    loss.take_in(errors, torch.zeros(2, 2), every)
    torch.testing.assert_close(loss.mean_square, torch.tensor([0.04, 1.0]))
    expected = math.log(0.2) + math.log(1.0) + 2 * 0.5
    torch.testing.assert_close(loss(errors, torch.zeros(2, 2)), torch.full((2,), expected))
    assert list(loss.parameters()) == []


def test_errors_of_the_first_batches_are_averaged_and_those_of_later_ones_outweigh_older_ones() -> None:
    """The first is taken as it is, the second counts half, and so on; after 1 / ERROR_RATE each by that share."""
    loss, every = GaussianLoss(1, least=0.1), torch.ones(1).bool()
    for error, mean in ((1.0, 1.0), (3.0, 5.0), (0.0, 10.0 / 3)):
        loss.take_in(torch.full((1, 1), error), torch.zeros(1, 1), every)
        assert loss.mean_square.item() == pytest.approx(mean)
    loss.updates.fill_(1e6)
    loss.take_in(torch.full((1, 1), 2.0), torch.zeros(1, 1), every)
    assert loss.mean_square.item() == pytest.approx(10.0 / 3 + ERROR_RATE * (4.0 - 10.0 / 3))


def test_neither_padding_nor_what_is_not_finite_enters_the_mean_of_errors() -> None:
    loss = GaussianLoss(1, least=0.1)
    loss.take_in(torch.tensor([[2.0], [9.0]]), torch.zeros(2, 1), torch.tensor([True, False]))
    assert loss.mean_square.item() == 4.0
    for bad in (math.nan, math.inf):
        loss.take_in(torch.tensor([[bad], [1.0]]), torch.zeros(2, 1), torch.ones(2).bool())
    assert (loss.mean_square.item(), loss.updates.item()) == (4.0, 1.0)


def test_no_deviation_falls_below_the_least() -> None:
    loss = GaussianLoss(1, least=0.1)
    loss.take_in(torch.zeros(1, 1), torch.zeros(1, 1), torch.ones(1).bool())
    assert loss(torch.zeros(1, 1), torch.zeros(1, 1)).item() == pytest.approx(math.log(0.1))


def test_a_stem_of_patches_takes_two_halvings_at_once() -> None:
    encoder = ImageEncoder((16, 32, 3), (4, 8, 16), 10, "patches")
    image = torch.randint(0, 256, (2, 5, 16, 32, 3), dtype=torch.uint8)
    embed = encoder(image)
    assert embed.shape == (2, 5, 10)
    torch.testing.assert_close(encoder(image[1, 2]), embed[1, 2])
    kernels = [tuple(layer.kernel_size) for layer in encoder.body if isinstance(layer, torch.nn.Conv2d)]
    assert kernels == [(4, 4), (4, 4)]
    patch = image.clone()
    patch[..., :4, :4, :] = 0  # one patch of the first layer's output, and no other
    first = encoder.body[0]

    def seen(pixels: torch.Tensor) -> torch.Tensor:
        shown: torch.Tensor = first(pixels.flatten(0, 1).permute(0, 3, 1, 2).float())
        return shown

    moved = (seen(patch) - seen(image)).abs().sum(1) > 0
    assert moved[:, 0, 0].all() and not moved.flatten(1)[:, 1:].any()


def test_a_stem_of_patches_with_one_layer_is_refused() -> None:
    with pytest.raises(ValueError, match=r"channels are \(4,\): stem patches needs two or more"):
        ImageEncoder((16, 16, 3), (4,), 10, "patches")
