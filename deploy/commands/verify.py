"""`twist verify`: whether a bundle is whole, and runs on this machine as where it was made."""

from __future__ import annotations

from deploy.commands.arguments import Parser, path
from deploy.errors import RunEndedError, UserError
from deploy.process.extras import require_extra


def run(arguments: list[str]) -> int:
    """Runs `twist verify` and gives its exit code."""
    require_extra("twist verify", "robot", "onnxruntime")
    from deploy.robot.runtime.refusals import BundleError, UsageError
    from deploy.robot.runtime.verification import add_verify_arguments, verified

    parser = Parser("verify", "Checks a bundle: hashes, contract, golden trace, and how long a step takes here.")
    add_verify_arguments(parser, path)
    given = parser.parse_intermixed_args(arguments)
    try:
        for line in verified(given):
            print(line, flush=True)
    except UsageError as error:
        raise UserError(str(error)) from error
    except BundleError as error:
        raise RunEndedError(str(error)) from error
    return 0
