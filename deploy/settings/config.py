"""Every setting of a run: the packages' own, and those of the run as a whole."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from actors.config import ActorsConfig
from deploy.settings.together import require_together
from learner.config import LearnerConfig
from replay.config import ReplayConfig
from sim.config import RandomisationConfig, SimConfig

TASKS = ("reach", "push", "lift")
"""The tasks that can be trained: `sim.TASKS`, here without importing a simulator."""

MODES = ("local", "debug", "cluster")

AT_ONCE, AFTER_TEACHER = "at_once", "after_teacher"
"""When the student begins to learn."""


@dataclass(frozen=True)
class TrainingConfig:
    """How long a run takes, and how often it writes down how it goes."""

    prefill_rows: int = field(
        default=2_000, metadata={"help": "rows in replay before the first update; their actions are random", "min": 1}
    )
    env_steps: int = field(default=30_000, metadata={"help": "environment steps to collect in all", "min": 1})
    student_updates: int = field(
        default=3_000, metadata={"help": "student updates after which the run ends, once env_steps are in", "min": 0}
    )
    metrics_every_seconds: float = field(
        default=5.0, metadata={"help": "seconds between two lines of metrics (modes local and cluster)", "min": 0.1}
    )
    metrics_every_updates: int = field(
        default=10, metadata={"help": "teacher updates between two lines of metrics (mode debug)", "min": 1}
    )
    weights_every_seconds: float = field(
        default=2.0, metadata={"help": "seconds between two times that actors get new weights", "min": 0.1}
    )
    checkpoint_every_seconds: float = field(
        default=60.0, metadata={"help": "seconds between two checkpoints (modes local and cluster)", "min": 1.0}
    )
    checkpoint_every_updates: int = field(
        default=100, metadata={"help": "teacher updates between two checkpoints (mode debug)", "min": 1}
    )
    keep_checkpoints: int = field(default=3, metadata={"help": "newest checkpoints to keep", "min": 1})
    snapshot_every_seconds: float = field(
        default=0.0,
        metadata={
            "help": "seconds between two snapshots of the weights that act, for `twist curve`; all of them are kept; 0 "
            "takes none (modes local and cluster)",
            "min": 0.0,
        },
    )
    snapshot_every_updates: int = field(
        default=0,
        metadata={"help": "teacher updates between two such snapshots; 0 takes none (mode debug)", "min": 0},
    )
    student_begins: str = field(
        default=AT_ONCE,
        metadata={
            "help": "when the student begins to learn. at_once: beside the teacher; after_teacher, for comparison: "
            "once env_steps are in and the teacher has made its last update; then student_updates of them, or as many "
            "as its bound allows, from the replay as it is. A student that has not begun drives no episode, so while "
            "collecting actors.student_fraction has no effect: set it to 0 on both sides for the same chunks",
            "choices": (AT_ONCE, AFTER_TEACHER),
        },
    )

    def __post_init__(self) -> None:
        """Refuses what no single field's limits can.

        Raises:
            ValueError: a run that would end before its first update.
        """
        if self.prefill_rows > self.env_steps:
            raise ValueError(
                f"training.prefill_rows is {self.prefill_rows}: allowed are 1 to training.env_steps, {self.env_steps}"
            )


@dataclass(frozen=True)
class EvaluationConfig:
    """The evaluation at the end of a run."""

    episodes: int = field(default=100, metadata={"help": "episodes for each row of the final table", "min": 1})
    clip_episodes: int = field(default=4, metadata={"help": "episodes shown in each clip", "min": 1})
    factor_episodes: int = field(
        default=0,
        metadata={"help": "episodes with each factor held out alone, see `twist factors`; 0 leaves it out", "min": 0},
    )
    full_randomisation: bool = field(
        default=False,
        metadata={
            "help": "evaluate in worlds with all of the default randomisation, whatever sim.randomisation says: judges "
            "a run that trains without some of it by the worlds of the others"
        },
    )


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides what a run does. The first four come from the command line's own options."""

    task: str = field(metadata={"help": "what the robot learns", "choices": TASKS})
    mode: str = field(
        default="local",
        metadata={
            "help": "local: parallel on this machine; debug: one process, everything in turn, the same numbers from "
            "the same seed; cluster: parallel on the Ray cluster that this command was submitted to",
            "choices": MODES,
        },
    )
    seed: int = field(
        default=0, metadata={"help": "seed of networks, environments and sampling", "min": 0, "max": 2**31 - 1}
    )
    redis_url: str | None = field(
        default=None,
        repr=False,
        metadata={
            "help": "Redis server or cluster for the replay (redis://, rediss:// or unix://); none starts one of our "
            "own. A URL with a password is given in the environment variable TWIST_REDIS_URL instead"
        },
    )
    training: TrainingConfig = field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    learner: LearnerConfig = field(default_factory=LearnerConfig)
    actors: ActorsConfig = field(default_factory=ActorsConfig)
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    sim: SimConfig = field(default_factory=SimConfig)

    def __post_init__(self) -> None:
        """Refuses packages' settings that do not go together.

        Raises:
            ValueError: see `deploy.settings.together`.
        """
        require_together(self)

    @property
    def student_waits(self) -> bool:
        """Whether the student begins only when the teacher is done."""
        return self.training.student_begins == AFTER_TEACHER

    @property
    def evaluated_sim(self) -> SimConfig:
        """The worlds in which policies are evaluated."""
        full = self.evaluation.full_randomisation
        return replace(self.sim, randomisation=RandomisationConfig()) if full else self.sim


OPTIONS = ("task", "mode", "seed", "redis_url")
"""Settings that have an option of their own and are not written key=value."""
