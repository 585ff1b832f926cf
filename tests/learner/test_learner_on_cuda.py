"""What only a GPU can tell. `test_learner_cuda` tells the rest, without one."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from tiny_learner import SPEC, TwistLearner, same_bits, snapshot, tiny_batch, tiny_config, tiny_learner

from learner import checkpoint
from learner.graphs import WARM_UP
from learner.loops import Loop, LoopThread
from learner.methods.twist import TwistPolicy

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

STUDENTS: dict[str, dict[str, Any]] = {
    "tied": {"dynamics": "tied", "refresh_updates": 2, "decay_updates": 10},
    "scratch": {"dynamics": "scratch", "feed": "teacher"},
    "frames": {"frames": 6, "frame_pool": 25, "shift_pixels": 1, "encoder_share": 0.0},
}
UPDATES = WARM_UP + 4


def updates(learner: TwistLearner, first: int, count: int) -> list[dict[str, float]]:
    metrics = []
    for seed in range(first, first + count):
        for scalars in (
            learner.teacher_update(tiny_batch(seed, image=False)),
            learner.student_update(tiny_batch(seed)),
        ):
            torch.cuda.synchronize()  # they are computed in a stream of the loop's own
            metrics.append({name: value.item() for name, value in scalars.items()})
    return metrics


@pytest.mark.parametrize("student", STUDENTS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_captured_updates_give_the_numbers_of_eager_ones(student: str, precision: str) -> None:
    results = []
    for graphs in ("off", "auto"):
        learner = tiny_learner(device="cuda", precision=precision, graphs=graphs, student=STUDENTS[student])
        results.append((updates(learner, 0, UPDATES), learner.publish()[0], learner.report("student")))
    for eager, captured in zip(results[0][0], results[1][0], strict=True):
        assert captured == pytest.approx(eager, rel=1e-4, abs=1e-5)
    np.testing.assert_allclose(results[1][1], results[0][1], rtol=1e-3, atol=1e-5)
    assert results[1][2] == pytest.approx(results[0][2], rel=1e-4, abs=1e-5)


def test_captured_updates_draw_anew_each_time() -> None:
    """The generators go on between replays: the same batch gives other numbers."""
    learner = tiny_learner(device="cuda", graphs="auto", student={"learning_rate": 0.0})
    seen = set()
    for _ in range(UPDATES):
        learner.student_update(tiny_batch())
        seen.add(learner.report("student")["loss_posterior"])
    assert len(seen) == UPDATES


def test_a_captured_update_that_is_not_finite_moves_nothing() -> None:
    learner = tiny_learner(device="cuda", graphs="auto")
    for _ in range(UPDATES):
        learner.teacher_update(tiny_batch(image=False))
    with learner.paused():
        before = snapshot(learner.teacher, learner.policy)
    spoilt = tiny_batch(image=False)
    spoilt["state"][0, 1, 0] = np.nan
    learner.teacher_update(spoilt)
    torch.cuda.synchronize()
    assert same_bits(snapshot(learner.teacher, learner.policy), before)
    assert learner.report("teacher")["skipped"] == 1.0


def test_a_checkpoint_goes_from_cpu_to_cuda_and_back() -> None:
    here = tiny_learner(1)
    updates(here, 0, 2)
    there = tiny_learner(1, device="cuda", graphs="auto")
    checkpoint.restore(there, checkpoint.capture(here))
    assert same_bits([x.cpu() for x in snapshot(there.teacher, there.student)], snapshot(here.teacher, here.student))
    updates(there, 2, UPDATES)
    with there.paused():
        state = checkpoint.capture(there)
    back = tiny_learner(1)
    checkpoint.restore(back, state)
    updates(back, 0, 1)
    assert tuple(back.updates.values()) == (UPDATES + 3, UPDATES + 3)
    checkpoint.restore(there, state)  # in place of what was captured
    updates(there, 0, UPDATES)


@pytest.mark.parametrize("graphs", ["off", "auto"])
def test_two_loops_at_once_and_what_is_taken_from_them_meanwhile(graphs: str) -> None:
    learner = tiny_learner(device="cuda", precision="bfloat16", graphs=graphs, student=STUDENTS["tied"])

    class Endless:
        def sample(self, timeout_s: float) -> Any:
            return tiny_batch(int(np.random.default_rng().integers(50)))

        def await_sample(self, timeout_s: float) -> bool:
            return True

        def record_sampled(self, rows: int) -> None:
            pass

    threads = [
        LoopThread(Loop(name, update, partial(learner.report, name), Endless(), Endless(), lambda: 1), threads=1)
        for name, update in (("teacher", learner.teacher_update), ("student", learner.student_update))
    ]
    for thread in threads:
        thread.start()
    acting = TwistPolicy(SPEC, tiny_config(student=STUDENTS["tied"]))
    for _ in range(30):
        acting.load(*learner.publish())
        # One moment's: the student's recurrence is the teacher's as it was at a refresh, and finite.
        assert all(x.isfinite().all() for x in snapshot(*acting.modules))
        checkpoint.capture_acting(learner)
        with learner.paused():
            checkpoint.capture(learner)
        for thread in threads:
            thread.loop.report()
            thread.check()
    for thread in threads:
        thread.stop()
        thread.check()
