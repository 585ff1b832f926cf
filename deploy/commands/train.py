"""`twist train`: reads its arguments. `twist submit` takes the same ones."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

from deploy.commands.arguments import Parser, place
from deploy.process.places import is_url, require_directory
from deploy.remote.storage import EXAMPLES
from deploy.settings.config import RunConfig
from deploy.settings.help import describe_settings, option_help
from deploy.settings.presets import PRESET_HELP, resolve


def run(arguments: list[str]) -> int:
    """Runs `twist train`.

    Returns:
        The exit code.

    Raises:
        UserError: what was asked for cannot be.
    """
    parser = train_parser(
        "train",
        "Trains teacher and student side by side, evaluates both and writes a report.",
        run_dir=place,
        run_dir_help="default: runs/TASK-SEED-DATE-TIME",
    )
    given = parser.parse_intermixed_args(arguments)
    from deploy.training.replay_address import given_url

    given.redis_url = given_url(given.redis_url)
    config = resolve_given(given, mode=given.mode)
    by_date = f"runs/{config.task}-{config.seed}-{datetime.now():%Y%m%d-%H%M%S}"
    run_dir = by_date if given.run_dir is None else given.run_dir

    from deploy.runs.directory import check_claimable

    with ExitStack() as stack:
        mirror = None
        if is_url(run_dir):
            from deploy.remote.mirror import mirrored

            mirror = stack.enter_context(mirrored(run_dir, print))
        directory = Path(run_dir) if mirror is None else mirror.directory
        # Before torch and Ray are imported, so that the answer comes at once.
        check_claimable(directory, config)
        require_directory(directory)
        from deploy.training.train import train

        return train(config, directory, mirror)


def train_parser(command: str, description: str, *, run_dir: Callable[[str], str], run_dir_help: str) -> Parser:
    """A parser of the arguments that say what is trained, and where; `run_dir` reads that one."""
    parser = Parser(command, description, "settings, written key=value:\n" + describe_settings())
    presets = "; ".join(f"{name}: {text}" for name, text in PRESET_HELP.items())
    parser.add_argument("task", metavar="TASK", help=option_help("task") + " (reach, push or lift)")
    parser.add_argument("settings", metavar="key=value", nargs="*", help="settings; all are listed below")
    parser.add_argument("--mode", metavar="MODE", help=option_help("mode"))
    parser.add_argument("--run-dir", metavar="DIR", type=run_dir, help=f"a path or a URL: {EXAMPLES}; {run_dir_help}")
    parser.add_argument("--seed", metavar="N", help=option_help("seed"))
    parser.add_argument("--preset", metavar="NAME", help=f"a named set of settings. {presets}")
    parser.add_argument("--redis-url", metavar="URL", help=option_help("redis_url"))
    return parser


def resolve_given(given: argparse.Namespace, *, mode: str | None) -> RunConfig:
    """The settings that a `train_parser`'s arguments ask for.

    Raises:
        UserError: naming what is not known or not allowed.
    """
    return resolve(given.task, given.preset, given.settings, mode=mode, seed=given.seed, redis_url=given.redis_url)
