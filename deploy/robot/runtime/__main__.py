"""`python -m twist_runtime verify|qualify|run BUNDLE`, where there is nothing of twist but the bundle."""

from __future__ import annotations

import argparse
import os
import sys

from .arm import ArmError
from .refusals import BundleError, UsageError
from .running import Drivers, add_arguments, add_qualify_arguments, franky, qualified, replay, run
from .verification import add_verify_arguments, verified


def main(arguments: list[str]) -> int:
    """Runs one command; 0 done, 1 the bundle or the robot is not as it should be."""
    parser = argparse.ArgumentParser("twist_runtime", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    add_verify_arguments(commands.add_parser("verify", help="check a bundle"))
    drivers: Drivers = {"replay": replay, "franky": franky}
    add_arguments(commands.add_parser("run", help="run it on a robot"), sorted(drivers))
    add_qualify_arguments(commands.add_parser("qualify", help="whether a robot and a bundle go together"))
    given, passed = parser.parse_args(arguments), True
    try:
        if given.command == "verify":
            lines = verified(given)
        elif given.command == "qualify":
            found = qualified(given)
            lines, passed = found.lines(), not found.faults
        else:
            report = run(given, drivers)
            lines, passed = report.lines(), not report.failed
        for line in lines:
            print(line, flush=True)
    except (BundleError, UsageError, ArmError) as error:
        print(f"twist_runtime: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # who reads has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
