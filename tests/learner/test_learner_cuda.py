"""What must hold for CUDA, found out without a GPU: the types its autocast gives, the devices, and nothing to wait for.

Two ways, as neither sees all: real numbers on the CPU with the types of CUDA's autocast, through backward passes and
steps; and tensors without numbers that take themselves to be on a GPU. See `cuda_autocast` and `fake_cuda`.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import fake_cuda
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cuda_autocast import BFLOAT16, FLOAT32, WIDEST, CudaAutocast, cuda_autocast_operators
from fake_cuda import Waits
from tiny_learner import SPEC, Batch, TwistLearner, config_of, left_free, tiny_batch, tiny_config, tiny_learner

from learner import checkpoint
from learner.acting import acting_policy
from learner.learner import Learner
from learner.methods import METHODS
from learner.methods.twist import TwistPolicy

needs_fake_cuda = pytest.mark.skipif(bool(fake_cuda.missing()), reason=fake_cuda.missing() or "there can be one")

PRECISIONS = ("float32", "bfloat16")
STUDENTS: dict[str, dict[str, Any]] = {
    "scratch": {"dynamics": "scratch"},
    "teacher_init": {"dynamics": "teacher_init"},
    "tied": {"dynamics": "tied"},
    "fed the teacher's z": {"dynamics": "tied", "feed": "teacher"},
    "guided": {"dynamics": "tied", "posterior": "read", "frames": 6, "encoder_share": 0.5},
    "frames": {"frames": 6, "frame_pool": 8, "shift_pixels": 1, "encoder_share": 0.0},
    "frames and a share of the gradient": {"frames": 6, "frame_pool": 50, "encoder_share": 0.5},
    "no frames, no gradient of other terms": {"encoder_share": 0.0, "shift_pixels": 2},
    "no readout": {"readout_scale": 0.0},
    "no imagination": {"imagination_scale": 0.0},
    "a falling step size": {"decay_updates": 3, "refresh_updates": 2},
}


def short(length: int) -> Batch:
    """A teacher's batch of sequences shorter than a chunk."""
    return {
        name: array[:, :length].copy() if array.ndim > 1 else array for name, array in tiny_batch(image=False).items()
    }


def train(learner: TwistLearner, views: int, updates: int = 1, length: int = SPEC.chunk_length) -> None:
    for seed in range(updates):
        learner.teacher_update(short(length))
        learner.student_update(tiny_batch(seed, views=views))


@pytest.mark.parametrize(("student", "views"), [*((student, 1) for student in STUDENTS), ("tied", 2), ("frames", 2)])
def test_updates_hold_the_types_that_cuda_s_autocast_gives_them(student: str, views: int) -> None:
    learner = tiny_learner(precision="bfloat16", student=STUDENTS[student])
    with CudaAutocast(), Waits() as waits:
        train(learner, views)
    assert all(np.isfinite(x).all() for x in checkpoint.module_arrays(learner.modules).values())
    assert [x for x in waits.on_any_device if "_local_scalar_dense" in x or "nonzero" in x] == []


@needs_fake_cuda
@pytest.mark.parametrize(
    ("student", "precision", "views"),
    [
        *((student, "bfloat16", 1 + k % 2) for k, student in enumerate(STUDENTS)),
        *(("tied", precision, views) for precision in PRECISIONS for views in (1, 2)),
        ("frames", "float32", 2),
    ],
)
def test_an_update_on_cuda_mixes_no_devices_and_waits_for_nothing(student: str, precision: str, views: int) -> None:
    with fake_cuda.fake_cuda() as waits:
        learner = tiny_learner(device="cuda", precision=precision, student=STUDENTS[student])
        train(learner, views)  # warm now
        waits.seen.clear()
        train(learner, views)
        assert {x.device for module in learner.modules.values() for x in module.state_dict().values()} == {
            torch.device("cuda:0")
        }
    assert waits.seen == []


@needs_fake_cuda
@pytest.mark.parametrize(
    ("method", "precision", "frames"),
    [
        *((name, "bfloat16", 6) for name in METHODS),
        *(
            pytest.param(name, kind, frames, marks=pytest.mark.long)
            for name, (kind, frames) in itertools.product(METHODS, [("bfloat16", 0), ("float32", 0), ("float32", 6)])
        ),
    ],
)
def test_no_method_mixes_devices_or_waits_on_cuda(method: str, precision: str, frames: int) -> None:
    def update_all(learner: Learner) -> None:
        for part in learner.method.parts:
            learner.update(part.name, tiny_batch(1, image=part.reads == "pairs"))

    with fake_cuda.fake_cuda() as waits:
        own = ("gripper_*",) if frames else ()
        config = config_of(method, proprioception=own, frames=frames, **left_free(method, shift_pixels=1))
        learner = Learner(SPEC, dataclasses.replace(config, device="cuda", precision=precision), 0)
        update_all(learner)  # warm now
        waits.seen.clear()
        update_all(learner)
        assert waits.seen == []
        learner.publish()
        assert len(waits.seen) == 1
        waits.seen.clear()
        checkpoint.capture(learner)  # weights, and moments
        assert len(waits.seen) == 2
        policy = acting_policy(SPEC, learner.config, device="cuda:0")
        batch, carry = tiny_batch(), policy.initial(2)
        for driver in METHODS[method].drivers:
            rows = np.full(2, driver.sees == "image")
            image, first = batch["image"][:, 0, 0], batch["is_first"][:, 0]
            action, carry = policy.step(carry, batch["state"][:, 0], image, first, rows, explore=True)
            assert action.shape == (2, SPEC.action_dim)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_holds_the_types_that_cuda_s_autocast_gives(method: str) -> None:
    learner = Learner(SPEC, dataclasses.replace(config_of(method, frames=6), precision="bfloat16"), 0)
    with CudaAutocast(), Waits() as waits:
        for part in learner.method.parts:
            learner.update(part.name, tiny_batch(1, image=part.reads == "pairs"))
    assert all(np.isfinite(x).all() for x in checkpoint.module_arrays(learner.modules).values())
    assert [x for x in waits.on_any_device if "_local_scalar_dense" in x or "nonzero" in x] == []


@needs_fake_cuda
@pytest.mark.parametrize("length", [1, 3])
def test_short_sequences_of_the_teacher_on_cuda(length: int) -> None:
    with fake_cuda.fake_cuda() as waits:
        learner = tiny_learner(device="cuda", precision="bfloat16")
        train(learner, 1, length=length)
    assert waits.seen == []


@needs_fake_cuda
@pytest.mark.parametrize("dynamics", ["scratch", "tied"])
def test_a_student_on_a_second_gpu(dynamics: str) -> None:
    with fake_cuda.fake_cuda() as waits:
        settings: dict[str, Any] = {"dynamics": dynamics, "device": "cuda:1", "frames": 6}
        learner = tiny_learner(device="cuda", precision="bfloat16", student=settings)
        train(learner, 2)
        learner.publish()
        state = checkpoint.capture(learner)
        checkpoint.restore(tiny_learner(1, device="cuda", student=settings), state)
        devices = {
            name: {str(x.device) for x in module.state_dict().values()} for name, module in learner.modules.items()
        }
        waits.seen.clear()
        train(learner, 2)
    first, second = {"cuda:0"}, {"cuda:1"}
    assert devices == {
        "teacher": first,
        "policy": first,
        "critic": first,
        "span": first,
        "student": second,
        "student_average": second,
    }
    assert waits.seen == []


@needs_fake_cuda
def test_publishing_and_capturing_on_cuda_are_one_transfer_each() -> None:
    with fake_cuda.fake_cuda() as waits:
        learner = tiny_learner(device="cuda", precision="bfloat16", student={"dynamics": "tied"})
        train(learner, 1)
        waits.seen.clear()
        learner.publish()
        assert len(waits.seen) == 1
        waits.seen.clear()
        checkpoint.capture_acting(learner)
        assert len(waits.seen) == 1
        waits.seen.clear()
        checkpoint.capture(learner)  # weights, and moments
        assert len(waits.seen) == 2
        waits.seen.clear()
        learner.report("teacher")
        assert waits.seen == []  # it comes as numbers at once


@needs_fake_cuda
@pytest.mark.parametrize("explore", [False, True])
@pytest.mark.parametrize("student", [[False, False], [True, True], [False, True]])
def test_acting_on_cuda(student: list[bool], explore: bool) -> None:
    with fake_cuda.fake_cuda() as waits:
        acting = TwistPolicy(SPEC, tiny_config(), device="cuda:0")
        acting.load(*tiny_learner(device="cuda").publish())
        waits.seen.clear()
        batch, carry = tiny_batch(), acting.initial(2)
        for t in range(2):
            action, carry = acting.step(
                carry,
                batch["state"][:, t],
                batch["image"][:, t, 0],
                batch["is_first"][:, t],
                np.array(student),
                explore,
            )
        assert action.shape == (2, SPEC.action_dim)
        assert waits.seen == ["aten::_to_copy to the CPU"] * 2  # of the actions
        acting.imagined_states(batch["state"][0], batch["image"][0, :, 0], batch["action"][0, 1:], context=2)


@needs_fake_cuda
def test_a_cpu_s_checkpoint_goes_on_on_cuda_with_generators_of_its_own() -> None:
    there = tiny_learner(3)
    train(there, 1, updates=3)
    state = checkpoint.capture(there)
    with fake_cuda.fake_cuda():
        learners = [tiny_learner(seed, device="cuda") for seed in (3, 3, 4)]
        for learner in learners:
            checkpoint.restore(learner, state)
        train(learners[0], 1)
        seeds = [[generator.seeds[-1] for generator in learner.generators] for learner in learners]  # type: ignore[attr-defined]
    assert seeds[0] == seeds[1]
    assert len({*seeds[0], *seeds[2]}) == 4


@needs_fake_cuda
@pytest.mark.parametrize(
    "name", ["exp", "log", "cumsum", "softmax", "layer_norm", "mse_loss", "square", "sum", "linear"]
)
def test_cuda_s_autocast_is_what_the_list_says(name: str) -> None:
    """Tried on CUDA's own autocast."""
    calls = {
        "exp": torch.exp,
        "log": torch.log,
        "cumsum": lambda x: x.cumsum(0),
        "softmax": lambda x: x.softmax(-1),
        "layer_norm": lambda x: F.layer_norm(x, (4,)),
        "mse_loss": lambda x: F.mse_loss(x, x),
        "square": torch.square,
        "sum": torch.sum,
        "linear": lambda x: F.linear(x, x),
    }
    with fake_cuda.fake_cuda(), torch.autocast("cuda", torch.bfloat16):
        assert calls[name](torch.ones(4, 4, device="cuda:0", dtype=torch.bfloat16)).dtype == (
            torch.bfloat16 if name in BFLOAT16 else torch.float32
        )
    with CudaAutocast(), torch.autocast("cpu", torch.bfloat16):
        here = calls[name](torch.ones(4, 4, dtype=torch.bfloat16)).dtype
    assert here == (torch.bfloat16 if name in BFLOAT16 else torch.float32)


def test_the_list_knows_every_operator_of_cuda_s_autocast() -> None:
    assert cuda_autocast_operators() >= BFLOAT16 | WIDEST
    assert {
        "layer_norm",
        "softmax",
        "log_softmax",
        "exp",
        "log",
        "pow",
        "prod",
        "cumprod",
        "cumsum",
        "mse_loss",
    } <= FLOAT32


def test_a_gpu_s_checkpoint_goes_on_on_the_cpu() -> None:
    """A GPU's generator has 16 bytes of state; it begins anew, the same way whenever it begins there."""
    there = tiny_learner(3)
    train(there, 1)
    state = checkpoint.capture(there)
    on_gpu = {f"generator/{k}": np.zeros(16, np.uint8) for k in range(2)}
    state = dataclasses.replace(state, training=state.training | on_gpu)
    draws = []
    for seed in (3, 3, 4):
        learner = tiny_learner(seed)
        checkpoint.restore(learner, state)
        draws.append([torch.rand(3, generator=generator).tolist() for generator in learner.generators])
    assert draws[0] == draws[1]
    assert draws[0][0] != draws[0][1]
    assert draws[0] != draws[2]
