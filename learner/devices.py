"""Where the learner computes, and in which arithmetic."""

import numpy as np
import torch

from learner.config import LearnerConfig

GENERATOR_BYTES = {"cpu": 5056, "cuda": 16}
"""Of a generator's state: one of another kind of device cannot be gone on with."""


def choose_device(name: str) -> torch.device:
    """The device of a setting: `auto` is CUDA where there is one.

    Raises:
        ValueError: CUDA was asked for and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("learner.device=cuda, but torch finds no CUDA device here; allowed: auto, cpu")
    # With its number: a tensor says "cuda:0" of itself, and "cuda" alone would not equal it.
    return torch.device("cuda:0" if name != "cpu" and torch.cuda.is_available() else "cpu")


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """The arithmetic of a setting: `auto` is bfloat16 where the processor computes in it, else float32.

    A CPU without such units emulates bfloat16, several times slower than float32; torch calls that support, too.
    """
    if name != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[name]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.bfloat16 if native else torch.float32


def choose_devices(config: LearnerConfig) -> tuple[torch.device, torch.device]:
    """The devices of teacher and student.

    Raises:
        ValueError: a setting asks for a device that is not there.
    """
    teacher = choose_device(config.device)
    if config.student.device == "auto":
        return teacher, teacher
    found = torch.cuda.device_count() if teacher.type == "cuda" else 0
    if found < 2:
        raise ValueError(
            f"learner.student.device={config.student.device}, but the learner has {found} CUDA device"
            f"{'' if found == 1 else 's'} here; allowed: auto"
        )
    return teacher, torch.device(config.student.device)


def gpus_wanted(config: LearnerConfig) -> int:
    """How many GPUs a learner uses where there are as many as it can use."""
    if config.device == "cpu":
        return 0
    return 1 if config.student.device == "auto" else 2


def gpus_used(config: LearnerConfig) -> str:
    """How many of the GPUs found here a learner uses, in words; empty where there is none.

    Raises:
        ValueError: as `choose_devices`.
    """
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not found:
        return ""
    used = len({device for device in choose_devices(config) if device.type == "cuda"})
    second = "; learner.student.device=cuda:1 would use a second one" if used == 1 < found else ""
    return f"the learner uses {used} of {found} GPU{'' if found == 1 else 's'}{second}"


def make_generator(device: torch.device, seed: int) -> torch.Generator:
    """A generator of random numbers on a device."""
    return torch.Generator(device).manual_seed(seed)


def later_seed(seed: int, which: int, updates: int) -> int:
    """Of a generator whose state cannot be gone on with: the same for the same run after as many updates."""
    return int(np.random.SeedSequence([seed, which, updates]).generate_state(1)[0])
