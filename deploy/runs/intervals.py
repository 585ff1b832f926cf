"""How sure a success rate is after so many episodes."""

from __future__ import annotations

from math import sqrt

Z_95 = 1.959963984540054
"""The standard normal deviate that leaves 2.5 % above it."""


def wilson(successes: int, episodes: int, z: float = Z_95) -> tuple[float, float]:
    """The Wilson score interval of a success probability.

    Unlike the textbook's `p ± z·sqrt(p(1-p)/n)` it stays within [0, 1] and keeps a width when every episode succeeds,
    which is where a trained policy lies.

    Args:
        successes: episodes that succeeded.
        episodes: episodes in all, at least 1.
        z: standard normal deviate; the default gives 95 %.

    Returns:
        Lower and upper bound of the probability.

    Raises:
        ValueError: unless 0 <= successes <= episodes and episodes >= 1.

    Source: E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", 1927.
    """
    if episodes < 1:
        raise ValueError(f"episodes = {episodes} is not allowed: at least 1")
    if not 0 <= successes <= episodes:
        raise ValueError(f"successes = {successes} is not allowed: from 0 to the number of episodes, {episodes}")
    rate = successes / episodes
    shrink = 1 + z * z / episodes
    centre = (rate + z * z / (2 * episodes)) / shrink
    half = z / shrink * sqrt(rate * (1 - rate) / episodes + z * z / (4 * episodes * episodes))
    # At 0 and at n the bound is exactly 0 and 1; rounding would leave 1e-17 instead.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == episodes else min(1.0, centre + half)
    return low, high
