"""Chunks cut into sequences: every row is there once, in order, and padding is marked as in a chunk."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from tiny_learner import SPEC, B, T, tiny_batch, tiny_config, tiny_learner

from learner.learner import Learner
from learner.sequences import cut


def tensors(views: int = 1) -> dict[str, torch.Tensor]:
    return {name: torch.as_tensor(array) for name, array in tiny_batch(views=views, image=False).items()}


@pytest.mark.parametrize("length", [1, 2, 3, T - 1])
def test_every_row_is_there_once_and_in_order(length: int) -> None:
    whole = tensors()
    pieces = cut(whole, length)
    per_chunk = -(-T // length)
    assert pieces["state"].shape[:2] == (B * per_chunk, length)
    for name in ("state", "action", "reward", "is_terminal"):
        joined = pieces[name].reshape(B, per_chunk * length, *whole[name].shape[2:])
        assert torch.equal(joined[:, :T], whole[name])


def test_the_padding_is_not_valid_and_begins_with_a_first_row() -> None:
    length = T - 1
    pieces = cut(tensors(), length)
    last = pieces["valid"].reshape(B, 2, length)[:, 1]
    assert last[:, 0].all() and not last[:, 1:].any()
    assert pieces["is_first"].reshape(B, 2, length)[:, 1, 1].all()


@pytest.mark.parametrize("length", [0, T, T + 5])
def test_a_length_of_zero_or_of_the_chunk_cuts_nothing(length: int) -> None:
    whole = tensors()
    assert cut(whole, length) is whole


def test_a_sequence_that_is_cut_knows_nothing_of_the_rows_before_it() -> None:
    learner = tiny_learner()
    whole, changed = tensors(), tensors()
    changed["state"][:, 0] = changed["state"].roll(1, dims=0)[:, 0]

    def second_halves(batch: dict[str, torch.Tensor]) -> torch.Tensor:
        pieces = cut(batch, T // 2)
        generator = torch.Generator().manual_seed(3)
        seen = learner.teacher.observe(pieces, generator)
        return seen.latent.deter.reshape(B, -1, T // 2, seen.latent.deter.shape[-1])[:, 1]

    assert torch.equal(second_halves(whole), second_halves(changed))


def test_the_teacher_learns_from_sequences() -> None:
    learner = Learner(SPEC, dataclasses.replace(tiny_config(), sequence_length=2), seed=0)
    losses = learner.teacher_update(tiny_batch())
    assert all(torch.isfinite(value).all() for value in losses.values())
