"""`twist curve`: success of a run's snapshots over time and steps."""

from __future__ import annotations

import argparse
from pathlib import Path

from deploy.commands.arguments import Parser
from deploy.process.places import require_directory
from learner.methods import DRIVERS


def run(arguments: list[str]) -> int:
    """Runs `twist curve` and gives its exit code."""
    parser = Parser(
        "curve",
        "Evaluates the snapshots of a run (training.snapshot_every_seconds; in mode debug snapshot_every_updates) and\n"
        "writes RUN/learning_curve.csv and RUN/learning_curve.png. The same command goes on where it was interrupted.",
    )
    parser.add_run("path or URL; the run may be under way")
    parser.add_episodes(50, "of each evaluation")
    parser.add_domain(lab=False)
    parser.add_seed("of the episodes; lines that are there keep theirs")
    parser.add_argument(
        "--policies", metavar="NAMES", type=_policies, help="such as teacher,student; default: all that the method has"
    )
    given = parser.parse_intermixed_args(arguments)

    from deploy.remote.run import local_run
    from deploy.runs.directory import RunDirectory

    with local_run(given.run, snapshots=True, written=True) as found:
        run = RunDirectory.open(Path(found))
        require_directory(run.path)
        from rich.console import Console

        from deploy.experiments.curve import write_learning_curve

        write_learning_curve(
            run,
            policies=given.policies,
            domain=given.domain,
            episodes=given.episodes,
            seed=given.seed,
            console=Console(),
        )
    return 0


def _policies(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if len(set(names)) < len(names) or not set(names) <= {*DRIVERS}:
        known = ", ".join(DRIVERS)
        raise argparse.ArgumentTypeError(f"{text} is not allowed: some of {known}, comma between")
    return names
