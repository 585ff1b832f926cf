"""The result of a run: report.json."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.runs.atomic import write_json
from deploy.runs.documents import read_document
from deploy.runs.results import EvaluationResult

FORMAT = 1
"""Of report.json; raised when an older reader could not understand it."""

ROW_TITLES = {
    "teacher_success": ("teacher", "state, no images"),
    "student_success_train": ("student", "images, training visuals"),
    "student_success_held_out": ("student", "images, held-out visuals"),
}
"""The headline rows in their order: the report's key to (policy, what it sees)."""


@dataclass(frozen=True)
class Faults:
    """What went wrong and was dealt with; all zero in a quiet run.

    Attributes:
        resumed: how often the run was continued after it had ended early.
        restarts: actor processes that were replaced, by cause.
        learner_restarts: learner processes that were lost and begun again from the newest checkpoint.
        crashes: environments that raised and were rebuilt.
        replay_outages: times that Redis did not answer and the run waited for it.
        stalled_seconds: in which neither steps came nor updates were made, to the grain of the metrics' lines.
        quarantined: chunks in the replay that failed their check and were set aside.
        lost_rows: replay rows that were written and are gone, other than by eviction.
    """

    resumed: int = 0
    restarts: Mapping[str, int] = field(default_factory=dict)
    learner_restarts: int = 0
    crashes: int = 0
    replay_outages: int = 0
    stalled_seconds: float = 0.0
    quarantined: int = 0
    lost_rows: int = 0

    def described(self) -> list[tuple[str, int]]:
        """Each kind of fault in words, with its count."""
        restarts = [(f"actors restarted ({cause})", count) for cause, count in sorted(self.restarts.items())]
        return [
            ("times resumed", self.resumed),
            *(restarts or [("actors restarted", 0)]),
            ("learner restarted", self.learner_restarts),
            ("environment crashes", self.crashes),
            ("Redis away", self.replay_outages),
            ("seconds without progress", round(self.stalled_seconds)),
            ("chunks quarantined", self.quarantined),
            ("replay rows lost", self.lost_rows),
        ]


@dataclass(frozen=True)
class Report:
    """Everything that report.json says.

    Attributes:
        run_id: of the run.
        task: what was learned.
        mode: "local", "debug" or "cluster".
        seed: of the run.
        env_steps: environment steps collected.
        wall_seconds: for which the run ran, pauses between its parts left out.
        evaluations: the teacher's, the student's in training visuals and in held-out visuals; others may follow.
        updates: of "teacher" and "student".
        replay_ratios: replayed rows per inserted row, as measured, of "teacher" and "student".
        waiting: share of their time that "teacher", "student" and "actors" waited for the others, 0 to 1.
        faults: what went wrong.
        versions: of Python and the packages.
    """

    run_id: str
    task: str
    mode: str
    seed: int
    env_steps: int
    wall_seconds: float
    evaluations: tuple[EvaluationResult, ...]
    updates: Mapping[str, int]
    replay_ratios: Mapping[str, float]
    waiting: Mapping[str, float]
    faults: Faults
    versions: Mapping[str, str]

    def __post_init__(self) -> None:
        """Refuses a report without its headline.

        Raises:
            ValueError: naming the evaluation that is missing.
        """
        found = {result.name for result in self.evaluations}
        for name in ROW_TITLES:
            if name not in found:
                raise ValueError(f"evaluations: there is none for {name}, only {', '.join(sorted(found)) or 'none'}")

    def headline(self) -> tuple[EvaluationResult, ...]:
        """The three results that count: teacher, student in training visuals, student in held-out visuals."""
        by_name = {result.name: result for result in self.evaluations}
        return tuple(by_name[name] for name in ROW_TITLES)

    def to_json(self) -> dict[str, Any]:
        """What report.json holds: plain values; a number that is not finite becomes None."""
        headline = self.headline()
        return {
            "format": FORMAT,
            "run_id": self.run_id,
            "task": self.task,
            "mode": self.mode,
            "seed": self.seed,
            "env_steps": self.env_steps,
            "wall_seconds": self.wall_seconds,
            **{result.name: result.success for result in headline},
            # Rows can differ only if an evaluation was cut short: the weakest is what the headline stands on.
            "episodes": min(result.episodes for result in headline),
            "intervals": {result.name: list(result.interval) for result in headline},
            "evaluations": [result.to_json() for result in self.evaluations],
            "updates": dict(self.updates),
            "replay_ratios": _finite(self.replay_ratios),
            "waiting": _finite(self.waiting),
            "resumed": self.faults.resumed,
            "restarts": dict(self.faults.restarts),
            "learner_restarts": self.faults.learner_restarts,
            "crashes": self.faults.crashes,
            "replay_outages": self.faults.replay_outages,
            "stalled_seconds": round(self.faults.stalled_seconds, 1),
            "quarantined": self.faults.quarantined,
            "lost_rows": self.faults.lost_rows,
            "versions": dict(self.versions),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Report:
        """Inverse of `to_json`.

        Raises:
            KeyError: naming what is missing.
        """
        return cls(
            run_id=document["run_id"],
            task=document["task"],
            mode=document["mode"],
            seed=document["seed"],
            env_steps=document["env_steps"],
            wall_seconds=document["wall_seconds"],
            evaluations=tuple(EvaluationResult.from_json(row) for row in document["evaluations"]),
            updates=document["updates"],
            replay_ratios=_restored(document["replay_ratios"]),
            waiting=_restored(document["waiting"]),
            faults=Faults(
                resumed=document["resumed"],
                restarts=document["restarts"],
                # Reports of older versions have none of these.
                learner_restarts=document.get("learner_restarts", 0),
                replay_outages=document.get("replay_outages", 0),
                stalled_seconds=document.get("stalled_seconds", 0.0),
                crashes=document["crashes"],
                quarantined=document["quarantined"],
                lost_rows=document["lost_rows"],
            ),
            versions=document["versions"],
        )


def write_report(path: Path, report: Report) -> None:
    """Replaces report.json."""
    write_json(path, report.to_json())


def read_report(path: Path) -> Report:
    """Reads a report.json.

    Raises:
        UserError: naming the file and what is wrong with it.
    """
    return read_document(path, Report.from_json, "a report", FORMAT)


def _finite(values: Mapping[str, float]) -> dict[str, float | None]:
    return {key: value if math.isfinite(value) else None for key, value in values.items()}


def _restored(values: Mapping[str, float | None]) -> dict[str, float]:
    return {key: math.nan if value is None else value for key, value in values.items()}
