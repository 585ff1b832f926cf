"""`twist pack`: a finished run as one small directory that can act."""

from __future__ import annotations

from pathlib import Path

from deploy.commands.arguments import Parser, path
from deploy.process.places import require_directory


def run(arguments: list[str]) -> int:
    """Runs `twist pack` and gives its exit code."""
    parser = Parser(
        "pack",
        "Writes what a finished run needs to act, and nothing else, into one small directory for `twist eval DIR`.",
        "A policy for the package goes into deploy/runs/pretrained/TASK, and its name into PRETRAINED in "
        "deploy/runs/policy_source.py.",
    )
    parser.add_run("a finished run, by path or URL")
    parser.add_argument("target", metavar="DIR", type=path, help="to write; a packed policy that is there is replaced")
    given = parser.parse_intermixed_args(arguments)

    from deploy.remote.run import local_run
    from deploy.runs.packed_policy import pack

    require_directory(given.target)
    with local_run(given.run) as run:
        size = pack(Path(run), given.target)
    print(f"{given.target}: {size / 1e6:.1f} MB")
    return 0
