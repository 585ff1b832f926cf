"""Every setting of a run: the packages' own, and those of the run as a whole."""

from __future__ import annotations

from dataclasses import field, replace
from typing import Annotated, Literal, get_args

from annotated_types import Ge, Le
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from actors.config import ActorsConfig
from deploy.settings.together import require_possible
from learner.config import LearnerConfig
from replay.config import ReplayConfig
from sim.config import RandomisationConfig, SimConfig

_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True)

Task = Literal["reach", "push", "lift"]
TASKS: tuple[Task, ...] = get_args(Task)
"""The tasks that can be trained: `sim.TASKS`, here without importing a simulator."""

Mode = Literal["local", "debug", "cluster"]
MODES: tuple[Mode, ...] = get_args(Mode)

Begins = Literal["at_once", "after_teacher"]
"""When the student begins to learn."""


@dataclass(frozen=True, config=_STRICT)
class TrainingConfig:
    """How long a run takes, and how often it writes down how it goes."""

    prefill_rows: Annotated[int, Ge(1), Le(10**9)] = 2_000
    """Rows in replay before the first update; their actions are random."""
    ahead_rows: Annotated[int, Ge(1), Le(10**9)] = 1_000
    """Rows by which all actors together may be ahead of the learner, chunks under way included; where actors stand idle
    while the learner waits, more is wanted."""
    env_steps: Annotated[int, Ge(1), Le(10**10)] = 30_000
    """Environment steps to collect in all."""
    student_updates: Annotated[int, Ge(0), Le(10**9)] = 3_000
    """Student updates after which the run ends, once env_steps are in."""
    metrics_every_seconds: Annotated[float, Ge(0.1), Le(1e7)] = 5.0
    """Seconds between two lines of metrics (modes local and cluster)."""
    metrics_every_updates: Annotated[int, Ge(1), Le(10**9)] = 10
    """Teacher updates between two lines of metrics (mode debug)."""
    weights_every_seconds: Annotated[float, Ge(0.1), Le(1e7)] = 2.0
    """Seconds between two times that actors get new weights."""
    checkpoint_every_seconds: Annotated[float, Ge(1), Le(1e7)] = 60.0
    """Seconds between two checkpoints (modes local and cluster)."""
    checkpoint_every_updates: Annotated[int, Ge(1), Le(10**9)] = 100
    """Teacher updates between two checkpoints (mode debug)."""
    learner_hang_seconds: Annotated[float, Ge(1), Le(1e7)] = 180.0
    """Seconds that the learner may take to answer, before its process counts as hung and is replaced; waiting for Redis
    (replay.retry_seconds, at its start replay.outage_seconds) comes on top."""
    max_learner_losses: Annotated[int, Ge(0), Le(10**6)] = 6
    """Times that the learner's process may be lost, other than with its node, without a new checkpoint."""
    keep_checkpoints: Annotated[int, Ge(1), Le(10**6)] = 3
    """Newest checkpoints to keep."""
    snapshot_every_seconds: Annotated[float, Ge(0), Le(1e7)] = 0.0
    """Seconds between two snapshots of the weights that act, for `twist curve`; all of them are kept; 0 takes none
    (modes local and cluster)."""
    snapshot_every_updates: Annotated[int, Ge(0), Le(10**9)] = 0
    """Teacher updates between two such snapshots; 0 takes none (mode debug)."""
    export: bool = False
    """Write a bundle for robots, as `twist export` does, at each checkpoint, into the run's directory `bundle`."""
    student_begins: Begins = "at_once"
    """When the student begins to learn. at_once: beside the teacher; after_teacher, for comparison: once env_steps are
    in and the teacher has made its last update; then student_updates of them, or as many as its bound allows, from the
    replay as it is. A student that has not begun drives no episode, so while collecting actors.student_fraction has no
    effect: set it to 0 on both sides for the same chunks."""

    def __post_init__(self) -> None:
        """Refuses what no single field's limits can.

        Raises:
            ValueError: a run that would end before its first update.
        """
        if self.prefill_rows > self.env_steps:
            raise ValueError(
                f"training.prefill_rows is {self.prefill_rows}: allowed are 1 to training.env_steps, {self.env_steps}"
            )


@dataclass(frozen=True, config=_STRICT)
class EvaluationConfig:
    """The evaluation at the end of a run."""

    episodes: Annotated[int, Ge(1), Le(100_000)] = 100
    """Episodes for each row of the final table."""
    clip_episodes: Annotated[int, Ge(1), Le(100)] = 4
    """Episodes shown in each clip."""
    factor_episodes: Annotated[int, Ge(0), Le(100_000)] = 0
    """Episodes with each group of factors held out alone, see `twist factors`; 0 leaves it out."""
    full_randomisation: bool = False
    """Evaluate in worlds with all of the default randomisation, whatever sim.randomisation says: judges a run that
    trains without some of it by the worlds of the others."""


@dataclass(frozen=True, config=_STRICT)
class DistilledConfig:
    """Of a run that `twist distil` began: whose teacher and episodes it has. Nothing of it is written key=value."""

    student: Literal["", "new", "continued"] = ""
    """How its student began: new, or continued from the other run's; empty: the run has a teacher of its own."""
    run: str = ""
    """Run id of the other run."""
    checkpoint: str = ""
    """The checkpoint of that run in which the teacher was found."""
    place: str = ""
    """Where the other run was found."""


@dataclass(frozen=True, config=_STRICT)
class RunConfig:
    """Everything that decides what a run does. The first four come from the command line's own options."""

    task: Task
    """What the robot learns."""
    mode: Mode = "local"
    """local: parallel on this machine; debug: one process, everything in turn, the same numbers from the same seed;
    cluster: parallel on the Ray cluster that this command was submitted to."""
    seed: Annotated[int, Ge(0), Le(2**31 - 1)] = 0
    """Seed of networks, environments and sampling."""
    redis_url: str | None = field(default=None, repr=False)
    """Redis server or cluster for the replay (redis://, rediss:// or unix://); none starts one of our own. A URL with a
    password is given in the environment variable TWIST_REDIS_URL instead."""
    training: TrainingConfig = field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    learner: LearnerConfig = field(default_factory=LearnerConfig)
    actors: ActorsConfig = field(default_factory=ActorsConfig)
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    sim: SimConfig = field(default_factory=SimConfig)
    distilled: DistilledConfig = field(default_factory=DistilledConfig)

    def __post_init__(self) -> None:
        """Refuses packages' settings that do not go together.

        Raises:
            ValueError: see `deploy.settings.together`.
        """
        require_possible(self)

    @property
    def student_waits(self) -> bool:
        """Whether the student begins only when the teacher is done."""
        return self.training.student_begins == "after_teacher"

    @property
    def is_distilled(self) -> bool:
        """Whether teacher and episodes are another run's, so that there is a student to train and nothing else."""
        return bool(self.distilled.student)

    @property
    def evaluated_sim(self) -> SimConfig:
        """The worlds in which policies are evaluated."""
        full = self.evaluation.full_randomisation
        return replace(self.sim, randomisation=RandomisationConfig()) if full else self.sim


OPTIONS = ("task", "mode", "seed", "redis_url")
"""Settings that have an option of their own and are not written key=value."""

DISTILLED = "distilled."
"""Settings that `twist distil` writes, and nobody else."""
