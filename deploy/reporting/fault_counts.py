"""Counts what went wrong in a run, from its metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from deploy.runs.report import Faults


def count_faults(events: Iterable[Mapping[str, Any]], last: Mapping[str, Any], quarantined: int) -> Faults:
    """What went wrong so far.

    Args:
        events: the run's lines of kind "event", all of them.
        last: its last line of kind "train"; empty where there is none.
        quarantined: chunks that the replay set aside.
    """
    counts: Counter[str] = Counter()
    restarts: Counter[str] = Counter()
    learner: Counter[str] = Counter()
    crashes = lost = 0
    for event in events:
        name = event["event"]
        counts[name] += 1
        lost += int(event.get("lost_env_steps", 0))
        if name == "actor_restart":
            restarts[event["cause"]] += 1
        elif name == "learner_restart":
            learner[event["cause"] if "reason" in event else "died"] += 1  # older runs have the reason for a cause
        elif name == "environment_crash":
            crashes += int(event["count"])
    return Faults(
        resumed=counts["resumed"],
        restarts=dict(restarts),
        learner_restarts=counts["learner_restart"],
        learner_losses=dict(learner),
        crashes=crashes,
        replay_outages=counts["replay_away"],
        stalled_seconds=float(last.get("run/stalled_seconds", 0.0)),
        quarantined=quarantined,
        lost_rows=lost,
    )
