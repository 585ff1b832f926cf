"""The end of a run: evaluation in unseen visual worlds, clips, curves, report and page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from deploy.evaluation.evaluate import Evaluation, clip_row, evaluate, find_driver
from deploy.evaluation.factors import report_factors
from deploy.evaluation.two_processes import map_in_two_processes
from deploy.process.shown import shown
from deploy.reporting.clips import Traces, write_clip, write_imagined_clip
from deploy.reporting.closing import print_report
from deploy.reporting.contact_sheet import write_contact_sheet
from deploy.reporting.curves import write_curves
from deploy.reporting.factors import print_factors
from deploy.reporting.fault_counts import count_faults
from deploy.reporting.metrics import MetricsWriter, read_metrics
from deploy.reporting.page import write_page
from deploy.runs.acting import load_policy
from deploy.runs.directory import RunDirectory
from deploy.runs.report import Distillation, Report, write_report
from deploy.runs.results import EvaluationResult, headline
from deploy.runs.versions import versions
from deploy.settings.config import RunConfig
from learner.methods import METHODS, Method, Sees
from replay.store import ReplayStore

CAPTIONS: Mapping[tuple[Sees, str], str] = {
    ("state", "train"): "from state (training visuals)",
    ("image", "train"): "from images (training visuals)",
    ("image", "held_out"): "from images (visuals never seen in training)",
}
RANDOMISED = "from images (randomised visuals)"
"""Instead of training visuals, where `evaluation.full_randomisation` is set."""

CONTEXT_STEPS = 5
"""Steps of an episode that the world model sees before it imagines the rest, in the clips."""


def conclude(
    config: RunConfig, run: RunDirectory, metrics: MetricsWriter, store: ReplayStore, console: Console
) -> Report:
    """Evaluates the latest checkpoint and writes everything that a finished run has.

    Args:
        config: resolved settings.
        run: claimed.
        metrics: the run's writer.
        store: the run's replay, for its counters.
        console: for the closing table.

    Returns:
        The report as it was written.
    """
    method = METHODS[config.learner.method]
    rows = headline(method)
    console.print(f"evaluating {config.evaluation.episodes} episodes each of {len(rows)} kinds", highlight=False)
    evaluated = _evaluate_all(run, rows, parallel=config.mode != "debug")
    full = config.evaluation.full_randomisation
    results = tuple(replace(evaluation.result, full_randomisation=full) for evaluation in evaluated)
    report = _report(config, run, store, results)
    metrics.write("evaluation", report.env_steps, {k: v for result in results for k, v in result.metrics().items()})
    write_report(run.report_json, report)
    with shown("clips/"):
        _write_clips(run, method, evaluated)
    with shown("curves/"):
        write_curves(run.metrics, run.curves)
    with shown("worlds.png"):
        write_contact_sheet(config.task, config.sim, run.path / "worlds.png", seed=config.seed, columns=8, rows=4)
    factors = None
    seeing = method.driver("image")
    if config.evaluation.factor_episodes and seeing is not None:
        console.print(f"evaluating the {seeing.name} with each group of factors held out alone", highlight=False)
        factors = report_factors(run, episodes=config.evaluation.factor_episodes, seed=config.seed)
    with shown("report.html"):
        write_page(run.path)
    with shown("the closing table"):
        if factors is not None:
            print_factors(factors, console)
        print_report(report, _paths(run), console)
    return report


def _evaluate_all(run: RunDirectory, rows: Sequence[tuple[str, str]], *, parallel: bool) -> list[Evaluation]:
    if not parallel:
        return [_evaluate_row(run.path, driver, domain) for driver, domain in rows]
    return list(map_in_two_processes(_evaluate_row, [run.path] * len(rows), *zip(*rows, strict=True)))


def _evaluate_row(path: Path, driver: str, domain: str) -> Evaluation:
    torch.set_num_threads(1)
    run = RunDirectory.open(path)
    settings = run.config.evaluation
    return evaluate(
        load_policy(run),
        run.config.task,
        run.config.evaluated_sim,
        driver=driver,
        domain=domain,
        episodes=settings.episodes,
        seed=run.config.seed,
        keep=settings.clip_episodes,
    )


def _write_clips(run: RunDirectory, method: Method, evaluated: Sequence[Evaluation]) -> None:
    policy = load_policy(run)
    hertz = float(run.config.sim.control_hz)
    for evaluation in evaluated:
        driver, domain = find_driver(method, evaluation.driver), evaluation.domain
        known_worlds = not run.config.evaluation.full_randomisation or (driver.sees, domain) != ("image", "train")
        caption = CAPTIONS[driver.sees, domain] if known_worlds else RANDOMISED
        row = clip_row(f"{driver.name}, {caption}", evaluation.recorded)
        name = f"{driver.name}_{domain}" if driver.sees == "image" else driver.name
        write_clip(run.clips / f"{name}.gif", [row], frames_per_second=hertz)
        if not driver.imagines or (driver.sees, domain) == ("image", "train"):
            continue
        episode = evaluation.recorded[0]
        film, states = np.stack(episode.frames), np.stack(episode.states)
        context = min(CONTEXT_STEPS, len(states) - 1)
        imagined = policy.imagined_states(
            states, film if driver.sees == "image" else None, np.stack(episode.actions), context
        )
        traces = Traces(policy.spec.state_names, states, imagined, context)
        write_imagined_clip(run.clips / f"{driver.name}_imagined.gif", film, traces, frames_per_second=hertz)


def _report(config: RunConfig, run: RunDirectory, store: ReplayStore, results: tuple[EvaluationResult, ...]) -> Report:
    lines = list(read_metrics(run.metrics, "train"))
    last = lines[-1] if lines else {}
    replay = store.stats()

    def mean(key: str) -> float:
        values = [row[key] for row in lines if key in row]
        return float(np.mean(values)) if values else float("nan")

    loops = [part.name for part in METHODS[config.learner.method].parts]
    return Report(
        run_id=run.run_id,
        task=config.task,
        mode=config.mode,
        seed=config.seed,
        env_steps=int(last.get("step", 0)),
        wall_seconds=float(last.get("run/wall_seconds", 0.0)),
        evaluations=results,
        updates={name: int(last.get(f"{name}/updates", 0)) for name in loops},
        replay_ratios={name: float(last.get(f"{name}/replay_ratio", float("nan"))) for name in loops},
        waiting={name: mean(f"wait/{name}") for name in (*loops, "actors")},
        faults=count_faults(read_metrics(run.metrics, "event"), last, int(replay["quarantined_chunks"])),
        versions=versions(),
        method=config.learner.method,
        distilled=_distillation(config, run) if config.is_distilled else None,
    )


def _distillation(config: RunConfig, run: RunDirectory) -> Distillation:
    told = [row for row in read_metrics(run.metrics, "episode") if "episodes/resimulated" in row]
    of = config.distilled
    return Distillation(
        run=of.run,
        place=of.place,
        checkpoint=of.checkpoint,
        student=of.student,
        episodes=sum(row["episodes/resimulated"] for row in told),
        differing=sum(row["episodes/differing"] for row in told),
        drifted=sum(row["episodes/drifted"] for row in told),
        largest_drift=max((float(row["episodes/largest_drift"]) for row in told), default=float("nan")),
    )


def _paths(run: RunDirectory) -> dict[str, Path]:
    return {
        "page": run.report_html,
        "report": run.report_json,
        "metrics": run.metrics,
        "clips": run.clips,
        "curves": run.curves,
        "worlds": run.path / "worlds.png",
        "factors": run.path / "factors.png",
        "checkpoints": run.checkpoints.directory,
    }
