"""The command line: `twist train`, `twist submit`, `twist eval`, `twist render`, `twist doctor`, ...

Everything heavy (torch, Ray, the simulator) is imported by the command that needs it, so that `twist --help` is quick.
What the user got wrong ends in one line on stderr and exit code 2; a run that cannot go on, with exit code 1.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from deploy.commands.parser import Parser
from deploy.errors import RunEndedError, UserError, user_errors

_DESCRIPTION = """\
usage: twist COMMAND ...

Trains a robot policy that sees only camera images, by distilling a teacher that learns from the simulator's state.

commands:
  train TASK    train teacher and student, and report; the same command with the same --run-dir continues
  submit TASK   the same as a job of a Ray cluster; follows its log
  status RUN    where a run stands: driven or not, how far, who waits for whom, what went wrong
  eval RUN      success of a trained policy, in training or in unseen visual worlds
  pack RUN DIR  what a finished run needs to act, in one small directory
  curve RUN     success of a run's snapshots over time and steps
  factors RUN   where it fails: success with colours, textures, light, ... held out one by one
  render TASK   a contact sheet of randomised worlds
  doctor        whether this machine has what is needed
  reproduce     the episode in which an environment crashed, once more
  redis-users   the rights that users of a Redis server need
  sweep FILE    trains what a TOML file describes: settings x tasks x seeds; the same command continues
  compare RUN.. tables and learning curves of several runs, with their spread over seeds

twist COMMAND --help says more. Tasks: reach, push, lift."""

_INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 and the signal's number."""

_POLICIES = ("teacher", "student")

_SHEET = (8, 4)
"""Columns and rows of the contact sheet: half of the rows show training worlds, half held-out ones."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Returns:
        The exit code: 0 done, 1 something is wrong with the machine or the run, 2 with what was asked for.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(arguments)
    except UserError as error:
        print(f"twist: {error}", file=sys.stderr)
        return 2
    except RunEndedError as error:
        print(f"twist: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("twist: interrupted", file=sys.stderr)
        return _INTERRUPTED


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_DESCRIPTION)
        return 0 if arguments else 2
    if arguments[0] == "--version":
        from deploy.versions import versions

        print(f"twist {versions()['twist']}")
        return 0
    name, *rest = arguments
    if name not in _COMMANDS:
        raise UserError(f"unknown command '{name}': there are {', '.join(_COMMANDS)}")
    return _COMMANDS[name](rest)


def _train(arguments: list[str]) -> int:
    from deploy.commands.train import train_command

    return train_command(arguments)


def _submit(arguments: list[str]) -> int:
    from deploy.commands.submit import submit_command

    return submit_command(arguments)


def _status(arguments: list[str]) -> int:
    from deploy.commands.status import status_command

    return status_command(arguments)


def _eval(arguments: list[str]) -> int:
    parser = Parser("eval", "Success of a trained policy, with its 95 % interval.")
    parser.add_argument("run", metavar="RUN", help="a run or a packed policy, by path or URL, or pretrained/NAME")
    parser.add_argument(
        "--domain", choices=("train", "held_out"), default="held_out", help="visual worlds (default: held_out)"
    )
    parser.add_argument(
        "--policy",
        choices=("teacher", "student"),
        default="student",
        help="teacher: from the simulator's state; student: from camera images (default: student)",
    )
    parser.add_argument("--episodes", metavar="N", type=_whole(1), default=100, help="default: 100")
    parser.add_argument("--seed", metavar="N", type=_whole(0), default=0, help="the same seed, the same episodes")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    parser.add_argument("--clip", metavar="FILE", type=Path, help="write some of the episodes as a GIF")
    given = parser.parse_intermixed_args(arguments)

    from deploy.policy_source import find_policy
    from deploy.remote_run import local_run

    with local_run(given.run) as found:
        run = find_policy(found)
        if given.clip is not None:
            _writable_file(given.clip)
        from deploy.evaluate import evaluate_run

        result = evaluate_run(
            run,
            policy=given.policy,
            domain=given.domain,
            episodes=given.episodes,
            seed=given.seed,
            clip=given.clip,
        )
    if given.json:
        print(json.dumps(result))
    else:
        low, high = result["interval"]
        print(
            f"{result['policy']} on {result['task']} in {result['domain']} visuals: {100 * result['success']:.1f} % of "
            f"{result['episodes']} episodes (95 % interval {100 * low:.1f} to {100 * high:.1f} %)"
        )
    return 0


def _pack(arguments: list[str]) -> int:
    parser = Parser(
        "pack",
        "Writes what a finished run needs to act, and nothing else, into one small directory for `twist eval DIR`.",
        "A policy for the package goes into deploy/pretrained/TASK, and its name into PRETRAINED in "
        "deploy/policy_source.py.",
    )
    parser.add_argument("run", metavar="RUN", help="a finished run, by path or URL")
    parser.add_argument("target", metavar="DIR", type=Path, help="to write; a packed policy that is there is replaced")
    given = parser.parse_intermixed_args(arguments)

    from deploy.packed_policy import pack
    from deploy.remote_run import local_run

    with local_run(given.run) as run:
        size = pack(Path(run), given.target)
    print(f"{given.target}: {size / 1e6:.1f} MB")
    return 0


def _curve(arguments: list[str]) -> int:
    parser = Parser(
        "curve",
        "Evaluates the snapshots of a run (training.snapshot_every_seconds; in mode debug snapshot_every_updates) and\n"
        "writes RUN/learning_curve.csv and RUN/learning_curve.png. The same command goes on where it was interrupted.",
    )
    parser.add_argument("run", metavar="RUN", help="path or URL; the run may be under way")
    parser.add_argument("--episodes", metavar="N", type=_whole(1), default=50, help="of each evaluation (default: 50)")
    parser.add_argument(
        "--domain", choices=("train", "held_out"), default="held_out", help="visual worlds (default: held_out)"
    )
    parser.add_argument(
        "--seed", metavar="N", type=_whole(0), default=0, help="of the episodes; lines that are there keep theirs"
    )
    parser.add_argument(
        "--policies", metavar="NAMES", type=_policies, default=_POLICIES, help="default: " + ",".join(_POLICIES)
    )
    given = parser.parse_intermixed_args(arguments)

    from deploy.remote_run import local_run
    from deploy.run_directory import RunDirectory

    with local_run(given.run, snapshots=True) as found:
        run = RunDirectory.open(Path(found))
        from rich.console import Console

        from deploy.experiments.curve import write_learning_curve

        write_learning_curve(
            run,
            policies=given.policies,
            domain=given.domain,
            episodes=given.episodes,
            seed=given.seed,
            console=Console(),
        )
    return 0


def _factors(arguments: list[str]) -> int:
    parser = Parser(
        "factors",
        "Where a student fails: its success in training visuals, with each factor of what it sees held out alone, and "
        "in held-out visuals, over the same episodes. Writes factors.json and factors.png into RUN, and its page anew.",
    )
    parser.add_argument("run", metavar="RUN", help="path or URL")
    parser.add_argument("--episodes", metavar="N", type=_whole(1), default=100, help="each time (default: 100)")
    parser.add_argument("--seed", metavar="N", type=_whole(0), default=0, help="the same seed, the same episodes")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    given = parser.parse_intermixed_args(arguments)

    from deploy.remote_run import local_run
    from deploy.run_directory import RunDirectory

    with local_run(given.run) as found:
        RunDirectory.open(Path(found))  # before torch is imported, so that the answer comes at once
        from rich.console import Console

        from deploy.factors import factors_command

        console = None if given.json else Console()
        result = factors_command(Path(found), episodes=given.episodes, seed=given.seed, console=console)
    if given.json:
        print(json.dumps(result))
    return 0


def _render(arguments: list[str]) -> int:
    from deploy.presets import resolve
    from deploy.settings_help import describe_settings

    parser = Parser(
        "render",
        "Writes a contact sheet of randomised worlds as PNG, training domain and held-out domain.",
        "settings, written key=value:\n" + describe_settings("sim."),
    )
    parser.add_argument("task", metavar="TASK", help="reach, push or lift")
    parser.add_argument("settings", metavar="key=value", nargs="*", help="settings; all are listed below")
    parser.add_argument("--out", metavar="FILE", type=Path, help="default: TASK_worlds.png")
    parser.add_argument("--seed", metavar="N", type=_whole(0), default=0, help="the same seed, the same worlds")
    given = parser.parse_intermixed_args(arguments)
    for text in given.settings:
        if "=" in text and not text.startswith("sim."):
            raise UserError(f"{text}: render takes only settings that begin with sim. (twist render --help)")
    config = resolve(given.task, None, given.settings)
    out = given.out or Path(f"{config.task}_worlds.png")
    _writable_file(out)

    from deploy.reporting.contact_sheet import write_contact_sheet

    with user_errors():
        write_contact_sheet(config.task, config.sim, out, seed=given.seed, columns=_SHEET[0], rows=_SHEET[1])
    print(out)
    return 0


def _doctor(arguments: list[str]) -> int:
    parser = Parser("doctor", "Tries everything that training needs, and says what is missing.")
    parser.add_argument("--redis-url", metavar="URL", help="also try this Redis server (default: TWIST_REDIS_URL)")
    given = parser.parse_args(arguments)

    from deploy.replay_address import given_url

    url = given_url(given.redis_url)
    from deploy.doctor import examine

    return examine(url)


def _redis_users(arguments: list[str]) -> int:
    parser = Parser(
        "redis-users",
        "Prints the commands that make a Redis user for each role, with the rights that it needs and no others.",
        "Replace PASSWORD and give them to redis-cli; on a Redis Cluster, on every node.",
    )
    parser.parse_args(arguments)

    from replay.access import setuser_commands

    print("\n".join(setuser_commands()))
    return 0


def _reproduce(arguments: list[str]) -> int:
    from deploy.commands.reproduce import reproduce_command

    return reproduce_command(arguments)


def _sweep(arguments: list[str]) -> int:
    parser = Parser(
        "sweep",
        "Runs the trainings that a TOML file describes (settings x tasks x seeds), each in a process of its own.\n"
        "The same command goes on where it was interrupted: finished runs are left alone.",
        "The file's keys: name, tasks, seeds, settings, preset, mode (local or debug), and a table [variants] of\n"
        'names with their settings: "no imagination" = ["learner.student.imagination_scale=0"]',
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="TOML")
    parser.add_argument("--out", metavar="DIR", type=Path, help="runs are DIR/VARIANT/TASK-SEED (default: runs/NAME)")
    parser.add_argument("--jobs", metavar="N", type=_whole(1), default=1, help="runs side by side (default: 1)")
    parser.add_argument("--dry-run", action="store_true", help="check everything, print the commands and end")
    given = parser.parse_intermixed_args(arguments)

    from deploy.experiments.sweep_file import read_sweep

    sweep = read_sweep(given.file)
    out = given.out or Path("runs", sweep.slug)
    from rich.console import Console

    from deploy.experiments.sweep import print_commands, run_sweep

    if given.dry_run:
        print_commands(sweep, out)
        return 0
    return run_sweep(sweep, out, given.jobs, Console())


def _compare(arguments: list[str]) -> int:
    parser = Parser(
        "compare",
        "Puts runs side by side, those with the same settings and other seeds as one: compare.md, compare.csv,\n"
        "compare.png and compare_curves.csv. Runs may be under way.",
    )
    parser.add_argument("runs", metavar="RUN", nargs="+", help="paths or URLs")
    parser.add_argument(
        "--out", metavar="DIR", type=Path, help="default: the nearest directory that holds all runs, if all are paths"
    )
    parser.add_argument("--x", choices=("steps", "time"), default="steps", help="of the curves (default: steps)")
    parser.add_argument(
        "--label", metavar="TEXT", action="append", default=[], help="what to call a group; once for each, in order"
    )
    given = parser.parse_intermixed_args(arguments)

    from deploy.remote_run import local_run
    from deploy.storage import is_url

    if given.out is None and any(map(is_url, given.runs)):
        raise UserError("compare needs --out where a run is a URL (twist compare --help)")
    from rich.console import Console

    from deploy.experiments.comparison import compare

    command = shlex.join(["twist", "compare", *arguments])
    with ExitStack() as stack:
        runs = [Path(stack.enter_context(local_run(run))) for run in given.runs]
        compare(runs, given.out, of_time=given.x == "time", labels=given.label, command=command, console=Console())
    return 0


_COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "train": _train,
    "submit": _submit,
    "status": _status,
    "eval": _eval,
    "pack": _pack,
    "curve": _curve,
    "factors": _factors,
    "render": _render,
    "doctor": _doctor,
    "redis-users": _redis_users,
    "reproduce": _reproduce,
    "sweep": _sweep,
    "compare": _compare,
}


def _whole(minimum: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = minimum - 1
        if number < minimum:
            raise argparse.ArgumentTypeError(f"{text} is not allowed: a whole number, at least {minimum}")
        return number

    return parse


def _policies(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if len(set(names)) < len(names) or not set(names) <= {*_POLICIES}:
        raise argparse.ArgumentTypeError(f"{text} is not allowed: teacher, student or teacher,student")
    return names


def _writable_file(path: Path) -> None:
    if not path.parent.is_dir():
        raise UserError(f"{path}: there is no directory {path.parent}")
    if path.is_dir():
        raise UserError(f"{path}: is a directory, a file is wanted")
