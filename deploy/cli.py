"""The command line: a command's name to its module, nothing else.

Everything heavy (torch, Ray, the simulator) is imported by the command that needs it, so that `twist --help` is quick.
What the user got wrong ends in one line on stderr and exit code 2; a run that cannot go on, with exit code 1.
"""

from __future__ import annotations

import errno
import importlib
import sys
from collections.abc import Sequence

from deploy.errors import RunEndedError, UserError
from deploy.process import signals
from deploy.process.packages import pin
from deploy.process.shown import guarded_streams

COMMANDS = {
    "train": ("TASK", "train teacher and student, and report; the same command with the same --run-dir continues"),
    "submit": ("TASK", "the same as a job of a Ray cluster; follows its log"),
    "distil": ("RUN", "a new student for a finished run's teacher, from its episodes, drawn as the settings say"),
    "status": ("RUN", "where a run stands: driven or not, how far, who waits for whom, what went wrong"),
    "eval": ("RUN", "success of a trained policy, in training or in unseen visual worlds"),
    "pack": ("RUN DIR", "what a finished run needs to act, in one small directory"),
    "export": ("RUN BUNDLE", "a trained policy as a bundle for a robot: numpy and onnxruntime run it"),
    "verify": ("BUNDLE", "whether a bundle is whole, and runs on this machine as it should"),
    "run": ("BUNDLE", "a bundle on a robot: the simulator, a recording, or a Franka arm"),
    "align": ("BUNDLE", "where a robot's camera is, from pictures, and whether training had it there"),
    "qualify": ("BUNDLE", "whether a robot and a bundle go together, before anything moves"),
    "adapt": ("BUNDLE NEW", "how pictures are understood, fitted to a robot's recording: a new bundle"),
    "dataset": ("RECORDING.. DIR", "recordings of twist run as a LeRobotDataset"),
    "curve": ("RUN", "success of a run's snapshots over time and steps"),
    "factors": ("RUN", "where it fails: success with textures, things, light, ... held out or changed one by one"),
    "render": ("TASK", "a contact sheet of worlds: training, held-out and the lab"),
    "doctor": ("", "whether this machine has what is needed"),
    "reproduce": ("FILE", "the episode in which an environment crashed, once more"),
    "replay": ("list|export|delete", "what a Redis server holds of which runs, taking it, and giving it back"),
    "redis-users": ("", "the rights that users of a Redis server need"),
    "schema": ("DIR", "JSON schemas of the documents that runs and policies are made of"),
    "sweep": ("FILE", "trains what a TOML file describes: settings x tasks x seeds; the same command continues"),
    "compare": ("RUN..", "tables and learning curves of several runs, with their spread over seeds"),
}
"""Each is `run` of the module of its name in `deploy.commands`: what it takes, and what it does."""

PRINTING = ("status", "eval", "doctor", "redis-users")
"""Commands of which nothing is left but what they print; of the others, that only shows."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Returns:
        The exit code: 0 done, 1 something is wrong with the machine or the run, 2 with what was asked for; 128 and the
        signal's number for a command that a signal has ended.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    pin()
    with guarded_streams() as stdout, signals.listening():
        code = _run(arguments)
        stdout.flush()
        if stdout.error is not None and stdout.error.errno != errno.EPIPE and arguments[0] in PRINTING:
            print(f"twist: what was to be said could not be written: {stdout.error.strerror}", file=sys.stderr)
            return code or 1
        return code


def _run(arguments: list[str]) -> int:
    try:
        return _dispatch(arguments)
    except UserError as error:
        print(f"twist: {error}", file=sys.stderr)
        return 2
    except RunEndedError as error:
        print(f"twist: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as ended:
        print(": ".join([f"twist: ended by {signals.name()}", *map(str, ended.args)]), file=sys.stderr)
        return signals.exit_code()


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_description())
        return 0 if arguments else 2
    if arguments[0] == "--version":
        from deploy.runs.versions import versions

        print(f"twist {versions()['twist']}")
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        raise UserError(f"unknown command '{name}': there are {', '.join(COMMANDS)}")
    command = importlib.import_module(f"deploy.commands.{name.replace('-', '_')}")
    code: int = command.run(rest)
    return code


def _description() -> str:
    lines = [f"  {f'{name} {takes}':<14} {does}" for name, (takes, does) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: twist COMMAND ...",
            "",
            "Trains a robot policy that sees only camera images, by distilling a teacher that learns from the "
            "simulator's state.",
            "",
            "commands:",
            *lines,
            "",
            "twist COMMAND --help says more. Tasks: reach, push, lift.",
        ]
    )
