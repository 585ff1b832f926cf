"""What a method is, in plain values: its parts and its drivers. No torch is loaded for it.

    Method ──parts──>   what each loop trains        name, what it reads, whether it follows another
           ──drivers──> who acts in an episode       name, what it sees, whether it imagines
           ──home──>    the module that has `build` (`learner.methods.part`) and `acting` (`learner.acting`)

Learner, loops, limiters, checkpoints, actors, metrics, evaluations and pages go over parts and drivers; none of them
knows a name. `learner.methods.METHODS` lists the methods.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from learner.config import LearnerConfig

Reads = Literal["states", "pairs"]
"""states: no image byte is read; pairs: states and the images of the same steps."""

Sees = Literal["state", "image"]


@dataclass(frozen=True)
class SameAs:
    """In `Method.suits`: what another setting of the run is, whatever that is.

    Attributes:
        key: of the other setting.
    """

    key: str


@dataclass(frozen=True)
class PartOutline:
    """What one loop trains.

    Attributes:
        name: in metrics, checkpoints and messages, and of its limiter.
        reads: what its batches hold.
        follows: whether it learns from a part before it. Such a part has the settings of `learner.student`, may lag
            (`learner.student_may_lag`), may begin when the others are done (`training.student_begins`), and a run ends
            only after its `training.student_updates`. The others have `learner.batch_size` and its neighbours, and a
            run ends when they have used the rows that are in.
    """

    name: str
    reads: Reads
    follows: bool = False


@dataclass(frozen=True)
class Driver:
    """A policy that can drive an episode; evaluations and clips have its name.

    Attributes:
        name: of the part that trains it; one name sees the same in every method. Where that part follows, it must have
            had `learner.student.warm_up_updates` before it may drive.
        sees: the simulator's state, or the camera's image.
        imagines: whether it has a model that tells the state of steps that it only imagines, for the clips.
    """

    name: str
    sees: Sees
    imagines: bool


@dataclass(frozen=True)
class PartPlan:
    """One loop's share of the settings.

    Attributes:
        part: which.
        batch_size: sequences per update.
        sequence_length: rows of a sequence; 0: a whole chunk.
        samples_per_insert: rows replayed per row inserted; 0: no bound.
        may_lag: whether actors do not wait for it.
    """

    part: PartOutline
    batch_size: int
    sequence_length: int
    samples_per_insert: float
    may_lag: bool


@dataclass(frozen=True)
class Method:
    """One entry of `METHODS`.

    Attributes:
        name: of the setting `learner.method`.
        says: what it is, in one line.
        parts: in the order in which they are built; one that follows comes after what it follows.
        drivers: one at most for each thing to see.
        acts: names of the modules that act, as in checkpoints.
        home: module that has `build` (a `learner.methods.part.Build`) and `acting` (a class below
            `learner.acting.ActingPolicy`).
        settled: settings of a run that make the method what it is, by their dotted keys, with all that they may be
            here; the first is what they are unless another is asked for.
        suits: settings that suit it better than the tasks' own, which are the student's and the teacher's of twist;
            they go over a task's preset, and anything else may be asked for.
        exports: whether `twist export` writes bundles of it.
    """

    name: str
    says: str
    parts: tuple[PartOutline, ...]
    drivers: tuple[Driver, ...]
    acts: tuple[str, ...]
    home: str
    settled: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    suits: Mapping[str, Any] = field(default_factory=dict)
    exports: bool = False

    def __post_init__(self) -> None:
        assert self.parts and not self.parts[0].follows, self.name
        assert {driver.name for driver in self.drivers} <= {part.name for part in self.parts}, self.name
        assert self.drivers and len({driver.sees for driver in self.drivers}) == len(self.drivers), self.name
        assert self.settled.keys().isdisjoint(self.suits), self.name

    @property
    def leading(self) -> tuple[PartOutline, ...]:
        """Parts that follow no other."""
        return tuple(part for part in self.parts if not part.follows)

    @property
    def following(self) -> tuple[PartOutline, ...]:
        """Parts that learn from others."""
        return tuple(part for part in self.parts if part.follows)

    @property
    def needs_images(self) -> bool:
        """Whether anything of it looks at images while a run collects: a part that learns, or a driver."""
        return any(part.reads == "pairs" for part in self.parts) or self.driver("image") is not None

    @property
    def lays(self) -> dict[str, Any]:
        """Settings that it lays over a task's: the first of each that is settled, and those that suit it."""
        return {**{key: allowed[0] for key, allowed in self.settled.items()}, **self.suits}

    def driver(self, sees: Sees) -> Driver | None:
        """Who drives from state, or from images; None where the method has no such driver."""
        return next((driver for driver in self.drivers if driver.sees == sees), None)

    def plans(self, config: LearnerConfig) -> tuple[PartPlan, ...]:
        """The settings of each part, in their order."""
        student = config.student
        return tuple(
            PartPlan(part, student.batch_size, 0, config.student_samples_per_insert, config.student_may_lag)
            if part.follows
            else PartPlan(part, config.batch_size, config.sequence_length, config.teacher_samples_per_insert, False)
            for part in self.parts
        )

    def refusals(self, config: object, root: str = "", but: tuple[str, ...] = ()) -> Iterator[str]:
        """What of the settings is not this method, in one line each: setting, value, what is allowed.

        Args:
            config: of a run, or what is below `root` of it.
            root: such as "learner."; settings that are not below it are not looked at.
            but: settings, and groups of them, that are not looked at either.
        """
        for key, allowed in self.settled.items():
            if not key.startswith(root) or key.startswith(but):
                continue
            value: Any = config
            for name in key.removeprefix(root).split("."):
                value = getattr(value, name)
            if value not in allowed:
                words = " or ".join(map(str, allowed))
                yield f"{key} is {value}: learner.method={self.name} allows {words}"
