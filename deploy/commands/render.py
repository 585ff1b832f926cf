"""`twist render`: a contact sheet of worlds."""

from __future__ import annotations

from pathlib import Path

from deploy.commands.arguments import Parser, path
from deploy.errors import UserError, user_errors
from deploy.process.places import require_file

_SHEET = (8, 4)
"""Columns and rows of the contact sheet: half of the rows show training worlds, half held-out ones; then the lab's."""


def run(arguments: list[str]) -> int:
    """Runs `twist render` and gives its exit code."""
    from deploy.settings.help import describe_settings
    from deploy.settings.presets import resolve

    parser = Parser(
        "render",
        "Writes a contact sheet of randomised worlds as PNG, training domain and held-out domain, and of the lab.",
        "settings, written key=value:\n" + describe_settings("sim."),
    )
    parser.add_argument("task", metavar="TASK", help="reach, push or lift")
    parser.add_argument("settings", metavar="key=value", nargs="*", help="settings; all are listed below")
    parser.add_argument("--out", metavar="FILE", type=path, help="default: TASK_worlds.png")
    parser.add_seed("the same seed, the same worlds")
    given = parser.parse_intermixed_args(arguments)
    for text in given.settings:
        if "=" in text and not text.startswith("sim."):
            raise UserError(f"{text}: render takes only settings that begin with sim. (twist render --help)")
    config = resolve(given.task, None, given.settings)
    out = given.out or Path(f"{config.task}_worlds.png")
    require_file(out)

    from deploy.reporting.contact_sheet import write_contact_sheet

    with user_errors():
        write_contact_sheet(config.task, config.sim, out, seed=given.seed, columns=_SHEET[0], rows=_SHEET[1], lab=True)
    print(out)
    return 0
