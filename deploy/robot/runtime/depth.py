"""When a policy is out of its depth: by its surprise, and by what the arm knows better.

The policy reads the gripper's place off the picture; the arm measures it. A camera that was moved or covered, or has
frozen, shows in the difference where surprise alone does not: a model soon believes what it sees. And a picture may be
unlike all that normal episodes have.

Each of these has a threshold of its own, and has to be above it for some steps in a row.
"""

from __future__ import annotations

from collections.abc import Sequence

from .contract import Agreement, Contract
from .familiar import Familiar
from .kinematics import Vector, gripper_at
from .policy import Step

GRIPPER = ("gripper_x_m", "gripper_y_m", "gripper_z_m")


class Depth:
    """Counts how long each was above its threshold; what is not a number is above it."""

    def __init__(self, contract: Contract, familiar: Familiar) -> None:
        self._surprise, self._agreement = contract.surprise, contract.agreement
        self._familiar, self._strangeness = familiar, contract.strangeness
        names = contract.state.names
        self._axes = [names.index(name) for name in GRIPPER]
        self.reset()

    def reset(self) -> None:
        """A new episode."""
        self._ticks = self._surprised = self._strange = self._apart = 0

    def look(self, step: Step, joints: Sequence[float]) -> str | None:
        """Takes in one step; why the run has to end, if it has.

        Args:
            step: of the policy.
            joints: [7] radians, as measured now.
        """
        counted = self._ticks >= self._surprise.ignored
        self._ticks += 1
        terms = self._surprise
        self._surprised = self._surprised + 1 if counted and not step.surprise <= terms.threshold else 0
        if self._surprised >= terms.steps:
            return f"surprise: above {terms.threshold:.2f} nats for {terms.steps} steps, now {step.surprise:.2f}"
        strange = float(self._familiar.strangeness(step.embed))
        self._strange = self._strange + 1 if counted and not strange <= self._strangeness.threshold else 0
        if self._strange >= self._strangeness.steps:
            return (
                f"strangeness: for {self._strangeness.steps} steps the picture has been unlike normal ones, now "
                f"{strange:.1f}, allowed are {self._strangeness.threshold:.1f}"
            )
        read, measured = [float(step.state[axis]) for axis in self._axes], gripper_at(joints)
        apart = disagreement(self._agreement, (read[0], read[1], read[2]), measured)
        self._apart = self._apart + 1 if counted and not apart <= self._agreement.threshold else 0
        if self._apart >= self._agreement.steps:
            away = 1e3 * sum((a - b) ** 2 for a, b in zip(read, measured, strict=True)) ** 0.5
            return (
                f"disagreement: for {self._agreement.steps} steps the picture has shown the gripper elsewhere than the "
                f"arm measures it, now by {away:.0f} mm"
            )
        return None


def disagreement(terms: Agreement, read: Vector, measured: Vector) -> float:
    """How far two places of the gripper are apart: mean square of the differences, each by its usual size."""
    parts = zip(read, measured, terms.mean_m, terms.deviation_m, strict=True)
    return sum(((a - b - mean) / deviation) ** 2 for a, b, mean, deviation in parts) / 3.0
