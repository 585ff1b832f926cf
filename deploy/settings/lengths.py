"""How long a run is: what its last checkpoint carries, and by which a finished run is known."""

from __future__ import annotations

from deploy.settings.config import RunConfig


def lengths(config: RunConfig) -> dict[str, int]:
    """What the last checkpoint of a complete run carries: a run that is then made longer is no longer complete."""
    return {"env_steps": config.training.env_steps, "student_updates": config.training.student_updates}
