"""A run's metrics for Prometheus, through Ray: `ray_twist_...` on the metrics port of the driver's node.

    RunMonitor.line, .event ──> gauges, counters ──> Ray's agent of this node ──> http://NODE:PORT/metrics

The values are those that go to metrics.jsonl, chosen. Ray's agent takes them every ten seconds, and forgets a gauge
that has not been set for twenty: with lines of metrics further apart than that, its curve has gaps, and a run that
ended leaves none. A counter is there from its first step on, and is remembered until the agent ends.

Setting one takes some 20 µs, all of them about a millisecond for a line of metrics. Ray has this agent in mode
local too, at a port that it draws (see docs/cluster.md).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from deploy.reporting.progress import EPISODES_IN_MEAN
from learner.methods import DRIVERS, PARTS

TAGS = ("task", "run_id")
"""Labels of every metric."""
EVENT_TAGS = (*TAGS, "event", "cause")
"""Labels of the counter; `cause` is empty but for restarts of actors and learner, where it is one of a few words."""

STEPS, AWAY = "env_steps", "replay/away"
COUNTERS = {
    STEPS: "Environment steps of the run so far",
    "run/wall_seconds": "Seconds for which the run has run, pauses left out",
    "run/stalled_seconds": "Seconds in which neither steps came nor updates were made",
    **{f"{name}/updates": f"Updates of the {name} so far" for name in PARTS},
    "actors/hours": "Hours that actors have run, added up",
    "replay/evicted_rows": "Rows evicted from the replay so far",
    "replay/quarantined_chunks": "Chunks that failed their check and were set aside so far",
}
"""Counters: key in metrics.jsonl to what Prometheus is told of it. They count from the run's beginning, and never fall:
where updates of a lost learner are made again, their counter waits for them."""

GAUGES = {
    "rate/env_steps": "Environment steps per second, since the line of metrics before",
    **{f"rate/{name}_updates": f"Updates of the {name} per second" for name in PARTS},
    **{f"wait/{name}": f"Share of its time that the {name} waited for rows, 0 to 1" for name in PARTS},
    "wait/actors": "Share of their time that actors waited for credit or Redis, 0 to 1",
    **{
        f"{name}/staleness": f"Updates, of both loops, since the rows that the {name} learned from were made"
        for name in PARTS
    },
    **{f"{name}/replay_ratio": f"Rows that the {name} has replayed for each row inserted" for name in PARTS},
    **{
        f"actors/success_{name}": f"Success in the last {EPISODES_IN_MEAN} episodes driven by the {name}, 0 to 1"
        for name in DRIVERS
    },
    **{
        f"actors/return_{name}": f"Mean return of the last {EPISODES_IN_MEAN} episodes driven by the {name}"
        for name in DRIVERS
    },
    "actors/running": "Actors that run now",
    AWAY: "1 while Redis is away, else 0",
    "replay/rows": "Rows in the replay now",
    "replay/bytes": "Bytes in the replay now",
    "teacher/loss_state": "Teacher: loss of the predicted state, nats",
    "teacher/loss_reward": "Teacher: loss of the predicted reward, nats",
    "teacher/loss_dynamics": "Teacher: loss of the prior against the posterior, nats",
    "teacher/loss_policy": "Teacher: loss of the policy in imagination",
    "teacher/loss_critic": "Teacher: loss of the critic in imagination, nats",
    "student/loss_posterior": "Student: loss of its posterior against the teacher's, nats",
    "student/loss_prior": "Student: loss of its prior against the teacher's, nats",
    "student/loss_imagination": "Student: loss in imagination, deterministic state and prior together",
}
"""Gauges: key in metrics.jsonl to what Prometheus is told of it, with its unit. Only AWAY is known from events."""

EVENTS = "events"
EVENTS_DESCRIPTION = "Lines of kind event in metrics.jsonl, since the driver began; crashes count each environment"


def exported_name(key: str) -> str:
    """What a key of `COUNTERS` or `GAUGES` is called in Prometheus, whose conventions the endings are."""
    return f"ray_{_name(key)}{'_total' if key in COUNTERS else ''}"


EXPORTED_EVENTS = f"ray_twist_{EVENTS}_total"
"""What the counter of events is called in Prometheus."""


def _name(key: str) -> str:
    """What Ray is told; it adds the `_total` of counters."""
    share = "_ratio" if key.startswith(("wait/", "actors/success_")) else ""
    return f"twist_{key.replace('/', '_')}{share}"


class PrometheusMetrics:
    """Gauges and counters of one run. From the first line or event on, it needs a `ray_session`."""

    def __init__(self, task: str, run_id: str) -> None:
        """Names the run.

        Args:
            task: of the run.
            run_id: of the run.
        """
        self._tags = {"task": task, "run_id": run_id}
        self._away = False
        self._counted = dict.fromkeys(COUNTERS, 0.0)

    @cached_property
    def _gauges(self) -> dict[str, Any]:
        from ray.util.metrics import Gauge  # Ray is first imported when its session begins

        return {key: Gauge(_name(key), text, TAGS).set_default_tags(self._tags) for key, text in GAUGES.items()}

    @cached_property
    def _counters(self) -> dict[str, Any]:
        from ray.util.metrics import Counter

        return {key: Counter(_name(key), text, TAGS).set_default_tags(self._tags) for key, text in COUNTERS.items()}

    @cached_property
    def _events(self) -> Any:
        from ray.util.metrics import Counter

        return Counter(_name(EVENTS), EVENTS_DESCRIPTION, EVENT_TAGS).set_default_tags(self._tags)

    def line(self, env_steps: int, values: Mapping[str, float]) -> None:
        """Sets the gauges and moves the counters on.

        Args:
            env_steps: environment steps so far.
            values: of one line of kind "train"; what is missing or not finite is left alone.
        """
        for key, value in ({STEPS: env_steps, AWAY: self._away} | dict(values)).items():
            if not math.isfinite(value):
                continue
            if key in self._gauges:
                self._gauges[key].set(float(value))
            elif key in self._counters and value > self._counted[key]:
                self._counters[key].inc(float(value) - self._counted[key])
                self._counted[key] = float(value)

    def event(self, name: str, values: Mapping[str, float | int | str]) -> None:
        """Counts an event.

        Args:
            name: of the event.
            values: what else its line says.
        """
        if name in ("replay_away", "replay_back"):
            self._away = name == "replay_away"
        # Other causes are sentences of Ray's: as labels they would make a series each.
        cause = str(values["cause"]) if name in ("actor_restart", "learner_restart") else ""
        count = float(values["count"]) if name == "environment_crash" else 1.0
        self._events.inc(count, {"event": name, "cause": cause})
