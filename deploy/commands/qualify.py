"""`twist qualify`: whether a robot and a bundle go together."""

from __future__ import annotations

from deploy.commands.arguments import Parser, path
from deploy.process.extras import require_extra


def run(arguments: list[str]) -> int:
    """Runs `twist qualify` and gives its exit code: 0 qualified, 1 not."""
    require_extra("twist qualify", "robot", "onnxruntime")
    from deploy.robot.runtime import running
    from deploy.robot.said import runtime_errors

    parser = Parser(
        "qualify", "Looks at a robot's recording again with a bundle, without motion, and times a step here."
    )
    running.add_qualify_arguments(parser, path)
    given = parser.parse_intermixed_args(arguments)
    with runtime_errors():
        found = running.qualified(given)
    for line in found.lines():
        print(line)
    return 1 if found.faults else 0
