"""Actors: environments are stepped here, by the policy or at random, and what happened is written to replay.

`RolloutWorker` is plain Python and runs anywhere. `actors.actor` puts it into a Ray actor and `actors.pool` keeps many
of those alive; the two are not imported here, so that whoever needs only the worker needs no Ray.
"""

from actors.config import ActorsConfig
from actors.rollout_stats import EpisodeResult, RolloutStats
from actors.stream import EnvironmentCrashError
from actors.stream_worker import CrashBudgetError
from actors.worker import ActingPolicyLike, PolicyError, RolloutWorker

__all__ = [
    "ActingPolicyLike",
    "ActorsConfig",
    "CrashBudgetError",
    "EnvironmentCrashError",
    "EpisodeResult",
    "PolicyError",
    "RolloutStats",
    "RolloutWorker",
]
