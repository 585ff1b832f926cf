"""What an evaluation found: how often one policy succeeded in one visual domain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Protocol, TypeVar

from annotated_types import Ge, Le
from pydantic.dataclasses import dataclass

from deploy.runs.documents import DOCUMENT, Count, Seed, Text, plain
from deploy.runs.intervals import wilson
from learner.methods import Method, Sees, sees
from sim.config import World

SEEN: Mapping[tuple[Sees, str], str] = {
    ("state", "train"): "state, no images",
    ("image", "train"): "images, training visuals",
    ("image", "held_out"): "images, held-out visuals",
}
"""What a policy sees in a domain, in words; in the order of a report."""

Share = Annotated[float, Ge(0), Le(1)]


NotNegative = Annotated[float, Ge(0)]


@dataclass(frozen=True, config=DOCUMENT)
class MotionFigures:
    """How the arm moved in an evaluation; what is said of the goal is of steps at which the task is solved."""

    flips: Share | None
    """Share of the steps at the goal at which an action of more than a fifth of the full one turns round; null: there
    are no such steps."""
    swing_m: NotNegative | None
    """How far the gripper goes to and fro within half a second where the task has been solved for as long, 95th
    percentile, metres; null: it never was."""
    beyond_joint_speed: Share
    """Share of all steps at which a joint turns faster than the arm's data sheet allows."""
    beyond_joint_acceleration: Share
    """The same of acceleration."""
    contact_m_per_s: NotNegative | None
    """Speed of the gripper where it sets a cube in motion that it does not hold, 95th percentile, metres per second;
    null: it sets none."""


def result_name(policy: str, domain: str) -> str:
    """See `EvaluationResult.name`."""
    return f"{policy}_success" if sees(policy) == "state" else f"{policy}_success_{domain}"


def headline(method: Method) -> list[tuple[str, str]]:
    """(policy, domain) of what a run of a method is judged by: from state once, from images in both domains."""
    found = [(method.driver(sight), domain) for sight, domain in SEEN]
    return [(driver.name, domain) for driver, domain in found if driver is not None]


class Judged(Protocol):
    """A result of one policy in one domain."""

    @property
    def policy(self) -> str:
        """A driver."""

    @property
    def domain(self) -> str:
        """Which visual worlds."""


R = TypeVar("R", bound=Judged)


def by_sight(results: Iterable[R]) -> list[R | None]:
    """Results of any method in the places of `SEEN`; None where the method has none."""
    found = {(sees(result.policy), result.domain): result for result in results}
    return [found.get(row) for row in SEEN]


@dataclass(frozen=True, config=DOCUMENT)
class EvaluationResult:
    """Episodes of one policy in one domain."""

    policy: Text
    """A driver of the run's method, such as "teacher" (sees the state) or "student" (sees the images)."""
    domain: Text
    """"train" or "held_out": which visual worlds."""
    episodes: Annotated[Count, Ge(1)]
    """How many were run."""
    successes: Count
    """How many of them ended in success."""
    interval: tuple[Share, Share]
    """95 % interval of the success probability."""
    mean_return: float
    """Mean sum of rewards of an episode."""
    seed: Seed
    """Of the first episode; with it the evaluation can be repeated."""
    world: World = "pybullet"
    """"pybullet" or "mujoco": what moved the bodies; an older evaluation does not say."""
    motion: MotionFigures | None = None
    """How the arm moved; reports of older versions have none."""
    full_randomisation: bool = False
    """In worlds with all of the default randomisation, of which the run's own had less or none
    (`evaluation.full_randomisation`): "train" are then no worlds that it was trained in."""

    @classmethod
    def from_counts(
        cls,
        policy: str,
        domain: str,
        *,
        episodes: int,
        successes: int,
        mean_return: float,
        seed: int,
        world: World = "pybullet",
        motion: MotionFigures | None = None,
    ) -> EvaluationResult:
        """The result with its Wilson interval.

        Raises:
            ValueError: unless 0 <= successes <= episodes and episodes >= 1.
        """
        return cls(policy, domain, episodes, successes, wilson(successes, episodes), mean_return, seed, world, motion)

    @property
    def success(self) -> float:
        """Share of the episodes that ended in success."""
        return self.successes / self.episodes

    @property
    def name(self) -> str:
        """What the report calls this number: "teacher_success", "student_success_train", "student_success_held_out".

        A policy that sees no image has a number without domain.
        """
        return result_name(self.policy, self.domain)

    @property
    def sees(self) -> Sees:
        """What the policy saw."""
        return sees(self.policy)

    @property
    def seen(self) -> str:
        """The same in words, with the domain."""
        if self.full_randomisation and (self.sees, self.domain) == ("image", "train"):
            return "images, randomised visuals"
        return SEEN.get((self.sees, self.domain), f"images, {self.domain} visuals")

    def metrics(self) -> dict[str, float]:
        """The values of this evaluation's line in metrics.jsonl."""
        return {
            f"evaluation/{self.name}": self.success,
            f"evaluation/{self.name}_low": self.interval[0],
            f"evaluation/{self.name}_high": self.interval[1],
            f"evaluation/{self.name}_return": self.mean_return,
        }

    def to_json(self) -> dict[str, Any]:
        """Plain values, also those that follow from others."""
        return {"success": self.success, **plain(self)}
