"""factors.json: the student's success with each group of factors held out alone, and what follows from it.

Every condition runs the same episodes, so that two of them are compared episode by episode: how many are lost, how many
gained. That tells a small difference from chance long before the two intervals part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass as plain_dataclass
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Le, MaxLen
from pydantic.dataclasses import dataclass
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from deploy.reporting.formats import format_interval, format_percent
from deploy.reporting.paired import holm, sign_test, smallest_certain_loss
from deploy.runs.atomic import write_json
from deploy.runs.documents import DOCUMENT, Count, Name, Seed, Text, plain, read_document
from deploy.runs.intervals import wilson
from sim import GROUPS

FORMAT = 1
"""Of factors.json; raised when an older reader could not understand it."""

LEVEL = 0.05
"""A corrected p-value below this is called a difference."""

TRAIN, HELD_OUT = "training visuals", "all held-out visuals"


MOST_EPISODES = 1_000_000
"""Under one condition."""


@dataclass(frozen=True, config=DOCUMENT)
class Condition:
    """How the student fared in one domain."""

    domain: Text
    """See `sim.domains`."""
    episodes: Annotated[int, Ge(1), Le(MOST_EPISODES)]
    """How many were run."""
    failures: Annotated[tuple[Count, ...], MaxLen(MOST_EPISODES)]
    """Which of them failed, counted from 0, in order."""
    mean_return: float
    """Mean sum of rewards of an episode."""

    def __post_init__(self) -> None:
        """Refuses failures that no episode can be.

        Raises:
            ValueError: naming them.
        """
        ordered = all(a < b for a, b in zip(self.failures, self.failures[1:], strict=False))
        if not ordered or (self.failures and self.failures[-1] >= self.episodes):
            raise ValueError(
                f"failures of {self.domain} are {self.failures[:5]}...: numbers below {self.episodes}, in order"
            )

    @property
    def success(self) -> float:
        """Share of the episodes that ended in success."""
        return 1.0 - len(self.failures) / self.episodes

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the success probability."""
        return wilson(self.episodes - len(self.failures), self.episodes)


@plain_dataclass(frozen=True)
class Effect:
    """A condition beside training visuals, over the same episodes.

    Attributes:
        name: a factor, a change, or `HELD_OUT`.
        condition: how the student fared.
        lost: episodes that succeed in training visuals and fail here.
        gained: episodes that fail in training visuals and succeed here.
        p: of the exact sign test; of a factor, corrected for the number of factors.
    """

    name: str
    condition: Condition
    lost: int
    gained: int
    p: float

    @property
    def differs(self) -> bool:
        """Whether more is lost than chance would explain."""
        return self.lost > self.gained and self.p < LEVEL


@dataclass(frozen=True, config=DOCUMENT)
class FactorsReport:
    """Everything that factors.json says, but for what follows from it."""

    run_id: Name
    task: Text
    env_steps: Count
    """Of the checkpoint that was evaluated."""
    episodes: Annotated[int, Ge(1), Le(MOST_EPISODES)]
    """Under each condition."""
    seed: Seed
    """Of the evaluation."""
    train: Condition
    """Nothing held out."""
    held_out: Condition
    """The held-out domain."""
    factors: Annotated[Mapping[Text, Condition], MaxLen(1_000)]
    """Each group of factors that the run draws, held out alone, and each change that was judged alone."""
    widen: Mapping[Text, Text]
    """For each of them a setting that widens what training draws, with its value and limits."""

    def __post_init__(self) -> None:
        """Refuses a factor without advice.

        Raises:
            ValueError: naming it.
        """
        for factor in self.factors:
            if factor not in self.widen:
                raise ValueError(f"widen: there is none for {factor}")

    def effects(self) -> tuple[Effect, ...]:
        """The factors, the one that costs most first."""
        found = [(name, condition, *self._changes(condition)) for name, condition in self.factors.items()]
        corrected = holm([sign_test(lost, gained) for _, _, lost, gained in found])
        effects = [Effect(*entry, p) for entry, p in zip(found, corrected, strict=True)]
        return tuple(sorted(effects, key=lambda effect: (effect.gained - effect.lost, effect.p)))

    def together(self) -> Effect:
        """The held-out domain: textures, things, light and camera at once."""
        lost, gained = self._changes(self.held_out)
        return Effect(HELD_OUT, self.held_out, lost, gained, sign_test(lost, gained))

    def not_drawn(self) -> tuple[str, ...]:
        """Groups that are switched off in this run, so that there is nothing to hold out."""
        return tuple(group for group in GROUPS if group not in self.factors)

    def verdict(self) -> str:
        """What to do about it, in a sentence or two."""
        if self.train.success == 0.0:
            return "Nothing to see yet: the student succeeds in no episode in training visuals either."
        worst = next((effect for effect in self.effects() if effect.differs), None)
        if worst is not None:
            name = worst.name.replace("_", " ").capitalize()
            return (
                f"{name} cost{'' if worst.name.endswith('s') else 's'} most: alone, "
                f"{worst.lost} of {self.episodes} episodes fail that succeed in training visuals, and {worst.gained} "
                f"the other way round ({format_p(worst.p)}). To widen: {self.widen[worst.name]}."
            )
        least = smallest_certain_loss(max(1, len(self.factors)), LEVEL)
        text = (
            f"No factor alone can be told from training visuals; in {self.episodes} episodes, "
            f"the loss of fewer than {least} never can."
        )
        together = self.together()
        if together.differs:
            text += f" All that is held out together can: {together.lost} lost, {together.gained} gained."
        return text

    def to_json(self) -> dict[str, Any]:
        """What factors.json holds: plain values, also those that follow from others."""
        return {
            "format": FORMAT,
            **plain(self),
            "train": _condition_json(self.train),
            "held_out": _effect_json(self.together()),
            "factors": {effect.name: _effect_json(effect) for effect in self.effects()},
            "not_drawn": list(self.not_drawn()),
            "verdict": self.verdict(),
        }

    def _changes(self, condition: Condition) -> tuple[int, int]:
        before, now = set(self.train.failures), set(condition.failures)
        return len(now - before), len(before - now)


def write_factors(path: Path, report: FactorsReport) -> None:
    """Replaces factors.json."""
    write_json(path, report.to_json())


def read_factors(path: Path) -> FactorsReport:
    """Reads a factors.json.

    Raises:
        UserError: naming the file and what is wrong with it.
    """
    return read_document(path, FactorsReport, "a report on factors", FORMAT)


def print_factors(report: FactorsReport, console: Console) -> None:
    """The table on the terminal, and what follows from it."""
    table = Table(
        title=f"{report.task}, student: where it fails",
        title_justify="left",
        title_style="bold",
        header_style="dim",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("held out or changed")
    for heading in ("success", "95 % interval", "lost", "gained", "p"):
        table.add_column(heading, justify="right")
    table.add_row(
        f"nothing ({TRAIN})", format_percent(report.train.success), format_interval(report.train.interval), "", "", ""
    )
    for effect in (*report.effects(), report.together()):
        table.add_row(
            effect.name,
            format_percent(effect.condition.success),
            format_interval(effect.condition.interval),
            f"{effect.lost}",
            f"{effect.gained}",
            format_p(effect.p, short=True),
            style="bold" if effect.differs else "",
        )
    console.print()
    console.print(table)
    if report.not_drawn():
        console.print(f"switched off in this run: {', '.join(report.not_drawn())}", highlight=False)
    console.print(report.verdict(), highlight=False)


def format_p(p: float, *, short: bool = False) -> str:
    """A p-value for people: "p = 0.012", "p < 0.001"; short, without the letter."""
    text = "< 0.001" if p < 0.001 else f"{p:.3f}"
    return text if short else f"p {text}" if p < 0.001 else f"p = {text}"


def _condition_json(condition: Condition) -> dict[str, Any]:
    return {"success": condition.success, "interval": list(condition.interval), **plain(condition)}


def _effect_json(effect: Effect) -> dict[str, Any]:
    return {**_condition_json(effect.condition), "lost": effect.lost, "gained": effect.gained, "p": effect.p}
