"""Every setting of the actors, with its unit, its limits and its default.

The metadata of each field (`help`, `min`, `max`) is what the command line validates and prints.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class ActorsConfig:
    """How many actors there are, what each of them does, and how much trouble is put up with."""

    count: int = field(default=1, metadata={"help": "actor processes; with max, those at the start", "min": 1})
    max: int = field(
        default=0,
        metadata={
            "help": "most actors of a pool that follows what the learner lacks; 0: there are always count",
            "min": 0,
        },
    )
    min: int = field(default=1, metadata={"help": "fewest actors of such a pool", "min": 1})
    resize_seconds: float = field(
        default=30.0, metadata={"help": "seconds between two decisions on the number of actors", "min": 1.0}
    )
    max_hours: float = field(
        default=0.0,
        metadata={
            "help": "actor-hours after which the run collects no more, as after env_steps; 0: no cap",
            "min": 0.0,
        },
    )
    envs_per_actor: int = field(
        default=8, metadata={"help": "environments of one actor; one batched policy step serves them all", "min": 1}
    )
    state_only_envs: int = field(
        default=0,
        metadata={
            "help": "of these environments, how many render no image, and have a state with errors "
            "(sim.randomisation.sensing): of use to the teacher alone",
            "min": 0,
        },
    )
    student_fraction: float = field(
        default=0.5,
        metadata={
            "help": "share of episodes driven from images through the student, once it has trained enough to drive",
            "min": 0.0,
            "max": 1.0,
        },
    )
    rows_per_call: int = field(
        default=256, metadata={"help": "rows collected between two looks at the newest weights", "min": 1}
    )
    wait_seconds: float = field(
        default=1.0, metadata={"help": "seconds one call waits at most while the learner is behind", "min": 0.0}
    )
    crash_allowance: int = field(
        default=3, metadata={"help": "environment crashes that one actor may have in any case", "min": 0}
    )
    crashes_per_1000_episodes: float = field(
        default=5.0,
        metadata={"help": "environment crashes allowed on top of that, per 1000 finished episodes", "min": 0.0},
    )
    max_memory_mb: float = field(
        default=3000.0,
        metadata={"help": "resident MB (2^20 bytes) above which an actor is drained and replaced", "min": 100.0},
    )
    num_cpus: float = field(
        default=0.0,
        metadata={"help": "CPUs that Ray reserves for one actor; 0 lets a small machine share its cores", "min": 0.0},
    )
    resource: str = field(
        default="", metadata={"help": "custom Ray resource of which each actor takes one unit; empty for none"}
    )
    max_errors: int = field(
        default=5, metadata={"help": "errors of our own code tolerated per actor within error_window_seconds", "min": 0}
    )
    error_window_seconds: float = field(
        default=600.0, metadata={"help": "seconds after which an error is forgiven", "min": 0.0}
    )
    backoff_seconds: float = field(
        default=0.5, metadata={"help": "seconds of pause after a first failure; doubles with each in a row", "min": 0.0}
    )
    max_backoff_seconds: float = field(default=30.0, metadata={"help": "longest such pause in seconds", "min": 0.0})
    drain_seconds: float = field(
        default=30.0, metadata={"help": "seconds that actors have at the end to write what they hold", "min": 0.0}
    )

    def __post_init__(self) -> None:
        """Refuses what no single field's limits can.

        Raises:
            ValueError: `state_only_envs` above `envs_per_actor`; a `min` above `max`.
        """
        if 0 < self.max < self.min:
            raise ValueError(f"min={self.min}: allowed are 1 to max={self.max}")
        if self.state_only_envs > self.envs_per_actor:
            raise ValueError(
                f"state_only_envs={self.state_only_envs}: allowed are 0 to envs_per_actor={self.envs_per_actor}"
            )

    @property
    def elastic(self) -> bool:
        """Whether the number of actors follows what the learner lacks."""
        return self.max > 0

    @property
    def at_start(self) -> int:
        """Actors to begin with."""
        return min(max(self.count, self.min), self.max) if self.elastic else self.count
