"""`verify`: whether a bundle is whole, and whether this machine runs it as it should, and in time."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .golden import TOLERANCE, compare, read_trace
from .policy import Policy, load
from .refusals import BundleError, FrameError, UsageError
from .soak import soak

_TIMED_STEPS = 1_000


@dataclass(frozen=True)
class StepTimes:
    """How long steps take on this machine, seconds, beside the control period."""

    taken_s: tuple[float, ...]
    period_s: float

    @property
    def p50_s(self) -> float:
        """Half are quicker."""
        return float(np.median(self.taken_s))

    @property
    def p99_s(self) -> float:
        """One in a hundred takes longer."""
        return float(np.quantile(self.taken_s, 0.99))

    @property
    def max_s(self) -> float:
        """The longest."""
        return max(self.taken_s)


def add_verify_arguments(parser: argparse.ArgumentParser, place: Callable[[str], Path] = Path) -> None:
    """What `verify` takes, here and in a bundle; `place` reads paths."""
    parser.add_argument("bundle", metavar="BUNDLE", type=place, help="a directory that `twist export` wrote")
    parser.add_argument("--loop", metavar="S", type=float, default=0.0, help="also run the loop for so many seconds")
    parser.add_argument("--rate", metavar="HZ", type=int, help="of --loop (default: the contract's)")


def verified(given: argparse.Namespace) -> Iterator[str]:
    """Verifies what was asked for; see `verify` and `soak`.

    Raises:
        BundleError: the first thing that does not hold.
        UsageError: an argument has a value that is not allowed.
    """
    if not given.loop >= 0 or (given.rate is not None and not 1 <= given.rate <= 1000):
        raise UsageError(f"--loop is {given.loop}, --rate is {given.rate}; allowed are at least 0, and 1 to 1000")
    yield from verify(given.bundle)
    if given.loop > 0:
        policy = load(given.bundle)
        yield from soak(policy, given.bundle, given.loop, given.rate or policy.contract.action.rate_hz).lines()


def verify(bundle: str | Path) -> Iterator[str]:
    """Checks a bundle; a line for each thing that holds.

    Raises:
        BundleError: the first thing that does not.
    """
    path = Path(bundle)
    policy = load(path)
    files, contract = policy.manifest.files, policy.contract
    yield f"hashes: {len(files)} files are as they were made (bundle {policy.manifest.sha256[:12]})"
    camera = contract.camera
    size = f"{camera.width}x{camera.height} {camera.channels}"
    yield f"contract: {contract.task}, {contract.action.rate_hz} actions per second, camera {size}"
    trace = read_trace(path)
    found = compare(policy, trace)
    if not found.passed:
        worst = max(found.difference, key=lambda name: found.difference[name])
        raise BundleError(
            f"{path}: this machine does not repeat the golden trace: {worst} differs by {found.difference[worst]:.1e}, "
            f"allowed is {TOLERANCE:.0e}"
        )
    yield (
        f"golden trace: {found.steps:,} recurrent steps of {found.episodes} episodes, largest difference "
        f"{found.largest:.1e} (allowed {TOLERANCE:.0e})"
    )
    times = timed(policy, trace["image"], trace["proprioception"])
    if times.p99_s > times.period_s:
        raise BundleError(
            f"{path}: a step takes {1e3 * times.p99_s:.1f} ms (p99) on this machine; allowed is the control period, "
            f"{1e3 * times.period_s:.0f} ms"
        )
    yield (
        f"step: p50 {1e3 * times.p50_s:.2f} ms, p99 {1e3 * times.p99_s:.2f} ms on one core, of a control period of "
        f"{1e3 * times.period_s:.0f} ms"
    )


def timed(policy: Policy, images: np.ndarray, proprioception: np.ndarray) -> StepTimes:
    """Times steps with the gate, as the loop takes them; what it refuses is no step.

    Args:
        policy: whose.
        images: [N, H, W, 3].
        proprioception: [N, P].

    Raises:
        UsageError: it refuses all of them.
    """
    policy.reset()
    taken, refused = list[float](), ""
    for index in range(_TIMED_STEPS):
        image, own = images[index % len(images)], proprioception[index % len(images)]
        begun = time.perf_counter()
        try:
            policy.step(image, own)
        except FrameError as error:
            refused = str(error)
        else:
            taken.append(time.perf_counter() - begun)
        if index % 50 == 49:
            policy.reset()
    policy.reset()
    if not taken:
        raise UsageError(f"none of the pictures can be acted on: {refused}")
    return StepTimes(tuple(taken), policy.contract.action.period_s)
