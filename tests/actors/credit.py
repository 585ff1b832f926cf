"""Credit for pools that nothing is to hold up."""

from replay.credits import RowCredits
from replay.limiter import Balance, LimiterPlan


def credit_for_all() -> RowCredits:
    """Of a prefill without an end, with weights or without."""
    free = LimiterPlan("teacher", samples_per_insert=0.0, min_rows=10**9)
    return RowCredits(lambda: [Balance()], [free], tolerance_rows=10**9, chunk_rows=1, actor_rows=10**6)
