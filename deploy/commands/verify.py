"""`twist verify`: whether a bundle is whole, and runs on this machine as where it was made."""

from __future__ import annotations

from deploy.commands.arguments import Parser, path
from deploy.errors import RunEndedError
from deploy.process.extras import require_extra


def run(arguments: list[str]) -> int:
    """Runs `twist verify` and gives its exit code."""
    parser = Parser("verify", "Checks a bundle: hashes, contract, golden trace, and how long a step takes here.")
    parser.add_argument("bundle", metavar="BUNDLE", type=path, help="a directory that `twist export` wrote")
    given = parser.parse_intermixed_args(arguments)

    require_extra("twist verify", "robot", "onnxruntime")
    from deploy.robot.runtime.refusals import BundleError
    from deploy.robot.runtime.verification import verify

    try:
        for line in verify(given.bundle):
            print(line, flush=True)
    except BundleError as error:
        raise RunEndedError(str(error)) from error
    return 0
