"""`twist replay list` and `twist replay delete`: what a Redis server holds of which runs, and giving it back."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.commands.arguments import Parser, named
from deploy.errors import UserError, user_errors
from deploy.process.places import is_url

if TYPE_CHECKING:
    from replay.connection import Client


def run(arguments: list[str]) -> int:
    """Runs `twist replay` and gives its exit code."""
    parser = Parser(
        "replay",
        "What a Redis server holds of which runs, and giving it back.\n\n"
        "  twist replay list [URL]                      the runs whose replay lies there, the largest first\n"
        "  twist replay delete RUN [--redis-url URL]    deletes one run's replay, and nothing else",
        "The server is TWIST_REDIS_URL where none is named, and always where its URL has a password.",
    )
    parser.add_argument("what", choices=("list", "delete"))
    parser.add_argument(
        "name", nargs="?", metavar="URL|RUN", type=named, help="a server; or a run by its id or its directory"
    )
    parser.add_argument("--redis-url", metavar="URL", help="the server of the run that is to be deleted")
    given = parser.parse_args(arguments)
    if given.what == "delete" and given.name is None:
        parser.error("delete needs a run")
    if given.what == "list" and given.name is not None and given.redis_url is not None:
        parser.error("list takes one URL")

    from deploy.training.replay_address import VARIABLE, given_url
    from replay.connection import connect, in_one_line

    url = given_url(given.redis_url or (given.name if given.what == "list" else None))
    if url is None:
        raise UserError(f"no Redis server is named: give its URL, or set {VARIABLE}")
    run_id = _run_id(given.name) if given.what == "delete" else None
    with user_errors(), connect(url) as client, in_one_line(url):
        return _list(client) if run_id is None else _delete(client, run_id)


def _list(client: Client) -> int:
    from replay.holdings import held_runs

    runs = held_runs(client)
    if not runs:
        print("no runs")
        return 0
    print(f"{'run':<40} {'rows':>12} {'MiB':>10}   driven last")
    for run in runs:
        at = "not known" if run.driven_at is None else f"{datetime.fromtimestamp(run.driven_at):%Y-%m-%d %H:%M:%S}"
        print(f"{run.run_id:<40} {run.rows:>12,} {run.size / 2**20:>10,.1f}   {at}")
    return 0


def _delete(client: Client, run_id: str) -> int:
    from replay.holdings import delete_run, held_run, is_driven

    held = held_run(client, run_id)
    if held is None:
        raise UserError(f"the server holds nothing of run {run_id}: `twist replay list` shows what there is")
    if is_driven(client, held):
        raise UserError(f"run {run_id} is being driven: end it first; a driver that was killed counts for a minute")
    delete_run(client, run_id)
    print(f"deleted: {run_id}, {held.rows:,} rows, {held.size / 2**20:,.1f} MiB")
    return 0


def _run_id(name: str) -> str:
    """Of a run that is named by its id, its directory or its URL."""
    if not is_url(name) and "/" not in name and not Path(name).is_dir():
        return name
    from deploy.remote.run import local_run
    from deploy.runs.directory import RunDirectory

    with local_run(name) as found:
        return RunDirectory.open(Path(found)).run_id
