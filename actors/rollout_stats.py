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

    def returns(self, driver: str) -> tuple[float, ...]:
        """Sums of rewards of the finished episodes that `driver` drove."""
        return tuple(episode.episode_return for episode in self.episodes if episode.driver == driver)

    def successes(self, driver: str) -> int:
        """How many of the finished episodes that `driver` drove ended in success."""
        return sum(episode.success for episode in self.episodes if episode.driver == driver)
