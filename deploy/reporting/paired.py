"""Whether two evaluations over the very same episodes differ by more than chance."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb


def sign_test(lost: int, gained: int) -> float:
    """The exact sign test (McNemar's, without approximation) of episodes that end otherwise under two conditions.

    Episodes that end alike under both say nothing about the difference and do not enter.

    Args:
        lost: episodes that succeed under the first condition alone.
        gained: episodes that succeed under the second condition alone.

    Returns:
        The two-sided p-value: how likely so uneven a split is if either outcome is as likely as the other.

    Raises:
        ValueError: for a count below 0.

    Source: Q. McNemar, "Note on the sampling error of the difference between correlated proportions", 1947.
    """
    if lost < 0 or gained < 0:
        raise ValueError(f"lost = {lost}, gained = {gained} is not allowed: at least 0")
    differing = lost + gained
    tail = sum(comb(differing, k) for k in range(max(lost, gained), differing + 1))
    return min(1.0, 2 * tail / (1 << differing))


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for there being several of them, in the order given.

    Source: S. Holm, "A simple sequentially rejective multiple test procedure", 1979.
    """
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda k: p_values[k])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = highest
    return corrected


def smallest_certain_loss(tests: int, level: float = 0.05) -> int:
    """How many episodes must be lost, and none gained, before the most uneven of so many tests is below the level."""
    lost = 1
    while tests * sign_test(lost, 0) >= level:
        lost += 1
    return lost
