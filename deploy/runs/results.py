"""What an evaluation found: how often one policy succeeded in one visual domain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deploy.runs.intervals import wilson


@dataclass(frozen=True)
class EvaluationResult:
    """Episodes of one policy in one domain.

    Attributes:
        policy: "teacher" (sees the state) or "student" (sees the images).
        domain: "train" or "held_out": which visual worlds.
        episodes: how many were run, at least 1.
        successes: how many of them ended in success.
        interval: 95 % interval of the success probability.
        mean_return: mean sum of rewards of an episode.
        seed: of the first episode; with it the evaluation can be repeated.
    """

    policy: str
    domain: str
    episodes: int
    successes: int
    interval: tuple[float, float]
    mean_return: float
    seed: int

    @classmethod
    def from_counts(
        cls, policy: str, domain: str, *, episodes: int, successes: int, mean_return: float, seed: int
    ) -> EvaluationResult:
        """The result with its Wilson interval.

        Raises:
            ValueError: unless 0 <= successes <= episodes and episodes >= 1.
        """
        return cls(policy, domain, episodes, successes, wilson(successes, episodes), mean_return, seed)

    @property
    def success(self) -> float:
        """Share of the episodes that ended in success."""
        return self.successes / self.episodes

    @property
    def name(self) -> str:
        """What the report calls this number: "teacher_success", "student_success_train", "student_success_held_out".

        The teacher sees no image, so its number has no domain.
        """
        return "teacher_success" if self.policy == "teacher" else f"{self.policy}_success_{self.domain}"

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
        return {
            "policy": self.policy,
            "domain": self.domain,
            "success": self.success,
            "interval": list(self.interval),
            "episodes": self.episodes,
            "successes": self.successes,
            "mean_return": self.mean_return,
            "seed": self.seed,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> EvaluationResult:
        """Inverse of `to_json`.

        Raises:
            KeyError: naming what is missing.
        """
        low, high = document["interval"]
        return cls(
            policy=document["policy"],
            domain=document["domain"],
            episodes=document["episodes"],
            successes=document["successes"],
            interval=(low, high),
            mean_return=document["mean_return"],
            seed=document["seed"],
        )
