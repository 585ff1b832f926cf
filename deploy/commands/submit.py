"""`twist submit`: checks a training's arguments here, sends it to a Ray cluster, and follows it to its end."""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import tempfile
from pathlib import Path

from deploy.cluster.job_package import pack
from deploy.cluster.submission import (
    ADDRESS_VARIABLES,
    DEFAULT_ADDRESS,
    JobLostError,
    JobServer,
    exit_code,
    find_address,
    on_head,
    train_on_head,
)
from deploy.commands.train import resolve_given, train_parser
from deploy.errors import UserError
from deploy.process import signals
from replay.connection import redact

_DESCRIPTION = """\
Trains on a Ray cluster: sends the working directory as a job that runs `twist train --mode cluster` on the cluster's
head node, and follows its log. The same command with the same --run-dir continues the run; one that is still being
driven is refused.

The working directory goes without what its .gitignore and .rayignore name, .git, virtual environments, runs/, caches
and .env, and has to be below 100 MiB when packed.

The Redis server of the replay is the cluster's own: TWIST_REDIS_URL in the environment of its head node, set before
`ray start` there (cluster.yaml does that). A job's command and environment are shown to whoever sees the cluster's
jobs, so no password is sent with it.

The exit code is the driver's: 0 trained, 2 what was asked for cannot be, ... Beside it: 143 the job was stopped; 128
and the number of a signal that ended the command here (130 for Ctrl-C), the job goes on; 1 also if the job was lost on
the cluster, or the cluster out of sight."""


def run(arguments: list[str]) -> int:
    """Runs `twist submit`.

    Returns:
        The exit code: see the command's help.

    Raises:
        UserError: what was asked for cannot be; no job was started.
    """
    parser = train_parser(
        "submit",
        _DESCRIPTION,
        run_dir=on_head,
        run_dir_help="needed; a path is on the head node and begins with /, '~/' or '$NAME/', in quotes",
    )
    parser.add_argument(
        "--address",
        metavar="URL",
        help=f"of the cluster's Ray dashboard (default: {', '.join(ADDRESS_VARIABLES)}, then {DEFAULT_ADDRESS})",
    )
    parser.add_argument("--no-wait", action="store_true", help="end when the job is sent")
    given = parser.parse_intermixed_args(arguments)
    command = _checked(given)
    job_id = f"twist-{given.task}-{secrets.token_hex(4)}"

    server = JobServer(find_address(given.address, os.environ))
    with tempfile.TemporaryDirectory(prefix="twist-") as directory:
        package = pack(Path(), Path(directory, "package.zip"))
        print(f"job {job_id} to {server.address}: {package}", flush=True)
        server.submit(job_id, command, package.path)
    where = f"--address {server.address} {job_id}"
    hints = f"follow it with `ray job logs --follow {where}`, stop it with `ray job stop {where}`"
    if given.no_wait:
        print(hints)
        return 0
    try:
        job = server.follow(job_id, _show)
    except KeyboardInterrupt as ended:
        raise signals.Ended(f"job {job_id} goes on: {hints}") from ended
    except JobLostError as error:
        _say(f"{error}; job {job_id} may go on: {hints}")
        return 1
    code = exit_code(job)
    if code:
        _say(_ending(job_id, str(job.status), job.driver_exit_code, job.message, code))
    return code


def _checked(given: argparse.Namespace) -> str:
    """The job's command, once all of it has been checked as `twist train` does.

    Raises:
        UserError: naming what is not known or not allowed.
    """
    if given.mode not in (None, "cluster"):
        raise UserError(f"--mode {given.mode} is not allowed: a job has mode cluster")
    if given.redis_url is not None and redact(given.redis_url) != given.redis_url:
        raise UserError(
            f"--redis-url {redact(given.redis_url)} is not allowed: a job's command is shown to whoever sees the "
            "cluster's jobs, so it has no user and no password; set TWIST_REDIS_URL on the head node before `ray start`"
        )
    if given.run_dir is None:
        raise UserError("the following arguments are required: --run-dir (twist submit --help)")
    resolve_given(given, mode="cluster")
    options = {"--mode": "cluster", "--seed": given.seed, "--preset": given.preset, "--redis-url": given.redis_url}
    words = [given.task, *given.settings]
    for option, value in options.items():
        words += [] if value is None else [option, value]
    return train_on_head(words, given.run_dir)


def _ending(job_id: str, status: str, driver_code: int | None, message: str | None, code: int) -> str:
    if status == "STOPPED":
        return f"job {job_id} was stopped"
    if driver_code is None:
        # Ray appends tracebacks and other lines, which the log has too.
        return f"job {job_id} failed before its end: {(message or 'Ray gives no reason').splitlines()[0]}"
    return f"job {job_id} failed with exit code {code}"


def _show(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _say(text: str) -> None:
    print(f"twist: {text}", file=sys.stderr)
