"""The golden trace: whole episodes as they went where the bundle was made, to be repeated on any machine.

golden_trace.npz holds, N steps: image [N, H, W, 3] uint8, reset [N] bool, action [N, A], deter [N, D],
stoch [N, S, K] (the probabilities of z's classes), surprise, reward, value where there is one [N], state, belief,
expected [N, S_dim], embed [N, E]; of what the arm measured gripper [N, 3] (metres), velocity [N, 3] (m/s), opening [N]
and told [N, 4], see `arm.Observation`, and proprioception [N, P] (of P = 0 where the contract names nothing).
Each step's latent and previous action are those of the row before.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .policy import Policy
from .refusals import BundleError

GOLDEN = "golden_trace.npz"
TOLERANCE = 1e-5

Trace = dict[str, NDArray[Any]]
COMPARED = ("action", "deter", "stoch", "surprise", "reward", "value", "state", "belief", "expected", "embed")


@dataclass(frozen=True)
class Comparison:
    """How a machine repeats the golden trace.

    Attributes:
        steps: repeated, the latent state carried from one to the next.
        episodes: in them.
        difference: largest by output; relative for values beyond 1.
    """

    steps: int
    episodes: int
    difference: dict[str, float]

    @property
    def largest(self) -> float:
        """Of all differences."""
        return max(self.difference.values())

    @property
    def passed(self) -> bool:
        """Whether the machine computes what was computed."""
        return self.largest <= TOLERANCE


def read_trace(bundle: Path) -> Trace:
    """Reads the golden trace.

    Raises:
        BundleError: it cannot be read.
    """
    try:
        with np.load(bundle / GOLDEN, allow_pickle=False) as opened:
            return {name: opened[name] for name in opened.files}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise BundleError(f"{bundle / GOLDEN}: cannot be read: {error}") from error


def compare(policy: Policy, trace: Trace) -> Comparison:
    """Repeats a trace."""
    found: dict[str, list[Any]] = {name: [] for name in COMPARED}
    for image, own, reset in zip(trace["image"], trace["proprioception"], trace["reset"], strict=True):
        if reset:
            policy.reset()
        step = policy.infer(image, own)
        for name, values in found.items():
            values.append(getattr(step, name))
    policy.reset()
    return compared(trace, {name: np.array(values) for name, values in found.items() if name in trace})


def compared(trace: Trace, found: Trace) -> Comparison:
    """The differences of two traces of the same pictures."""
    difference = {}
    for name in COMPARED:
        if name in trace:
            expected = trace[name].astype(np.float64)
            error = np.abs(found[name] - expected) / np.maximum(1.0, np.abs(expected))
            difference[name] = float(error.max()) if np.isfinite(error).all() else float("inf")
    return Comparison(len(trace["reset"]), int(trace["reset"].sum()), difference)
