"""Every setting of the actors, with its unit, its limits and its default.

The type of each field says what it may be and the text below it what it means: no object can be made with anything
else, and the command line reads and prints both.
"""

from typing import Annotated

from annotated_types import Ge, Le
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True)

Share = Annotated[float, Ge(0), Le(1)]


@dataclass(frozen=True, config=_STRICT)
class ActorsConfig:
    """How many actors there are, what each of them does, and how much trouble is put up with."""

    count: Annotated[int, Ge(1), Le(100_000)] = 1
    """Actor processes; with max, those at the start."""
    max: Annotated[int, Ge(0), Le(100_000)] = 0
    """Most actors of a pool that follows what the learner lacks; 0: there are always count."""
    min: Annotated[int, Ge(1), Le(100_000)] = 1
    """Fewest actors of such a pool."""
    resize_seconds: Annotated[float, Ge(1), Le(1e7)] = 30.0
    """Seconds between two decisions on the number of actors."""
    max_hours: Annotated[float, Ge(0), Le(1e9)] = 0.0
    """actor-hours after which the run collects no more, as after env_steps; 0: no cap."""
    envs_per_actor: Annotated[int, Ge(1), Le(1_000)] = 8
    """Environments of one actor; one batched policy step serves them all."""
    state_only_envs: Annotated[int, Ge(0), Le(1_000)] = 0
    """Of these environments, how many render no image, and have a state with errors (sim.randomisation.sensing): of use
    to the teacher alone. Where a method looks at no image (oracle) the others render none either."""
    student_fraction: Share = 0.5
    """Share of episodes driven from images, through the student, once it has trained enough to drive; where the method
    has nobody who drives from state, all are driven from images."""
    rows_per_call: Annotated[int, Ge(1), Le(10**6)] = 256
    """Rows collected between two looks at the newest weights."""
    crash_allowance: Annotated[int, Ge(0), Le(10**9)] = 3
    """Environment crashes that one actor may have in any case."""
    crashes_per_1000_episodes: Annotated[float, Ge(0), Le(1e9)] = 5.0
    """Environment crashes allowed on top of that, per 1000 finished episodes."""
    max_memory_mb: Annotated[float, Ge(100), Le(1e9)] = 3000.0
    """Resident MB (2^20 bytes) above which an actor is drained and replaced."""
    num_cpus: Annotated[float, Ge(0), Le(1e6)] = 0.0
    """CPUs that Ray reserves for one actor; 0 lets a small machine share its cores."""
    resource: str = ""
    """Custom Ray resource of which each actor takes one unit; empty for none."""
    max_errors: Annotated[int, Ge(0), Le(10**9)] = 5
    """Errors and losses of one actor's process, other than with its node, tolerated within error_window_seconds."""
    error_window_seconds: Annotated[float, Ge(0), Le(1e7)] = 600.0
    """Seconds after which such an error or loss is forgiven."""
    backoff_seconds: Annotated[float, Ge(0), Le(1e7)] = 0.5
    """Seconds of pause after a first failure; doubles with each in a row."""
    max_backoff_seconds: Annotated[float, Ge(0), Le(1e7)] = 30.0
    """Longest such pause in seconds."""
    start_seconds: Annotated[float, Ge(1), Le(1e7)] = 300.0
    """Seconds from the start of an actor's process after which one that is not ready counts as hung and is replaced."""
    hang_seconds: Annotated[float, Ge(1), Le(1e7)] = 60.0
    """Seconds that a call may take, and one more for each of its rows (rows_per_call), before its actor counts as hung
    and is replaced; waiting for Redis (replay.retry_seconds) comes on top."""
    drain_seconds: Annotated[float, Ge(0), Le(1e7)] = 30.0
    """Seconds that actors have at the end to write what they hold."""

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
