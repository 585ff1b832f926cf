"""What one call of a rollout worker did, as plain values that travel between processes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class EpisodeResult:
    """One finished episode.

    Attributes:
        driver: who acted: "random", or a driver of the method, such as "teacher".
        domain: the visual domain, as the environment names it.
        seed: with it alone the environment starts the same episode again.
        steps: environment steps, the reset not counted.
        episode_return: sum of rewards.
        success: `is_success` at the last step.
        policy_version: of the weights that acted last; 0 when the actions were random.
    """

    driver: str
    domain: str
    seed: int
    steps: int
    episode_return: float
    success: bool
    policy_version: int


@dataclass(frozen=True)
class Crash:
    """An environment that raised, or returned what cannot be stored.

    Attributes:
        seed: of the episode; no other one begins with it.
        renders: whether the environment gave images.
        actions: all that the environment was given in this episode, in its own bounds, the one that it did not survive
            included.
        error: what was raised, in one line.
        traceback: the same in full.
    """

    seed: int
    renders: bool
    actions: tuple[tuple[float, ...], ...]
    error: str
    traceback: str


@dataclass(frozen=True)
class Resimulated:
    """Episodes of another run that were played again: whether they have become the same ones.

    Attributes:
        episodes: played to their end.
        differing: of these, not the same to the last bit.
        drifted: of these, by more than `actors.rerendering.DRIFT`, or over sooner.
        largest: difference of any entry of a state, as a share of its range.
    """

    episodes: int = 0
    differing: int = 0
    drifted: int = 0
    largest: float = 0.0

    def __add__(self, other: "Resimulated") -> "Resimulated":
        """Of both."""
        return Resimulated(
            self.episodes + other.episodes,
            self.differing + other.differing,
            self.drifted + other.drifted,
            max(self.largest, other.largest),
        )


@dataclass(frozen=True)
class RolloutStats:
    """What one call did, and how the worker stands.

    Attributes:
        actor_id: whose.
        incarnation: how often this actor had been started before.
        rows: rows handed to replay's writers, those of resets included.
        env_steps: the same without the resets.
        episodes: those that finished in this call.
        crashes: environments that raised in this call and were rebuilt.
        first_crashes: the first few of them in full.
        waited_seconds: of `seconds`, what passed waiting for Redis and, in a Ray actor, for the call, which comes when
            there is credit.
        seconds: length of the call and, in a Ray actor, of the pause before it.
        policy_version: the weights in use at the end; 0 for none yet.
        memory_mb: resident memory of this process now, in 2^20 bytes.
        pending_rows: of the chunks that are begun and not yet in replay, those not yet taken included.
        warnings: in this actor's process since the call before, each with how often.
        resimulated: of a worker that plays another run's episodes, those that came to their end in this call.
    """

    actor_id: str
    incarnation: int
    rows: int
    env_steps: int
    episodes: tuple[EpisodeResult, ...]
    crashes: int
    first_crashes: tuple[Crash, ...]
    waited_seconds: float
    seconds: float
    policy_version: int
    memory_mb: float
    pending_rows: int
    warnings: tuple[tuple[str, int], ...] = ()
    resimulated: Resimulated = Resimulated()

    def returns(self, driver: str) -> tuple[float, ...]:
        """Sums of rewards of the finished episodes that `driver` drove."""
        return tuple(episode.episode_return for episode in self.episodes if episode.driver == driver)

    def successes(self, driver: str) -> int:
        """How many of the finished episodes that `driver` drove ended in success."""
        return sum(episode.success for episode in self.episodes if episode.driver == driver)
