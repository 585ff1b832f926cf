"""`twist reproduce`: the episode of a crash once more."""

from __future__ import annotations

from deploy.commands.arguments import Parser, path


def run(arguments: list[str]) -> int:
    """Runs `twist reproduce`.

    Returns:
        The exit code: 0 it crashed again, 1 it did not.

    Raises:
        UserError: the file is none of ours.
    """
    parser = Parser(
        "reproduce",
        "Runs the episode in which an environment crashed once more, in the same world with the same actions.",
        "Exit code: 0 it crashed again, 1 it did not.",
    )
    parser.add_argument("file", metavar="FILE", type=path, help="RUN/crashes/SEED.json")
    given = parser.parse_args(arguments)

    from deploy.training.crashes import read_crash, reproduce

    found = read_crash(given.file)
    print(f"{found.task}, seed {found.crash.seed}, {len(found.crash.actions)} actions; it was {found.crash.error}")
    raised = reproduce(found)
    print(f"it crashes again: {raised}" if raised else "it does not crash here")
    return 0 if raised else 1
