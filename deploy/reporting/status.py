"""Where a run stands, from its files alone: also while another process drives it, and in a copy of the directory."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deploy.errors import user_errors
from deploy.reporting.bottleneck import who_waits
from deploy.reporting.fault_counts import count_faults
from deploy.reporting.metrics import read_last, read_metrics
from deploy.reporting.progress import Goals, goals_of, seconds_left
from deploy.runs.checkpoints import Checkpoint
from deploy.runs.directory import Driver, RunDirectory
from deploy.runs.finished import reaches_end, report_of_end
from deploy.runs.report import Faults, Report
from deploy.settings.config import RunConfig
from learner.methods import METHODS

RUNNING, FINISHED, STOPPED, ELSEWHERE = "running", "finished", "stopped", "elsewhere"
"""States. ELSEWHERE: the driver is, or was, on another machine, whose lock cannot be seen from here."""

PRESENT_SECONDS = 60.0
"""Rates and waiting are means over so many seconds before the last line: single lines are noisy."""
MOST_PRESENT_LINES = 600
EVENTS = 8
"""How many of the last events are shown."""


@dataclass(frozen=True)
class Event:
    """Something that happened.

    Attributes:
        name: such as "actor_restart".
        age_seconds: how long ago.
        details: what else its line says.
    """

    name: str
    age_seconds: float
    details: Mapping[str, Any]


@dataclass(frozen=True)
class RunStatus:
    """Where a run stands.

    Attributes:
        task: what is learned.
        seed: of the run.
        mode: "local", "debug" or "cluster".
        run_id: of the run.
        state: RUNNING, FINISHED, STOPPED or ELSEWHERE.
        driver: who drives it, or did last: "process 12 on HOST"; empty where that is not known.
        evaluating: whether it is running and trained, so that only the evaluation is missing.
        age_seconds: since the last line of metrics; None before the first.
        line_every_seconds: between two lines of metrics while it trains; None in mode debug, which counts updates.
        wall_seconds: for which it has run, pauses left out.
        env_steps: environment steps so far.
        values: keys as in metrics.jsonl: the last line's, and where they are rates or waiting, present means.
        goals: how long the run is to be.
        seconds_left: until then, at present rates; None where it is not running or a rate is not known.
        bottleneck: who waits for whom, in a sentence; empty where nobody trains or it is not known.
        checkpoint: the newest one's name; None where there is none.
        checkpoint_step: environment steps when it was written.
        checkpoint_age_seconds: since the line of metrics before it was written.
        actors_allowed: fewest and most actors.
        decision: the last change of the pool.
        capacity: of the replay, "rows" and "bytes".
        faults: what went wrong so far.
        replay_away: whether Redis was away when it was seen last.
        events: the last ones, oldest first.
        report: of a run that is finished.
    """

    task: str
    seed: int
    mode: str
    run_id: str
    state: str
    driver: str
    evaluating: bool
    age_seconds: float | None
    line_every_seconds: float | None
    wall_seconds: float
    env_steps: int
    values: Mapping[str, float]
    goals: Goals
    seconds_left: float | None
    bottleneck: str
    checkpoint: str | None
    checkpoint_step: int | None
    checkpoint_age_seconds: float | None
    actors_allowed: tuple[int, int]
    decision: Event | None
    capacity: Mapping[str, int]
    faults: Faults
    replay_away: bool
    events: tuple[Event, ...]
    report: Report | None

    def to_json(self) -> dict[str, Any]:
        """Plain values; times are in seconds, shares 0 to 1; what is not known is None."""

        def value(key: str) -> float | None:
            return self.values.get(key)

        loops = tuple(self.goals.updates)
        return {
            **{key: getattr(self, key) for key in ("task", "seed", "mode", "run_id", "state", "driver", "evaluating")},
            "last_line_age_seconds": self.age_seconds,
            "wall_seconds": self.wall_seconds,
            "seconds_left": self.seconds_left,
            "env_steps": self.env_steps,
            "updates": {name: int(self.values.get(f"{name}/updates", 0)) for name in loops},
            "goals": self.goals.to_json(),
            "rates": {
                "env_steps": value("rate/env_steps"),
                **{f"{name}_updates": value(f"rate/{name}_updates") for name in loops},
            },
            "success": {name: value(f"actors/success_{name}") for name in loops},
            "waiting": {name: value(f"wait/{name}") for name in (*loops, "actors")},
            "bottleneck": self.bottleneck,
            "checkpoint": self.checkpoint
            and {"name": self.checkpoint, "step": self.checkpoint_step, "age_seconds": self.checkpoint_age_seconds},
            "actors": {
                "running": value("actors/running"),
                "hours": value("actors/hours"),
                "allowed": list(self.actors_allowed),
                "decision": self.decision and _event_json(self.decision),
            },
            "replay": {
                **{key.removeprefix("replay/"): self.values[key] for key in self.values if key.startswith("replay/")},
                "capacity": dict(self.capacity),
                "away": self.replay_away,
            },
            "faults": asdict(self.faults),
            "events": [_event_json(event) for event in self.events],
            "result": self.report and {result.name: result.success for result in self.report.headline()},
        }


def read_status(path: Path, driver: Driver | None = None, *, clock: Callable[[], float] = time.time) -> RunStatus:
    """Reads where a run stands; writes nothing.

    Args:
        path: run directory.
        driver: of the run, where another place than the directory's lock tells of it.
        clock: unix seconds.

    Raises:
        UserError: it is no run, or one of its files cannot be read.
    """
    run = RunDirectory.open(path)
    with user_errors():
        return _read(run, run.driver() if driver is None else driver, clock)


def _read(run: RunDirectory, driver: Driver, clock: Callable[[], float]) -> RunStatus:
    config = run.config
    checkpoint = run.checkpoints.peek()
    ended = checkpoint is None or reaches_end(checkpoint, config)
    evaluating = driver.here and checkpoint is not None and ended
    report = report_of_end(run, config) if ended and not driver.here else None
    written = list(read_metrics(run.metrics, "event"))
    last_line = read_last(run.metrics, 1)
    trained = read_last(run.metrics, _present_lines(config), "train")
    now = clock()  # after the reading, so that no age is below zero
    last = trained[-1] if trained else {}
    state = _state(driver, report)
    values = _present(trained, written, rates=state in (RUNNING, ELSEWHERE))
    if state in (FINISHED, STOPPED):
        values["actors/running"] = 0.0
    if report is not None:
        values |= {f"wait/{name}": share for name, share in report.waiting.items() if math.isfinite(share)}
    env_steps = int(last.get("step", 0))
    goals = goals_of(config)
    events = tuple(_event(row, now) for row in written)
    actors = config.actors
    return RunStatus(
        task=config.task,
        seed=config.seed,
        mode=config.mode,
        run_id=run.run_id,
        state=state,
        driver=driver.name,
        evaluating=evaluating,
        age_seconds=max(now - last_line[0]["time"], 0.0) if last_line else None,
        line_every_seconds=None if config.mode == "debug" else config.training.metrics_every_seconds,
        wall_seconds=float(last.get("run/wall_seconds", 0.0)),
        env_steps=env_steps,
        values=values,
        goals=goals,
        seconds_left=seconds_left(env_steps, values, goals) if state in (RUNNING, ELSEWHERE) else None,
        bottleneck="" if state == FINISHED or evaluating else _bottleneck(config, env_steps, values),
        checkpoint=None if checkpoint is None else checkpoint.path.name,
        checkpoint_step=None if checkpoint is None else checkpoint.step,
        checkpoint_age_seconds=_age(run, checkpoint, now),
        actors_allowed=(actors.min, actors.max) if actors.elastic else (actors.count, actors.count),
        decision=next((event for event in reversed(events) if event.name == "pool_resized"), None),
        capacity={"rows": config.replay.capacity_steps, "bytes": config.replay.capacity_bytes},
        faults=count_faults(written, last, int(values.get("replay/quarantined_chunks", 0))),
        replay_away=_replay_away(written),
        events=events[-EVENTS:],
        report=report,
    )


def _present_lines(config: RunConfig) -> int:
    # Mode debug counts updates, not seconds: a dozen lines, less if these took longer.
    every = config.training.metrics_every_seconds if config.mode != "debug" else PRESENT_SECONDS / 12
    return max(1, min(math.ceil(PRESENT_SECONDS / every), MOST_PRESENT_LINES))


def _state(driver: Driver, report: Report | None) -> str:
    if driver.here:
        return RUNNING
    if report is not None:
        return FINISHED
    return ELSEWHERE if driver.elsewhere else STOPPED


def _present(
    trained: Sequence[Mapping[str, Any]], events: Sequence[Mapping[str, Any]], *, rates: bool
) -> dict[str, float]:
    """The last known values; rates and waiting are means over the last minute, since the run was last continued."""
    values: dict[str, float] = {}
    for row in trained:
        numbers = ((key, row[key]) for key in row if "/" in key and isinstance(row[key], int | float))
        values |= {key: float(value) for key, value in numbers if math.isfinite(value)}
    continued = max((row["time"] for row in events if row["event"] == "resumed"), default=-math.inf)
    minute = trained[-1]["time"] - PRESENT_SECONDS if trained else 0.0
    present = [row for row in trained if row["time"] >= minute and row["time"] > continued]
    for key in [key for key in values if key.startswith(("rate/", "wait/"))]:
        measured = [row[key] for row in present if math.isfinite(row.get(key, math.nan))]
        if measured and (rates or key.startswith("wait/")):
            values[key] = sum(measured) / len(measured)
        else:
            del values[key]
    return values


def _bottleneck(config: RunConfig, env_steps: int, values: Mapping[str, float]) -> str:
    if "wait/actors" not in values and values.get("actors/running"):
        return "No actor has reported in the last minute: one that hangs is replaced after actors.hang_seconds."
    method = METHODS[config.learner.method]
    actors, parts = values.get("wait/actors"), {part.name: values.get(f"wait/{part.name}") for part in method.parts}
    if actors is None or None in parts.values():
        return ""
    if env_steps >= config.training.env_steps:
        return "All rows are in: what is left are updates."
    if not any(values.get(f"{part.name}/updates") for part in method.leading):
        return f"Updates begin at {config.training.prefill_rows:,} rows."
    waits = {part.name for part in method.following if config.student_waits}
    learning = {name for name in parts if name not in waits or values.get(f"{name}/updates", 0.0) > 0}
    return who_waits(actors, {name: share for name, share in parts.items() if name in learning and share is not None})


def _age(run: RunDirectory, checkpoint: Checkpoint | None, now: float) -> float | None:
    """By the last line of metrics before the checkpoint: a copy's files have the time of the copy."""
    if checkpoint is None:
        return None
    offset = checkpoint.document.get("metrics_offset")
    lines = read_last(run.metrics, 1, before=int(offset)) if isinstance(offset, int) else []
    return max(now - lines[0]["time"], 0.0) if lines else None


def _event(row: Mapping[str, Any], now: float) -> Event:
    details = {key: value for key, value in row.items() if key not in ("time", "step", "kind", "event")}
    return Event(str(row["event"]), max(now - row["time"], 0.0), details)


def _event_json(event: Event) -> dict[str, Any]:
    finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in event.details.items()}
    return {"event": event.name, "age_seconds": event.age_seconds, **finite}


def _replay_away(events: Iterable[Mapping[str, Any]]) -> bool:
    away = False
    for row in events:
        if row["event"] in ("replay_away", "replay_back", "resumed"):  # a run is continued only with its replay
            away = row["event"] == "replay_away"
    return away
