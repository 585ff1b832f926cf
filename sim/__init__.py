"""Domain-randomised Panda worlds as Gymnasium environments, with privileged state and images of the same steps."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from sim.changes import CHANGES
from sim.config import DynamicsConfig, RandomisationConfig, SensingConfig, SimConfig, TimingConfig, VisualConfig
from sim.domains import (
    DOMAINS,
    DRAWN_DOMAINS,
    GROUPS,
    checked_domain,
    drawn_groups,
    held_out_domain,
    held_out_groups,
    is_of_the_lab,
)
from sim.lab import ROOMS

TASKS = ("reach", "push", "lift")

__all__ = [
    "CHANGES",
    "DOMAINS",
    "DRAWN_DOMAINS",
    "GROUPS",
    "ROOMS",
    "TASKS",
    "DynamicsConfig",
    "RandomisationConfig",
    "SensingConfig",
    "SimConfig",
    "TimingConfig",
    "VisualConfig",
    "checked_domain",
    "drawn_groups",
    "held_out_domain",
    "held_out_groups",
    "is_of_the_lab",
    "make_env",
]

for _task in TASKS:
    gym.register(f"twist/Panda{_task.capitalize()}-v0", "sim.environment:PandaEnv", kwargs={"task": _task})
# Its counts go on over resets, so that equal seeds do not give equal observations.
gym.register("twist/Counting-v0", "sim.counting:CountingEnv", nondeterministic=True)


def make_env(
    task: str,
    config: SimConfig,
    *,
    domain: str = "train",
    views: int | None = None,
    render_mode: str | None = None,
    state_errors: bool = False,
    quiet: bool = False,
    measure_motion: bool = False,
) -> gym.Env[Any, Any]:
    """Build a task's environment without Gymnasium's wrappers.

    Args:
        task: One of `TASKS`, or "counting" for the environment that tests the pipeline.
        config: Sizes, rates and randomisation.
        domain: Visual domain of episodes whose reset names none, see `sim.domains`.
        views: Images per step, each its own visual draw; None: as in the config, 0: none.
        render_mode: None or "rgb_array".
        state_errors: Whether the state is as wrong as the randomisation says, or the truth.
        quiet: Whether nothing is said while the renderer is compiled, as in a worker whose driver has said it.
        measure_motion: Whether `info["motion"]` of a step tells what the arm did, see `sim.motion`.

    Raises:
        ValueError: An unknown task, domain or render mode.
    """
    if task == "counting":
        # Imported here, so that whoever only counts, or reads a config, loads no PyBullet.
        from sim.counting import CountingEnv

        return CountingEnv(config, domain, views, render_mode)
    from sim.environment import PandaEnv

    return PandaEnv(task, config, domain, views, render_mode, state_errors, quiet=quiet, measure_motion=measure_motion)
