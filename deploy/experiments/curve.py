"""`twist curve`: evaluates every snapshot of a run, for success against wall time and against environment steps."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

import torch
from rich.console import Console

from deploy.errors import UserError
from deploy.evaluation.evaluate import evaluate, find_driver
from deploy.evaluation.two_processes import map_in_two_processes
from deploy.experiments.curve_figure import draw_learning_curve
from deploy.experiments.curve_file import NAME, CurveFile, CurvePoint
from deploy.runs.acting import load_policy
from deploy.runs.directory import RunDirectory
from deploy.runs.intervals import wilson
from deploy.runs.snapshots import Snapshot, Snapshots
from learner.methods import METHODS

_Asked = tuple[Snapshot, str]


def write_learning_curve(
    run: RunDirectory, *, policies: Sequence[str] | None, domain: str, episodes: int, seed: int, console: Console
) -> None:
    """Writes learning_curve.csv, line by line, and learning_curve.png of all its lines of this domain and length.

    A line that is there for the same snapshot, policy, domain and number of episodes is not made again, so that an
    interrupted call goes on where it was, and a later one adds the snapshots that a run has taken meanwhile.

    Args:
        run: it may be under way.
        policies: drivers of the method; None for all of them.
        domain: of the worlds to evaluate in.
        episodes: of each evaluation.
        seed: of each evaluation: all snapshots meet the same episodes.
        console: for a line on each.

    Raises:
        UserError: the run has no snapshot, one of its files is corrupt, or its method has no such policy.
    """
    method = METHODS[run.config.learner.method]
    policies = [driver.name for driver in method.drivers] if policies is None else policies
    for policy in policies:
        find_driver(method, policy)
    snapshots = Snapshots(run.snapshots).all(run.config)
    if not snapshots:
        setting = "updates" if run.config.mode == "debug" else "seconds"
        raise UserError(
            f"run directory {run.path}: has no snapshots; train with training.snapshot_every_{setting} above 0"
        )
    file = CurveFile(run.path / NAME)
    made = {_key(point) for point in file.points}
    missing: list[_Asked] = []
    for snapshot in snapshots:
        for policy in policies:
            if _key(_point(snapshot, policy, domain, episodes, 0)) not in made:
                missing.append((snapshot, policy))
    console.print(
        f"{len(snapshots)} snapshots: {len(missing)} evaluations of {episodes} episodes to make", highlight=False
    )
    if missing:
        _evaluate_all(missing, file, domain, episodes, seed, console)
    shown = [point for point in file.points if (point.domain, point.episodes) == (domain, episodes)]
    visuals = {"train": "training", "held_out": "held-out"}.get(domain, domain)
    title = f"success in {visuals} visuals, {episodes} episodes a point (bands: 95 %)"
    pictures = draw_learning_curve(shown, file.path.with_suffix(".png"), title)
    for path in (file.path, *pictures):
        console.print(str(path), highlight=False, soft_wrap=True)


def _evaluate_all(
    missing: Sequence[_Asked], file: CurveFile, domain: str, episodes: int, seed: int, console: Console
) -> None:
    count = len(missing)
    columns = [*zip(*missing, strict=True), [domain] * count, [episodes] * count, [seed] * count]
    with closing(map_in_two_processes(_successes, *columns)) as results:
        for number, ((snapshot, policy), successes) in enumerate(zip(missing, results, strict=True), start=1):
            file.add(_point(snapshot, policy, domain, episodes, successes))
            low, high = wilson(successes, episodes)
            console.print(
                f"{number}/{count}: {policy} after {snapshot.seconds:,.0f} s, {snapshot.env_steps:,} steps: "
                f"{100 * successes / episodes:.0f} % (95 % interval {100 * low:.0f} to {100 * high:.0f} %)",
                highlight=False,
                soft_wrap=True,
            )


def _successes(snapshot: Snapshot, policy: str, domain: str, episodes: int, seed: int) -> int:
    torch.set_num_threads(1)
    config = snapshot.config
    networks = load_policy(snapshot)
    evaluation = evaluate(
        networks, config.task, config.evaluated_sim, driver=policy, domain=domain, episodes=episodes, seed=seed
    )
    return sum(evaluation.successes)


def _point(snapshot: Snapshot, policy: str, domain: str, episodes: int, successes: int) -> CurvePoint:
    return CurvePoint(
        seconds=round(snapshot.seconds, 3),
        env_steps=snapshot.env_steps,
        teacher_updates=_updates(snapshot, follow=False),
        student_updates=_updates(snapshot, follow=True),
        policy=policy,
        domain=domain,
        episodes=episodes,
        successes=successes,
    )


def _updates(snapshot: Snapshot, *, follow: bool) -> int:
    parts = METHODS[snapshot.config.learner.method].parts
    return sum(snapshot.updates[part.name] for part in parts if part.follows == follow)


def _key(point: CurvePoint) -> tuple[object, ...]:
    """What an evaluation is known by."""
    counts = point.env_steps, point.teacher_updates, point.student_updates
    return *counts, point.policy, point.domain, point.episodes
