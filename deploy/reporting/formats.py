"""Numbers for people: shares, counts, intervals, durations."""

from __future__ import annotations

import math


def format_interval(interval: tuple[float, float]) -> str:
    """A 95 % interval in per cent, like "91.8 – 99.0 %"."""
    low, high = interval
    return f"{100 * low:.1f} – {100 * high:.1f} %"


def format_percent(share: float, digits: int = 0) -> str:
    """A share of 1 in per cent; a dash where it is not known."""
    return f"{100 * share:.{digits}f} %" if math.isfinite(share) else "–"


def format_number(value: float, digits: int = 0) -> str:
    """A number with separated thousands; a dash where it is not known."""
    return f"{value:,.{digits}f}" if math.isfinite(value) else "–"


def format_duration(seconds: float) -> str:
    """Seconds for people: "48 s", "7 min 03 s", "2 h 05 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
