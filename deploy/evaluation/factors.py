"""Where it fails: the student over the same episodes with one thing that it sees held out, or changed, at a time.

Every condition must judge the same weights, so they are read once per process and checked to be those of one
checkpoint: a run that is still being trained may write a new one in between.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

import sim
from deploy.errors import UserError
from deploy.evaluation.evaluate import best_driver, evaluate
from deploy.evaluation.two_processes import map_in_two_processes
from deploy.process.shown import shown
from deploy.reporting.factors import Condition, FactorsReport, print_factors, write_factors
from deploy.reporting.factors_figure import write_factors_figure
from deploy.reporting.page import write_page
from deploy.runs.acting import load_policy
from deploy.runs.directory import RunDirectory
from deploy.settings.config import RunConfig
from deploy.settings.overrides import Setting, flatten, settings
from deploy.settings.values import show
from learner.methods import METHODS

WIDEN = {
    "textures": ("visual.texture_photograph", "visual.texture_wood", "visual.surface_tint", "visual.texture_scale"),
    "things": ("visual.thing_before", "visual.things_most"),
    "light": (
        "visual.light_diffuse",
        "visual.light_elevation_deg",
        "visual.second_light",
        "visual.light_temperature_k",
    ),
    "camera": ("visual.camera_position_m", "visual.camera_aim_m"),
    "noise": ("visual.noise_levels", "visual.blur_px", "visual.white_balance", "visual.exposure_stops"),
    "delay": ("timing.action_delay_s", "timing.camera_delay_s", "timing.held_frame_probability"),
}
"""What to widen in training for each of `sim.GROUPS`, below `sim.randomisation.`, the best first. What the held-out
domain itself draws from (textures, things, directions of light) is no setting: it would be held out no longer."""

_OTHERWISE = "sim.views"
"""Images per step, each its own visual draw: what is left where every range is as wide as it may be."""


def evaluate_factors(
    run: RunDirectory, *, episodes: int, seed: int, parallel: bool, changes: bool = False
) -> FactorsReport:
    """Evaluates the student's latest checkpoint under every condition, over the same episodes.

    Args:
        run: with a checkpoint.
        episodes: under each condition.
        seed: of the evaluation, as for `twist eval`.
        parallel: in two processes of their own.
        changes: also with each change of `sim.CHANGES` alone.

    Raises:
        UserError: there is no checkpoint, it is corrupt, or a new one was written meanwhile; the method has no policy
            that sees images.
    """
    config, step = run.config, run.newest_checkpoint().step
    method = METHODS[config.learner.method]
    if method.driver("image") is None:
        raise UserError(f"run directory {run.path}: method {method.name} has no policy that sees images")
    groups = sim.drawn_groups(config.evaluated_sim.randomisation)
    names = [*groups, *(sim.CHANGES if changes else ())]
    alone = [*map(sim.held_out_domain, groups), *(f"alone:{name}" for name in names[len(groups) :])]
    domains = ["train", *alone, "held_out"]
    condition: Callable[[str], Condition] = partial(_condition, path=run.path, step=step, episodes=episodes, seed=seed)
    train, *found, held_out = (map_in_two_processes if parallel else map)(condition, domains)
    return FactorsReport(
        run_id=run.run_id,
        task=config.task,
        env_steps=step,
        episodes=episodes,
        seed=seed,
        train=train,
        held_out=held_out,
        factors=dict(zip(names, found, strict=True)),
        widen={name: what_to_widen(config, sim.CHANGES[name].group if name in sim.CHANGES else name) for name in names},
    )


def report_factors(run: RunDirectory, *, episodes: int, seed: int, changes: bool = False) -> FactorsReport:
    """Evaluates, and writes factors.json and the figure into the run directory.

    Raises:
        UserError: as `evaluate_factors`.
    """
    report = evaluate_factors(run, episodes=episodes, seed=seed, parallel=run.config.mode != "debug", changes=changes)
    write_factors(run.path / "factors.json", report)
    with shown("factors.png"):
        write_factors_figure(run.path / "factors.png", report)
    return report


def factors_command(path: Path, *, episodes: int, seed: int, changes: bool, console: Console | None) -> dict[str, Any]:
    """`twist factors`: reports, and makes the run's page anew where it has one.

    Args:
        path: the run directory.
        episodes: under each condition.
        seed: of the evaluation.
        changes: also with each change of `sim.CHANGES` alone.
        console: for the table; None prints nothing.

    Returns:
        What factors.json says.

    Raises:
        UserError: as `evaluate_factors`, or there is no run.
    """
    run = RunDirectory.open(path)
    report = report_factors(run, episodes=episodes, seed=seed, changes=changes)
    written = [run.path / "factors.json", run.path / "factors.png"]
    if run.report_json.exists():
        written.append(write_page(run.path))
    if console is not None:
        print_factors(report, console)
        for file in written:
            console.print(str(file), style="cyan", soft_wrap=True, highlight=False, markup=False)
    return report.to_json()


def what_to_widen(config: RunConfig, group: str) -> str:
    """The first setting of a group that is not yet as wide as it may be, with its value and what is allowed."""
    if group not in sim.drawn_groups(config.sim.randomisation):
        return "this run trains without it, switch it on"
    known, values = settings(RunConfig), flatten(config)
    keys = [f"sim.randomisation.{key}" for key in WIDEN[group]]
    open_ones = [key for key in keys if _can_widen(known[key], values[key])]
    if open_ones:
        key = open_ones[0]
        return f"{key} (now {show(values[key])}, allowed {show(known[key].minimum)} to {show(known[key].maximum)})"
    return f"its settings are as wide as allowed, more draws per step come from {_OTHERWISE} (now {values[_OTHERWISE]})"


def _can_widen(setting: Setting, value: Any) -> bool:
    assert setting.minimum is not None and setting.maximum is not None, setting.key
    if isinstance(value, list):
        return bool(value[0] > setting.minimum or value[1] < setting.maximum)
    return bool(value < setting.maximum)


def _condition(domain: str, *, path: Path, step: int, episodes: int, seed: int) -> Condition:
    torch.set_num_threads(1)
    run = RunDirectory.open(path)
    policy = load_policy(run)
    if run.newest_checkpoint().step != step:
        raise UserError(f"run directory {path}: a new checkpoint was written meanwhile; try again when it is trained")
    found = evaluate(
        policy,
        run.config.task,
        run.config.evaluated_sim,
        driver=best_driver(run.config),
        domain=domain,
        episodes=episodes,
        seed=seed,
    )
    failures = tuple(index for index, success in enumerate(found.successes) if not success)
    return Condition(domain, episodes, failures, float(np.mean(found.returns)))
