"""`twist factors`: where a student fails."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from deploy.commands.arguments import Parser
from deploy.process.places import require_directory
from sim import CHANGES, GROUPS, ROOMS, TASKS

_MOST_NAMES = 16
"""Choices beyond which only the first are printed; --json has them all."""


def run(arguments: list[str]) -> int:
    """Runs `twist factors` and gives its exit code."""
    parser = Parser(
        "factors",
        "Where a student fails: its success in training visuals, with each group of factors of what it sees held out "
        "alone, with each of some changes alone (a table of wood, a hard shadow, ...), and in held-out visuals, over "
        "the same episodes. Writes factors.json and factors.png into RUN, and its page anew.",
    )
    parser.add_argument(
        "--list", metavar="TASK", choices=TASKS, help="print factors, groups, changes and rooms, and do no more"
    )
    parser.add_argument("--held-out", action="store_true", help="without the changes: several times faster")
    if "--list" not in arguments:
        parser.add_run()
    parser.add_episodes(100, "each time")
    parser.add_seed()
    parser.add_json()
    given = parser.parse_intermixed_args(arguments)
    if given.list:
        return _print_factors(given.list, given.json)

    from deploy.remote.run import local_run
    from deploy.runs.directory import RunDirectory

    with local_run(given.run, written=True) as found:
        RunDirectory.open(Path(found))  # before torch is imported, so that the answer comes at once
        require_directory(Path(found))
        from rich.console import Console

        from deploy.evaluation.factors import factors_command

        console = None if given.json else Console()
        result = factors_command(
            Path(found), episodes=given.episodes, seed=given.seed, changes=not given.held_out, console=console
        )
    if given.json:
        print(json.dumps(result))
    return 0


def _print_factors(task: str, as_json: bool) -> int:
    """Prints name, meaning, switch, nominal value and space of each factor, and the words that domains are made of."""
    from sim.factors import visual_factors
    from sim.tasks import TASKS as CLASSES

    factors = visual_factors(CLASSES[task].objects).values()
    if as_json:
        rows = [
            {"name": factor.name, "says": factor.says, "switch": factor.switch, "nominal": factor.nominal}
            | ({"choices": factor.choices} if factor.choices else {"low": factor.low, "high": factor.high})
            for factor in factors
        ]
        print(json.dumps(rows))
        return 0
    print('Set by env.reset(options={"factors": {NAME: VALUE}}); drawn where sim.randomisation.visual.SWITCH is on.\n')
    width = max(len(factor.name) for factor in factors)
    for factor in factors:
        nominal = factor.nominal if isinstance(factor.nominal, str) else np.round(factor.nominal, 3).tolist()
        print(f"{factor.name:{width}}  {factor.says} [{factor.switch}], nominally {nominal}")
        print(f"{'':{width}}  allowed: {_shortened(factor.allowed)}")
    print("\nGroups of factors that are held out by name (twist eval RUN --domain held_out:GROUP,...):\n")
    for name, says in GROUPS.items():
        print(f"{name:{width}}  {says}")
    print("\nChanges that are judged alone, each also a domain (twist eval RUN --domain alone:NAME):\n")
    for name, change in CHANGES.items():
        print(f"{name:{width}}  {change.says} [{change.group}]")
    print("\nRooms of the lab, by which nothing is chosen (twist eval RUN --domain lab, or lab:NAME):\n")
    for name, room in ROOMS.items():
        print(f"{name:{width}}  {room.says}")
    return 0


def _shortened(allowed: str) -> str:
    names = allowed.split(", ")
    return allowed if len(names) <= _MOST_NAMES else f"{', '.join(names[:_MOST_NAMES])}, ... ({len(names)})"
