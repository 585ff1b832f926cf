from __future__ import annotations

import dataclasses

import pytest
import torch
from tiny_learner import tiny_config

from learner.config import LearnerConfig
from learner.devices import choose_devices, gpus_used, gpus_wanted


def config(device: str, student: str = "auto") -> LearnerConfig:
    return dataclasses.replace(tiny_config(student={"device": student}), device=device)


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """A machine with so many GPUs."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: request.param > 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: request.param)


@pytest.mark.parametrize(
    ("gpus", "device", "student", "devices", "words"),
    [
        (0, "auto", "auto", ("cpu", "cpu"), ""),
        (1, "auto", "auto", ("cuda:0", "cuda:0"), "the learner uses 1 of 1 GPU"),
        (1, "cpu", "auto", ("cpu", "cpu"), "the learner uses 0 of 1 GPU"),
        (
            *(2, "cuda", "auto", ("cuda:0", "cuda:0")),
            "the learner uses 1 of 2 GPUs; learner.student.device=cuda:1 would use a second one",
        ),
        (8, "auto", "cuda:1", ("cuda:0", "cuda:1"), "the learner uses 2 of 8 GPUs"),
    ],
    indirect=["gpus"],
)
@pytest.mark.usefixtures("gpus")
def test_where_teacher_and_student_compute_and_what_is_said_of_it(
    device: str, student: str, devices: tuple[str, str], words: str
) -> None:
    chosen = config(device, student)
    assert choose_devices(chosen) == tuple(torch.device(name) for name in devices)
    assert gpus_used(chosen) == words


@pytest.mark.parametrize(
    ("gpus", "device", "found"), [(0, "auto", 0), (1, "auto", 1), (2, "cpu", 0)], indirect=["gpus"]
)
@pytest.mark.usefixtures("gpus")
def test_a_second_gpu_that_is_not_there_is_refused(device: str, found: int) -> None:
    with pytest.raises(ValueError, match=rf"learner\.student\.device=cuda:1, but the learner has {found} CUDA device"):
        choose_devices(config(device, "cuda:1"))


def test_how_many_gpus_are_asked_for() -> None:
    assert [gpus_wanted(config(*given)) for given in (("cpu",), ("auto",), ("cuda", "cuda:1"))] == [0, 1, 2]
