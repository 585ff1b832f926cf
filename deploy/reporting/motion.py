"""How the arm moved, for people: one row an evaluation."""

from __future__ import annotations

import math

from deploy.reporting.formats import format_number, format_percent
from deploy.runs.results import MotionFigures

MOTION_TITLES = (
    "flips at the goal",
    "swing there (95 %)",
    "beyond joint speed",
    "beyond acceleration",
    "contact at (95 %)",
)
"""What `format_motion` gives."""


def format_motion(motion: MotionFigures) -> tuple[str, ...]:
    """Cells of a row, in the order of `MOTION_TITLES`; a dash for what did not occur."""
    millimetres, contact = _scaled(motion.swing_m, 1000.0), _scaled(motion.contact_m_per_s, 1.0)
    return (
        format_percent(_scaled(motion.flips, 1.0), 1),
        f"{format_number(millimetres, 1)} mm",
        format_percent(motion.beyond_joint_speed, 1),
        format_percent(motion.beyond_joint_acceleration, 1),
        f"{format_number(contact, 2)} m/s",
    )


def _scaled(value: float | None, factor: float) -> float:
    return math.nan if value is None else factor * value
