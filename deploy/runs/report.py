"""The result of a run: report.json."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import field, fields
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, MaxLen
from pydantic import AllowInfNan, BeforeValidator, PlainSerializer
from pydantic.dataclasses import dataclass

from deploy.runs.atomic import write_json
from deploy.runs.documents import DOCUMENT, Count, Name, Seed, Text, plain, read_document
from deploy.runs.results import EvaluationResult, headline, result_name
from learner.methods import METHODS

FORMAT = 1
"""Of report.json; raised when an older reader could not understand it."""


Measured = Annotated[
    float,
    AllowInfNan(),
    BeforeValidator(lambda value: math.nan if value is None else value),
    PlainSerializer(lambda value: value if math.isfinite(value) else None, return_type=float | None),
]
"""A number that may not be known: not finite in Python, null in JSON."""

Seconds = Annotated[float, Ge(0)]


@dataclass(frozen=True, config=DOCUMENT)
class Faults:
    """What went wrong and was dealt with; all zero in a quiet run. What a report of an older version lacks is zero."""

    resumed: Count = 0
    """How often the run was continued after it had ended early."""
    restarts: Mapping[Text, Count] = field(default_factory=dict)
    """Actor processes that were replaced, by cause."""
    learner_restarts: Count = 0
    """Learner processes that were lost and begun again from the newest checkpoint."""
    learner_losses: Mapping[Text, Count] = field(default_factory=dict)
    """The same by cause; reports of older versions have none."""
    crashes: Count = 0
    """Environments that raised and were rebuilt."""
    replay_outages: Count = 0
    """Times that Redis did not answer and the run waited for it."""
    stalled_seconds: Seconds = 0.0
    """In which neither steps came nor updates were made, to the grain of the metrics' lines."""
    quarantined: Count = 0
    """Chunks in the replay that failed their check and were set aside."""
    lost_rows: Count = 0
    """Replay rows that were written and are gone, other than by eviction."""

    def described(self) -> list[tuple[str, int]]:
        """Each kind of fault in words, with its count."""
        restarts = [(f"actors restarted ({cause})", count) for cause, count in sorted(self.restarts.items())]
        learner = [(f"learner restarted ({cause})", count) for cause, count in sorted(self.learner_losses.items())]
        return [
            ("times resumed", self.resumed),
            *(restarts or [("actors restarted", 0)]),
            *(learner or [("learner restarted", self.learner_restarts)]),
            ("environment crashes", self.crashes),
            ("Redis away", self.replay_outages),
            ("seconds without progress", round(self.stalled_seconds)),
            ("chunks quarantined", self.quarantined),
            ("replay rows lost", self.lost_rows),
        ]


@dataclass(frozen=True, config=DOCUMENT)
class Distillation:
    """Of a run that `twist distil` began: where teacher and episodes are from, and whether these came back."""

    run: Name
    """The other run."""
    place: Text
    """Where it was found."""
    checkpoint: Text
    """The other run's checkpoint in which the teacher was found."""
    student: Text
    """How the student began: "new", or "continued" from the other run's."""
    episodes: Count
    """Played again, to their end."""
    differing: Count
    """Of these, not the same to the last bit."""
    drifted: Count
    """Of these, by more than a hundredth of a state's range, or over sooner."""
    largest_drift: Measured
    """Largest difference of any state, as a share of its range."""

    def described(self) -> str:
        """In a sentence or two."""
        student = "New student" if self.student == "new" else "Student continued"
        came_back = "all of them the same to the last bit"
        if self.differing:
            came_back = (
                f"{self.differing:,} of them not the same to the last bit, {self.drifted:,} other ones, by up to "
                f"{100 * self.largest_drift:.2g} % of a state's range"
            )
        return (
            f"{student} for the teacher of run {self.run} ({self.place}), {self.checkpoint}; {self.episodes:,} of its "
            f"episodes played again, {came_back}"
        )


@dataclass(frozen=True, config=DOCUMENT)
class Report:
    """Everything that report.json says; there, the members of `faults` stand among the others."""

    run_id: Name
    task: Text
    mode: Text
    """"local", "debug" or "cluster"."""
    seed: Seed
    env_steps: Count
    """Environment steps collected."""
    wall_seconds: Seconds
    """For which the run ran, pauses between its parts left out."""
    evaluations: Annotated[tuple[EvaluationResult, ...], MaxLen(1_000)]
    """Those of the method's headline, such as the teacher's and the student's in both domains; others may follow."""
    updates: Mapping[Text, Count]
    """Of each part of the method, such as "teacher" and "student"."""
    replay_ratios: Mapping[Text, Measured]
    """Replayed rows per inserted row, as measured, of each part."""
    waiting: Mapping[Text, Measured]
    """Share of their time that each part, and "actors", waited for the others, 0 to 1."""
    faults: Faults
    """What went wrong."""
    versions: Mapping[Text, Text]
    """Of Python and the packages."""
    method: Text = "twist"
    """`learner.method`; reports of older versions, which had one, do not say it."""
    distilled: Distillation | None = None
    """Of a run that `twist distil` began; null: teacher and episodes are the run's own."""

    def __post_init__(self) -> None:
        """Refuses a report without its headline.

        Raises:
            ValueError: naming the evaluation that is missing, or a method that is not known.
        """
        if self.method not in METHODS:
            raise ValueError(f"method = {self.method!r} is not known: there are {', '.join(METHODS)}")
        found = {result.name for result in self.evaluations}
        for name in (result_name(*row) for row in headline(METHODS[self.method])):
            if name not in found:
                raise ValueError(f"evaluations: there is none for {name}, only {', '.join(sorted(found)) or 'none'}")

    def headline(self) -> tuple[EvaluationResult, ...]:
        """The results that count: from state, from images in training visuals, from images in held-out visuals."""
        by_name = {result.name: result for result in self.evaluations}
        return tuple(by_name[result_name(*row)] for row in headline(METHODS[self.method]))

    def to_json(self) -> dict[str, Any]:
        """What report.json holds: plain values; a number that is not finite becomes None."""
        headline = self.headline()
        written = plain(self)
        faults = written.pop("faults")
        return {
            "format": FORMAT,
            **{result.name: result.success for result in headline},
            # Rows can differ only if an evaluation was cut short: the weakest is what the headline stands on.
            "episodes": min(result.episodes for result in headline),
            "intervals": {result.name: list(result.interval) for result in headline},
            **written,
            "evaluations": [result.to_json() for result in self.evaluations],
            **faults,
        }


def write_report(path: Path, report: Report) -> None:
    """Replaces report.json."""
    write_json(path, report.to_json())


def read_report(path: Path) -> Report:
    """Reads a report.json.

    Raises:
        UserError: naming the file and what is wrong with it.
    """
    return read_document(path, Report, "a report", FORMAT, _arranged)


def _arranged(written: dict[str, Any]) -> dict[str, Any]:
    """What `Report.to_json` gave, in the shape of a report."""
    return {**written, "faults": {entry.name: written[entry.name] for entry in fields(Faults) if entry.name in written}}
