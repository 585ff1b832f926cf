"""Updates can be captured: what a replay of them does is what they would do, though no Python runs in it."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from tape import Tape
from tiny_learner import SPEC, Batch, TwistLearner, config_of, left_free, same_bits, snapshot, tiny_batch, tiny_learner

from learner import checkpoint
from learner.graphs import WARM_UP, Lane, Update
from learner.learner import Learner
from learner.methods import METHODS
from learner.methods.part import STATES, UNREWARDED_PAIRS

STUDENTS: dict[str, dict[str, Any]] = {
    "tied, with a falling step size": {"dynamics": "tied", "refresh_updates": 2, "decay_updates": 6},
    "scratch, fed the teacher's z": {"dynamics": "scratch", "feed": "teacher", "average_rate": 0.2},
    "frames": {"frames": 6, "frame_pool": 25, "shift_pixels": 1, "encoder_share": 0.0},
    "no readout, no imagination": {"readout_scale": 0.0, "imagination_scale": 0.0},
}
UPDATES = 7


class Taped:
    """Stands for the graph inside `Update`: the first call is noted, later ones are replays on the same memory."""

    def __init__(self, function: Any) -> None:
        self.function, self.tape = function, None
        self.batch: dict[str, torch.Tensor] = {}

    def __call__(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        if self.tape is None:
            self.batch = {name: x.clone() for name, x in batch.items()}
            self.tape = Tape()
            with self.tape:
                self.result = self.function(self.batch)
            return self.result
        for name, x in batch.items():
            self.batch[name].copy_(x)
        self.tape.replay()
        return self.result


def batches(count: int) -> list[Batch]:
    made = []
    for seed in range(count):
        batch = tiny_batch(seed)
        batch["valid"][seed % 2, 3 + seed % 2 :] = False  # rows that count differ in number
        made.append(batch)
    return made


def train(learner: TwistLearner, made: list[Batch]) -> list[dict[str, float]]:
    metrics = []
    for batch in made:
        for scalars in (learner.teacher_update(batch), learner.student_update(batch)):
            metrics.append({name: value.item() for name, value in scalars.items()})
    return metrics


@pytest.mark.parametrize("student", STUDENTS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_replayed_updates_give_the_numbers_of_called_ones(student: str, precision: str) -> None:
    results = []
    for taped in (False, True):
        learner = tiny_learner(precision=precision, student=STUDENTS[student])
        metrics = train(learner, batches(1))  # warm: optimisers have their moments
        if taped:
            for run in learner._runs.values():
                run.update._function = Taped(run.update._function)
        metrics += train(learner, batches(UPDATES)[1:])
        reports = [learner.report(name) for name in ("teacher", "student")]
        moments = checkpoint.capture(learner).training
        results.append((metrics, reports, snapshot(*learner.modules.values()), moments))
    called, replayed = results
    assert replayed[0] == called[0]
    assert replayed[1] == called[1]
    assert same_bits(replayed[2], called[2])
    assert all(np.array_equal(replayed[3][name], x) for name, x in called[3].items())


@pytest.mark.parametrize("method", [name for name in METHODS if name != "twist"])
@pytest.mark.parametrize("frames", [0, 6])
def test_replayed_updates_of_every_method_give_the_numbers_of_called_ones(method: str, frames: int) -> None:
    results = []
    for taped in (False, True):
        own = ("gripper_*",) if frames else ()
        free = left_free(method, shift_pixels=1)
        config = config_of(method, proprioception=own, frames=frames, refresh_updates=2, **free)
        learner = Learner(SPEC, config, 0)
        made = batches(UPDATES)
        for number, batch in enumerate(made):
            if taped and number == 1:  # warm: optimisers have their moments
                for run in learner._runs.values():
                    run.update._function = Taped(run.update._function)
            for name in learner.updates:
                learner.update(name, batch)
        reports = [learner.report(name) for name in learner.updates]
        results.append((reports, snapshot(*learner.modules.values())))
    assert results[0][0] == results[1][0]
    assert same_bits(results[0][1], results[1][1])


def test_a_replayed_update_that_is_not_finite_moves_nothing_and_is_counted() -> None:
    learner = tiny_learner()
    train(learner, batches(1))
    update = learner._runs["student"].update
    update._function = Taped(update._function)
    learner.student_update(tiny_batch(1))
    before = snapshot(learner.student)
    spoilt = tiny_batch(2)
    spoilt["state"][0, 0, 0] = spoilt["state_at_exposure"][0, 0, 0] = np.nan
    learner.student_update(spoilt)
    assert same_bits(snapshot(learner.student), before)
    learner.student_update(tiny_batch(3))
    assert not same_bits(snapshot(learner.student), before)
    assert learner.report("student")["skipped"] == 1.0


def test_an_update_reads_of_a_batch_what_is_sent_to_its_device_and_no_more() -> None:
    learner = tiny_learner(student={"frames": 6})
    for update, names in ((learner.teacher_update, STATES), (learner.student_update, UNREWARDED_PAIRS)):
        update({name: tiny_batch()[name] for name in names})
        for name in names:
            with pytest.raises(KeyError, match=name):
                update({other: tiny_batch()[other] for other in names if other != name})


def test_on_a_cpu_an_update_is_called_each_time() -> None:
    calls = []
    lane = Lane(torch.device("cpu"))

    def function(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        calls.append(batch)
        return batch

    learner = tiny_learner()
    update = Update(function, lane, learner._lock, [], captured=True)
    for _ in range(WARM_UP + 2):
        update({})
    assert len(calls) == WARM_UP + 2


class Stream(Lane):
    """A lane that is asynchronous, on a GPU that is not there: what is asked of it is noted."""

    asked: list[str]

    def __init__(self, device: torch.device) -> None:
        self.device, self.asynchronous, self.asked = device, True, []

    def entered(self) -> AbstractContextManager[None]:
        return nullcontext()

    def synchronize(self) -> None:
        self.asked.append("synchronize")

    def follow(self, other: Lane) -> None:
        self.asked.append("follow")

    def event(self) -> None:
        return None

    def capture(self, graph: object) -> AbstractContextManager[None]:
        self.asked.append("capture")
        return nullcontext()


class Graph:
    """Stands for `torch.cuda.CUDAGraph`."""

    def __init__(self) -> None:
        self.generators: list[torch.Generator] = []
        self.replayed_under_lock: list[bool] = []

    def register_generator_state(self, generator: torch.Generator) -> None:
        self.generators.append(generator)

    def replay(self) -> None:
        self.replayed_under_lock.append(LOCK._is_owned())  # type: ignore[attr-defined]


LOCK = threading.RLock()


def test_an_update_is_called_a_few_times_then_captured_once_and_replayed_under_the_lock(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graphs: list[Graph] = []
    monkeypatch.setattr("torch.cuda.CUDAGraph", lambda: graphs.append(Graph()) or graphs[-1], raising=False)
    calls: list[bool] = []
    lane, generator = Stream(torch.device("cpu")), torch.Generator()

    def function(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        calls.append(bool(graphs))
        return {"loss": torch.zeros(())}

    update = Update(function, lane, LOCK, [generator], captured=True)
    results = [update({})["loss"] for _ in range(WARM_UP + 3)]
    assert calls == [False] * WARM_UP + [True]
    assert graphs[0].generators == [generator]
    assert graphs[0].replayed_under_lock == [True] * 3
    assert results[WARM_UP] is results[-1]  # in place
    assert lane.asked == ["capture"]
    update.forget()
    for _ in range(WARM_UP + 1):
        update({})
    assert len(graphs) == 2
    assert not LOCK._is_owned()  # type: ignore[attr-defined]


def test_copies_of_the_weights_wait_for_both_loops_and_both_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("learner.learner.Lane", Stream)
    learner = tiny_learner()
    teacher, student = (learner._runs[name].lane for name in ("teacher", "student"))
    assert isinstance(teacher, Stream) and isinstance(student, Stream)
    for copy in (learner.follower.refresh, learner.publish):
        teacher.asked.clear()
        student.asked.clear()
        copy()
        assert (student.asked, teacher.asked) == (["follow"], ["follow"])
    for pause in (learner.paused, learner.weights_held):
        teacher.asked.clear()
        with pause():
            assert teacher.asked == ["synchronize"]
