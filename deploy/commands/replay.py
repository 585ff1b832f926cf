"""`twist replay list`, `export`, `delete`: what a Redis server holds of which runs, taking it, and giving it back."""

from __future__ import annotations

import contextlib
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.commands.arguments import Parser, named, path, whole
from deploy.errors import UserError, user_errors
from deploy.process.places import is_url

if TYPE_CHECKING:
    from deploy.runs.directory import RunDirectory
    from replay.connection import Client


def run(arguments: list[str]) -> int:
    """Runs `twist replay` and gives its exit code."""
    parser = Parser(
        "replay",
        "What a Redis server holds of which runs, taking it, and giving it back.\n\n"
        "  twist replay list [URL]                          the runs whose replay lies there, the largest first\n"
        "  twist replay export RUN DIR [--redis-url URL]    a run's episodes as a LeRobotDataset v3.0\n"
        "  twist replay delete RUN [--redis-url URL]        deletes one run's replay, and nothing else",
        "The server is TWIST_REDIS_URL where none is named, and always where its URL has a password.",
    )
    parser.add_argument("what", choices=("list", "export", "delete"))
    parser.add_argument(
        "name", nargs="?", metavar="URL|RUN", type=named, help="a server; or a run by its id or its directory"
    )
    parser.add_argument("target", nargs="?", metavar="DIR", type=path, help="export: to write, a new directory")
    parser.add_argument("--redis-url", metavar="URL", help="the server of the run that is exported or deleted")
    parser.add_argument("--episodes", metavar="N", type=whole(1), help="export: so many of the newest (default: all)")
    given = parser.parse_args(arguments)
    if given.what != "list" and given.name is None:
        parser.error(f"{given.what} needs a run")
    if (given.what == "export") != (given.target is not None):
        parser.error("export needs a run and a directory" if given.target is None else f"{given.what} takes no DIR")
    if given.what != "export" and given.episodes is not None:
        parser.error(f"{given.what} takes no --episodes")
    if given.what == "list" and given.name is not None and given.redis_url is not None:
        parser.error("list takes one URL")

    from deploy.training.replay_address import VARIABLE, given_url
    from replay.connection import connect, in_one_line

    url = given_url(given.redis_url or (given.name if given.what == "list" else None))
    if url is None:
        raise UserError(f"no Redis server is named: give its URL, or set {VARIABLE}")
    with contextlib.ExitStack() as stack:
        found = _run(stack, given.name) if given.what != "list" else None
        stack.enter_context(user_errors())
        client = stack.enter_context(connect(url))
        stack.enter_context(in_one_line(url))
        if found is None:
            return _list(client)
        if given.what == "delete":
            return _delete(client, found if isinstance(found, str) else found.run_id)
        if isinstance(found, str):
            raise UserError(f"{found}: export needs the run's directory or URL, which says what task it is of")
        return _export(client, found, given.target, given.episodes)


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


def _export(client: Client, run: RunDirectory, target: Path, most: int | None) -> int:
    from deploy.robot.replayed import write_replay
    from deploy.robot.terms import action_names
    from replay.store import ReplayStore

    store = ReplayStore.of_held_run(client, run.run_id, run.config.replay)
    if store is None:
        raise UserError(f"the server holds nothing of run {run.run_id}: `twist replay list` shows what there is")
    task, fps = run.config.task, run.config.evaluated_sim.control_hz
    count = write_replay(store, target, task=task, fps=fps, action_names=action_names(task), most=most)
    print(f"{target}: {count} episodes")
    return 0


def _run(stack: contextlib.ExitStack, name: str) -> RunDirectory | str:
    """A run that is named by its directory or its URL; its id, where it is named by that."""
    if not is_url(name) and "/" not in name and not Path(name).is_dir():
        return name
    from deploy.remote.run import local_run
    from deploy.runs.directory import RunDirectory

    return RunDirectory.open(Path(stack.enter_context(local_run(name))))
