"""`python -m learner.benchmark`: updates a second of teacher and student, alone and together, eager and captured.

It needs torch, numpy, pydantic and what `replay` imports, redis and zstandard: no server, no environment, no Ray.
Batches are made up, and always the same: what is timed is the learner from a batch in memory to moved weights.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import platform
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from learner.config import BehaviourConfig, LearnerConfig, RSSMConfig, StudentConfig
from learner.learner import Learner, NumpyBatch
from replay.schema import StreamSpec

WARM_UP = 5  # a capture falls within


@dataclasses.dataclass(frozen=True)
class Size:
    """What an update works on: settings and shapes of a preset, or of one that tries a GPU harder."""

    learner: LearnerConfig
    state: int
    action: int
    image: int
    rows: int


_CUBE = LearnerConfig(batch_size=32, student=StudentConfig(batch_size=4))
SIZES = {
    "reach": Size(
        LearnerConfig(student=StudentConfig(batch_size=16, encoder_share=1.0, frames=0)),
        state=12,
        action=3,
        image=48,
        rows=17,
    ),
    "push": Size(dataclasses.replace(_CUBE, sequence_length=16), state=19, action=2, image=64, rows=61),
    "lift": Size(dataclasses.replace(_CUBE, sequence_length=17), state=16, action=4, image=64, rows=51),
    "large": Size(
        LearnerConfig(
            rssm=RSSMConfig(deter=512, hidden=512, groups=32, classes=32),
            behaviour=BehaviourConfig(starts=1024, horizon=15),
            student=StudentConfig(batch_size=16, channels=(32, 64, 128, 256)),
        ),
        state=16,
        action=4,
        image=64,
        rows=64,
    ),
    "tiny": Size(
        LearnerConfig(
            batch_size=2,
            rssm=RSSMConfig(deter=16, hidden=16, groups=4, classes=4),
            student=StudentConfig(batch_size=2, channels=(4, 8), frames=8, frame_pool=64),
        ),
        state=4,
        action=2,
        image=16,
        rows=6,
    ),
}
"""`large` is batch 16 x 64, deter 512, stoch 32 x 32."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints a table, and with `--json` one line of JSON a row instead.

    Returns:
        The exit code, 0.
    """
    parser = argparse.ArgumentParser(prog="python -m learner.benchmark", description=__doc__, allow_abbrev=False)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="auto")
    parser.add_argument("--sizes", nargs="+", choices=tuple(SIZES), default=["reach", "push", "lift", "large"])
    parser.add_argument("--seconds", type=float, default=10.0, help="of each row")
    parser.add_argument("--json", action="store_true", help="one line of JSON a row")
    given = parser.parse_args(arguments)
    if given.seconds <= 0:
        parser.error(f"--seconds is {given.seconds:g}: allowed are numbers above 0")
    torch.set_num_threads(1)  # as each of the loops has it on a CPU
    first = True
    for name in given.sizes:
        for graphs in ("off", "auto"):
            learner = _learner(SIZES[name], given.device, given.precision, graphs)
            if graphs == "auto" and learner.parts[0].device.type != "cuda":
                continue  # there is nothing to capture
            if first and not given.json:
                print(f"{_machine(learner.parts[0].device)}, torch {torch.__version__}, {learner.dtype}")
                print(f"{'size':<8}{'graphs':<8}{'loops':<10}{'teacher/s':>11}{'student/s':>11}")
            first = False
            for loops, rates in _rates(learner, SIZES[name], given.seconds).items():
                row = {"size": name, "graphs": graphs, "loops": loops, **rates}
                if given.json:
                    print(json.dumps(row | {"machine": _machine(learner.parts[0].device), "torch": torch.__version__}))
                else:
                    cells = (f"{rates[kind]:.1f}" if kind in rates else "" for kind in ("teacher", "student"))
                    print(f"{name:<8}{graphs:<8}{loops:<10}" + "".join(f"{cell:>11}" for cell in cells), flush=True)
    return 0


def _machine(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU ({platform.machine()})"


def _spec(size: Size) -> StreamSpec:
    return StreamSpec(
        state_names=tuple(f"x{k}" for k in range(size.state)),
        state_low=(-1.0,) * size.state,
        state_high=(1.0,) * size.state,
        image_shape=(size.image, size.image, 3),
        views=1,
        action_dim=size.action,
        chunk_length=size.rows,
    )


def _learner(size: Size, device: str, precision: str, graphs: str) -> Learner:
    chosen: dict[str, Any] = {"device": device, "precision": precision, "graphs": graphs}
    config = dataclasses.replace(size.learner, **chosen)
    return Learner(_spec(size), config, seed=0)


def _batch(size: Size, batch: int, rows: int, *, image: bool) -> NumpyBatch:
    rng, shape = np.random.default_rng(0), (batch, rows)
    made: dict[str, np.ndarray] = {
        "state": rng.uniform(-1.0, 1.0, (*shape, size.state)).astype(np.float32),
        "action": rng.uniform(-1.0, 1.0, (*shape, size.action)).astype(np.float32),
        "reward": rng.normal(size=shape).astype(np.float32),
        "is_first": np.arange(rows) == np.zeros((batch, 1)),
        "is_terminal": np.zeros(shape, np.bool_),
        "valid": np.ones(shape, np.bool_),
    }
    if image:
        made["image"] = rng.integers(0, 256, (*shape, 1, size.image, size.image, 3), dtype=np.uint8)
        made["state_at_exposure"] = made["state"]
    return made


def _rates(learner: Learner, size: Size, seconds: float) -> dict[str, dict[str, float]]:
    """Updates a second, by which loops run."""
    config = learner.config
    batches = {
        "teacher": _batch(size, config.batch_size, config.sequence_length or size.rows, image=False),
        "student": _batch(size, config.student.batch_size, size.rows, image=True),
    }
    updates = {name: partial(learner.update, name) for name in batches}
    for name, update in updates.items():
        for _ in range(WARM_UP):
            update(batches[name])
    rates = {}
    for loops in (("teacher",), ("student",), ("teacher", "student")):
        made: dict[str, float] = {}
        threads = [
            threading.Thread(target=_run, args=(name, updates[name], batches[name], learner, seconds, made))
            for name in loops
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        rates["together" if len(loops) == 2 else loops[0]] = made
    return rates


def _run(
    name: str,
    update: Callable[[NumpyBatch], object],
    batch: NumpyBatch,
    learner: Learner,
    seconds: float,
    made: dict[str, float],
) -> None:
    torch.set_num_threads(1)
    learner.report(name)  # waits for what was queued
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        update(batch)
        count += 1
    learner.report(name)
    made[name] = count / (time.perf_counter() - began)


if __name__ == "__main__":
    raise SystemExit(main())
