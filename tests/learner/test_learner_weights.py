from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from tiny_learner import same_bits, snapshot, tiny_learner
from torch import nn

from learner.weights import flatten, load_flat


def make_modules(seed: int) -> tuple[nn.Module, nn.Module]:
    """With a buffer and a scalar among the parameters."""
    torch.manual_seed(seed)
    first, second = nn.Linear(3, 2), nn.Module()
    second.register_buffer("count", torch.tensor(float(seed)))
    second.register_parameter("bias", nn.Parameter(torch.randn(4)))
    return first, second


def test_the_order_is_that_of_the_modules() -> None:
    first, second = make_modules(5)
    flat = flatten((first, second))
    assert flat.dtype == np.float32
    assert flat.shape == (6 + 2 + 4 + 1,)
    assert np.array_equal(flat[:6], first.get_parameter("weight").detach().numpy().ravel())
    assert np.array_equal(flat[8:12], second.get_parameter("bias").detach().numpy())
    assert flat[12] == 5.0
    assert not np.array_equal(flat, flatten((second, first)))


def test_round_trip_is_exact() -> None:
    source, target = make_modules(1), make_modules(2)
    load_flat(target, flatten(source))
    assert same_bits(snapshot(*target), snapshot(*source))


def test_round_trip_of_a_whole_learner() -> None:
    source, target = tiny_learner(1), tiny_learner(2)
    load_flat(target.modules.values(), flatten(source.modules.values()))
    assert same_bits(snapshot(*target.modules.values()), snapshot(*source.modules.values()))


def test_a_read_only_array_as_it_comes_out_of_shared_memory() -> None:
    source, target = make_modules(1), make_modules(2)
    flat = flatten(source)
    flat.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch only warns when it is handed read-only memory as its own
        load_flat(target, flat)
    with torch.no_grad():
        target[0].get_parameter("weight").zero_()  # the modules must not share memory with the array
    assert np.array_equal(flat, flatten(source))


def test_a_writable_array_is_copied_too() -> None:
    source, target = make_modules(1), make_modules(2)
    flat = flatten(source)
    load_flat(target, flat)
    flat[:] = 0.0
    assert same_bits(snapshot(*target), snapshot(*source))


@pytest.mark.parametrize("shape", [(12,), (14,), (13, 1), (0,)])
def test_another_length_is_refused_before_anything_is_changed(shape: tuple[int, ...]) -> None:
    modules = make_modules(1)
    before = snapshot(*modules)
    with pytest.raises(ValueError, match=rf"weights of shape \({shape[0]},.*\) do not fit a model of 13 values"):
        load_flat(modules, np.zeros(shape, np.float32))
    assert same_bits(snapshot(*modules), before)
