"""`twist sweep`: trains what a TOML file describes."""

from __future__ import annotations

from pathlib import Path

from deploy.commands.arguments import Parser, path, whole
from deploy.process.places import require_directory


def run(arguments: list[str]) -> int:
    """Runs `twist sweep` and gives its exit code."""
    parser = Parser(
        "sweep",
        "Runs the trainings that a TOML file describes (settings x tasks x seeds), each in a process of its own.\n"
        "The same command goes on where it was interrupted: finished runs are left alone.",
        "The file's keys: name, tasks, seeds, settings, preset, mode (local or debug), and a table [variants] of\n"
        'names with their settings: "no imagination" = ["learner.student.imagination_scale=0"], or with seeds of\n'
        "their own: again = { settings = [], seeds = [2, 3] }. With teachers, a list of finished runs, in place of\n"
        "tasks and preset every run is a new student of one of them (twist distil).",
    )
    parser.add_argument("file", metavar="FILE", type=path, help="TOML")
    parser.add_argument("--out", metavar="DIR", type=path, help="runs are DIR/VARIANT/TASK-SEED (default: runs/NAME)")
    parser.add_argument("--jobs", metavar="N", type=whole(1), default=1, help="runs side by side (default: 1)")
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
    require_directory(out)
    return run_sweep(sweep, out, given.jobs, Console())
