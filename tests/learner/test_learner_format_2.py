"""States of format 2 are read: one that the version before wrote lies in `format_2`, with what its networks did."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_learner import SPEC, tiny_batch, tiny_config, tiny_learner
from torch.nn.functional import one_hot

from learner import checkpoint, readout, rssm, teacher
from learner.checkpoint import LearnerState
from learner.methods.twist import TwistPolicy

HERE = Path(__file__).parent / "format_2"
SMALL: dict[str, Any] = {
    "rssm": {"deter": 8, "hidden": 8, "groups": 2, "classes": 2},
    "student": {"dynamics": "tied", "channels": (2, 2)},
}


@pytest.fixture(scope="module")
def state() -> LearnerState:
    """As it was written, with a spec of today: what a spec holds is another format's matter."""
    document = json.loads((HERE / "document.json").read_text(encoding="utf-8"))
    return checkpoint.read(HERE, document | {"spec": SPEC.to_json()})


def test_a_policy_of_format_2_acts_as_it_did(state: LearnerState, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the mode of z was acted on, where it now is z's probabilities."""
    monkeypatch.setattr(
        rssm, "drawn_or_expected", lambda log_probs, _: one_hot(log_probs.argmax(-1), log_probs.shape[-1]).float()
    )
    assert state.document["format"] == 2
    acting = TwistPolicy(SPEC, tiny_config(**SMALL))
    checkpoint.load_acting(acting, state.weights, state.document)
    batch, carry = tiny_batch(9), acting.initial(2)
    for t, expected in enumerate(state.document["actions"]):
        observed = batch["state"][:, t], batch["image"][:, t, 0]
        first, driver = np.full(2, t == 0), np.array([False, True])
        action, carry = acting.step(carry, *observed, first, driver, explore=False)
        np.testing.assert_allclose(action, expected, atol=1e-5)


def test_training_goes_on_from_format_2(state: LearnerState) -> None:
    """Each parameter has its own moments, and errors go on being averaged from the deviations that there were."""
    learner = tiny_learner(0, **SMALL)
    checkpoint.restore(learner, state)
    for name, loss, least in (
        ("teacher/state_loss", learner.teacher.state_loss, teacher.LEAST_DEVIATION),
        ("student/readout_loss", learner.student.readout_loss, readout.LEAST_DEVIATION),
    ):
        deviation = least + np.exp(state.weights[f"{name}.log_deviation"])
        np.testing.assert_allclose(loss.mean_square, deviation**2, rtol=1e-6)
        assert loss.updates.item() == 2.0
    moments = learner.optimisers["teacher"].adam.state
    for number, (name, parameter) in enumerate(learner.teacher.named_parameters()):
        before = number + (name.startswith(("reward.", "continues.")))  # those behind the deviations
        held = torch.from_numpy(state.training[f"teacher/{before}/exp_avg"])
        assert torch.equal(moments[parameter]["exp_avg"], held), name
    learner.teacher_update(tiny_batch(5, image=False))
    learner.student_update(tiny_batch(5))
    assert checkpoint.capture(learner).document["format"] == 3


def test_a_state_of_format_2_whose_deviations_are_missing_is_refused_by_name(state: LearnerState) -> None:
    lacking = {name: x for name, x in state.weights.items() if name != "teacher/state_loss.log_deviation"}
    with pytest.raises(ValueError, match=r"checkpoint's teacher/state_loss\.mean_square is missing"):
        checkpoint.restore(tiny_learner(0, **SMALL), dataclasses.replace(state, weights=lacking))
