"""`twist compare`: several runs side by side."""

from __future__ import annotations

import shlex
from contextlib import ExitStack
from pathlib import Path

from deploy.commands.arguments import Parser, path, place
from deploy.errors import UserError
from deploy.process.places import is_url, require_directory


def run(arguments: list[str]) -> int:
    """Runs `twist compare` and gives its exit code."""
    parser = Parser(
        "compare",
        "Puts runs side by side, those with the same settings and other seeds as one: compare.md, compare.csv,\n"
        "compare.png and compare_curves.csv. Runs may be under way.",
    )
    parser.add_argument("runs", metavar="RUN", nargs="+", type=place, help="paths or URLs")
    parser.add_argument(
        "--out", metavar="DIR", type=path, help="default: the nearest directory that holds all runs, if all are paths"
    )
    parser.add_argument("--x", choices=("steps", "time"), default="steps", help="of the curves (default: steps)")
    parser.add_argument(
        "--label", metavar="TEXT", action="append", default=[], help="what to call a group; once for each, in order"
    )
    given = parser.parse_intermixed_args(arguments)

    from deploy.remote.run import local_run

    if given.out is None and any(map(is_url, given.runs)):
        raise UserError("compare needs --out where a run is a URL (twist compare --help)")
    if given.out is not None:
        require_directory(given.out)
    from rich.console import Console

    from deploy.experiments.comparison import compare

    command = shlex.join(["twist", "compare", *arguments])
    with ExitStack() as stack:
        runs = [Path(stack.enter_context(local_run(run))) for run in given.runs]
        compare(runs, given.out, of_time=given.x == "time", labels=given.label, command=command, console=Console())
    return 0
