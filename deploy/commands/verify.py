"""`twist verify`: whether a bundle is whole, and runs on this machine as where it was made."""

from __future__ import annotations

from deploy.commands.arguments import Parser, path
from deploy.process.extras import require_extra


def run(arguments: list[str]) -> int:
    """Runs `twist verify` and gives its exit code."""
    require_extra("twist verify", "robot", "onnxruntime")
    from deploy.robot.runtime.verification import add_verify_arguments, verified
    from deploy.robot.said import runtime_errors

    parser = Parser("verify", "Checks a bundle: hashes, contract, golden trace, and how long a step takes here.")
    add_verify_arguments(parser, path)
    given = parser.parse_intermixed_args(arguments)
    with runtime_errors():
        for line in verified(given):
            print(line, flush=True)
    return 0
