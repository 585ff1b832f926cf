"""`twist status`: where a run stands."""

from __future__ import annotations

import json
from pathlib import Path

from deploy.commands.arguments import Parser

_DESCRIPTION = """\
Where a run stands, from its files alone: whether it is being driven, how far it is, who waits for whom, and what went
wrong. The run may be driven by another process, finished or stopped, and RUN may be a copy, or the URL of one that
is driven anywhere."""


def run(arguments: list[str]) -> int:
    """Runs `twist status`.

    Returns:
        The exit code, 0.

    Raises:
        UserError: RUN is no run.
    """
    parser = Parser("status", _DESCRIPTION)
    parser.add_run()
    parser.add_json()
    given = parser.parse_intermixed_args(arguments)

    from rich.console import Console

    from deploy.remote.run import local_run, remote_driver
    from deploy.reporting.status import read_status
    from deploy.reporting.status_page import print_status

    with local_run(given.run) as found:
        status = read_status(Path(found), remote_driver(given.run))
    if given.json:
        print(json.dumps(status.to_json(), allow_nan=False))
    else:
        print_status(status, Console(highlight=False))
    return 0
