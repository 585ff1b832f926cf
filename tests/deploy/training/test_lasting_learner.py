"""A learner that outlives its process, on real Ray: lost in whatever way, it is made anew; wrong, it ends the run."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.exceptions import RayTaskError

from actors.losses import Loss
from deploy.settings.presets import resolve
from deploy.settings.specification import stream_spec
from deploy.training import lasting_learner
from deploy.training.lasting_learner import LastingLearner, LearnerLostError
from deploy.training.learner_actor import LearnerActor
from deploy.training.plans import learner_plan
from learner.checkpoint import LearnerState

MOST_LOSSES = 2

pytestmark = pytest.mark.usefixtures("ray_here")

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the learner's path has no tests on it


class Scripted:
    """A learner that comes to grief where its state says: "method" -> how."""

    def __init__(self, script: dict[str, str]) -> None:
        self._script = script
        self._called: list[str] = []

    def _do(self, method: str) -> list[str]:
        self._called.append(method)
        how = self._script.get(method)
        if how == "segfault":
            ctypes.string_at(0)
        if how == "exit":
            os._exit(1)
        if how == "hang":
            os.kill(os.getpid(), signal.SIGSTOP)
        if how == "memory":
            raise MemoryError("Unable to allocate 7.00 TiB")
        if how == "raise":
            raise ValueError("image_size=40: allowed are multiples of 16")
        return self._called

    def ready(self) -> list[str]:
        return self._do("ready")

    def start(self) -> list[str]:
        return self._do("start")

    def status(self) -> list[str]:
        return self._do("status")


@pytest.fixture
def lasting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[LastingLearner, list[Loss]]]:
    """A learner by the scripts of its processes, one after the other; the last is for all that follow."""
    monkeypatch.setattr(lasting_learner, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(lasting_learner, "LONGEST_PAUSE_SECONDS", 0.01)

    def make(*scripts: dict[str, str]) -> tuple[LastingLearner, list[Loss]]:
        left = list(scripts)
        losses: list[Loss] = []
        actor: Any = ray.remote(Scripted)

        def start(state: LearnerState | None) -> Any:
            return actor.options(num_cpus=0).remote(left.pop(0) if len(left) > 1 else left[0])

        return LastingLearner(
            start, None, lambda: None, losses.append, tmp_path, MOST_LOSSES, lambda method: 5.0
        ), losses

    return make


@pytest.mark.parametrize(
    ("how", "cause", "reason"),
    [
        ("segfault", "died", "Fatal Python error: Segmentation fault (its log: "),
        ("exit", "died", "it was killed, or crashed without a word"),
        ("hang", "hung", "it did not answer to status for 5 s"),
        ("memory", "out_of_memory", "there was not enough memory: Unable to allocate 7.00 TiB; close other programs"),
    ],
)
def test_a_lost_learner_is_made_anew_with_all_that_had_begun(
    lasting: Callable[..., tuple[LastingLearner, list[Loss]]], how: str, cause: str, reason: str
) -> None:
    learner, losses = lasting({"status": how}, {})
    learner.begin("start")
    assert learner.call("status") == ["ready", "start", "status"]
    (loss,) = losses
    assert loss.cause == cause
    assert reason in loss.reason


def test_a_learner_that_dies_while_it_begins_again_is_lost_once_more(
    lasting: Callable[..., tuple[LastingLearner, list[Loss]]],
) -> None:
    learner, losses = lasting({"ready": "segfault"}, {"start": "exit"}, {})
    learner.begin("start")
    assert learner.call("status") == ["ready", "start", "status"]
    assert [loss.cause for loss in losses] == ["died"] * 2


def test_a_learner_that_is_lost_again_and_again_ends_the_run_with_the_last_reason(
    lasting: Callable[..., tuple[LastingLearner, list[Loss]]],
) -> None:
    learner, losses = lasting({"status": "memory"})
    with pytest.raises(LearnerLostError, match=r"lost 3 times .*: there was not enough memory: .*lower actors\.count"):
        learner.call("status")
    assert len(losses) == MOST_LOSSES


def test_a_checkpoint_ends_the_counting(lasting: Callable[..., tuple[LastingLearner, list[Loss]]]) -> None:
    learner, losses = lasting(*[{"status": "exit"}] * 2, {})
    learner.call("status")
    learner.checkpointed()
    assert learner._losses_in_a_row == 0
    assert len(losses) == 2


@pytest.mark.parametrize("method", ["ready", "start", "status"])
def test_an_error_of_its_own_code_is_told_as_it_is_and_not_tried_again(
    lasting: Callable[..., tuple[LastingLearner, list[Loss]]], method: str
) -> None:
    learner, losses = lasting({method: "raise"})
    with pytest.raises(RayTaskError, match="image_size=40: allowed are multiples of 16"):
        learner.begin("start")
        learner.call("status")
    assert losses == []


def test_a_real_learner_that_cannot_be_built_says_why_at_once(tmp_path: Path) -> None:
    """Its constructor's error would be taken for the loss of its process, and tried again and again."""
    config = resolve("reach", "debug", [])
    spec = stream_spec(config)
    wrong = LearnerState({}, {}, {"format": 0})
    losses: list[Loss] = []
    actor: Any = ray.remote(LearnerActor)

    def make(state: LearnerState | None) -> Any:
        arguments = learner_plan(config), spec.to_json(), f"unix://{tmp_path}/nowhere.sock", "run", state
        return actor.options(num_cpus=0, max_concurrency=4).remote(*arguments)

    # A real process: how long torch takes to be imported is not what is asked here.
    learner = LastingLearner(make, wrong, lambda: None, losses.append, tmp_path, MOST_LOSSES, lambda method: 100.0)
    with pytest.raises(RayTaskError, match="ValueError: learner state has format 0"):
        learner.begin("start")
    assert losses == []
