"""`twist factors`: where a student fails."""

from __future__ import annotations

import json
from pathlib import Path

from deploy.commands.arguments import Parser
from deploy.process.places import require_directory


def run(arguments: list[str]) -> int:
    """Runs `twist factors` and gives its exit code."""
    parser = Parser(
        "factors",
        "Where a student fails: its success in training visuals, with each factor of what it sees held out alone, and "
        "in held-out visuals, over the same episodes. Writes factors.json and factors.png into RUN, and its page anew.",
    )
    parser.add_run()
    parser.add_episodes(100, "each time")
    parser.add_seed()
    parser.add_json()
    given = parser.parse_intermixed_args(arguments)

    from deploy.remote.run import local_run
    from deploy.runs.directory import RunDirectory

    with local_run(given.run, written=True) as found:
        RunDirectory.open(Path(found))  # before torch is imported, so that the answer comes at once
        require_directory(Path(found))
        from rich.console import Console

        from deploy.evaluation.factors import factors_command

        console = None if given.json else Console()
        result = factors_command(Path(found), episodes=given.episodes, seed=given.seed, console=console)
    if given.json:
        print(json.dumps(result))
    return 0
