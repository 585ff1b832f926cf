"""`python -m twist_runtime verify|run BUNDLE`, where there is nothing of twist but the bundle."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .arm import ArmError
from .refusals import BundleError, UsageError
from .running import Drivers, add_arguments, franky, replay, run
from .verification import verify


def main(arguments: list[str]) -> int:
    """Runs one command; 0 done, 1 the bundle or the robot is not as it should be."""
    parser = argparse.ArgumentParser("twist_runtime", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("verify", help="check a bundle").add_argument("bundle", metavar="BUNDLE", type=Path)
    drivers: Drivers = {"replay": replay, "franky": franky}
    add_arguments(commands.add_parser("run", help="run it on a robot"), sorted(drivers))
    given = parser.parse_args(arguments)
    try:
        for line in verify(given.bundle) if given.command == "verify" else run(given, drivers).lines():
            print(line, flush=True)
    except (BundleError, UsageError, ArmError) as error:
        print(f"twist_runtime: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
