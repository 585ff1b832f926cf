"""`twist redis-users`: the rights that users of a Redis server need."""

from __future__ import annotations

from deploy.commands.arguments import Parser


def run(arguments: list[str]) -> int:
    """Runs `twist redis-users` and gives its exit code."""
    parser = Parser(
        "redis-users",
        "Prints the commands that make a Redis user for each role, with the rights that it needs and no others.",
        "Replace PASSWORD and give them to redis-cli; on a Redis Cluster, on every node.",
    )
    parser.parse_args(arguments)

    from replay.access import setuser_commands

    print("\n".join(setuser_commands()))
    return 0
