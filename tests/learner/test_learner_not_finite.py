"""What is not finite moves nothing, is counted, ends the learner after a few in a row, and never leaves it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from tiny_learner import Batch, TwistLearner, same_bits, snapshot, tiny_batch, tiny_learner

from learner import checkpoint
from learner.tally import MOST_IN_A_ROW, NotFiniteError, Tally

CPU = torch.device("cpu")


def spoilt(seed: int, kind: str) -> Batch:
    """A batch with one number that is none, of a kind that the update reads."""
    batch = tiny_batch(seed, image=kind == "student")
    batch["state"][1, 2, 0] = math.nan
    if kind == "student":
        batch["state_at_exposure"][1, 2, 0] = math.nan
    return batch


def update(learner: TwistLearner, kind: str, batch: Batch) -> None:
    (learner.teacher_update if kind == "teacher" else learner.student_update)(batch)


def weights(learner: TwistLearner) -> list[torch.Tensor]:
    """All but the range of returns, which takes in what of an imagination is finite."""
    return snapshot(*(module for name, module in learner.modules.items() if name != "span"))


@pytest.mark.parametrize("kind", ["teacher", "student"])
def test_a_skipped_update_moves_nothing_and_the_next_one_goes_on(kind: str) -> None:
    learner = tiny_learner(student={"average_rate": 1.0})
    update(learner, kind, tiny_batch(0, image=kind == "student"))
    before = weights(learner)
    moments = {name: x for name, x in checkpoint.capture(learner).training.items() if "generator" not in name}
    update(learner, kind, spoilt(1, kind))
    after = checkpoint.capture(learner).training
    assert all(np.array_equal(after[name], x) for name, x in moments.items())
    assert same_bits(weights(learner), before)
    assert all(np.isfinite(x).all() for x in checkpoint.capture(learner).weights.values())
    update(learner, kind, tiny_batch(2, image=kind == "student"))
    assert not same_bits(weights(learner), before)
    report = learner.report(kind)
    assert report["skipped"] == 1.0
    assert all(math.isfinite(value) for value in report.values())


def test_means_are_those_of_the_updates_that_counted() -> None:
    tally = Tally("teacher", CPU)
    for value, refused in ((1.0, 0.0), (math.nan, 1.0), (4.0, 0.0)):
        tally.add({"loss_state": torch.tensor(value)}, torch.tensor(refused))
    assert tally.means(tally.take()) == {"loss_state": 2.5, "skipped": 1.0}
    tally.add({"loss_state": torch.tensor(7.0)}, torch.tensor(0.0))
    assert tally.means(tally.take()) == {"loss_state": 7.0, "skipped": 1.0}


def test_a_few_in_a_row_end_it_with_one_line_that_says_what_and_since_when() -> None:
    tally = Tally("student", CPU)
    tally.begin(10)
    good = {"loss_deter": torch.tensor(1.0), "loss_readout": torch.tensor(1.0), "gradient_norm": torch.tensor(1.0)}
    bad = good | {"loss_readout": torch.tensor(math.inf), "gradient_norm": torch.tensor(math.nan)}
    tally.add(good, torch.tensor(0.0))
    for _ in range(MOST_IN_A_ROW):
        tally.add(bad, torch.tensor(1.0))
    tally.means(tally.take())  # not yet
    tally.add(bad, torch.tensor(1.0))
    message = (
        "student: loss_readout not finite since update 12; 5 updates in a row were skipped, the last good one is "
        "update 11"
    )
    for _ in range(2):  # it stays so
        with pytest.raises(NotFiniteError, match=f"^{message}$"):
            tally.means(tally.take())
    tally.add(good, torch.tensor(0.0))
    assert tally.means(tally.take())["skipped"] == 5.0


@pytest.mark.parametrize("kind", ["teacher", "student"])
def test_a_step_size_far_too_large_is_told(kind: str) -> None:
    settings: dict[str, Any] = {kind: {"learning_rate": 1e30}}
    learner = tiny_learner(**settings)
    for seed in range(MOST_IN_A_ROW + 3):
        update(learner, kind, tiny_batch(seed, image=kind == "student"))
    with pytest.raises(NotFiniteError, match=rf"{kind}: loss_\w+.* not finite since update [123]; "):
        learner.report(kind)


def test_weights_that_are_not_finite_leave_the_learner_in_no_way() -> None:
    learner = tiny_learner()
    with torch.no_grad():
        learner.policy.net.output.bias[0] = math.nan
    with pytest.raises(NotFiniteError, match=r"policy/net\.output\.bias is not finite"):
        checkpoint.capture(learner)
    with pytest.raises(NotFiniteError, match=r"policy/net\.output\.bias is not finite"):
        checkpoint.capture_acting(learner)
    with pytest.raises(NotFiniteError, match="the weights after 0 updates are not finite; no actor gets them"):
        learner.publish()


def test_moments_that_are_not_finite_are_not_written() -> None:
    learner = tiny_learner()
    learner.student_update(tiny_batch())
    optimiser = learner.optimisers["student"]
    optimiser.adam.state[optimiser.parameters[0]]["exp_avg"].fill_(math.inf)
    with pytest.raises(NotFiniteError, match="student/0/exp_avg is not finite"):
        checkpoint.capture(learner)
