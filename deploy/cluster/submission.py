"""A training as a job of a Ray cluster: sends it through Ray's job server, follows its log, and tells how it ended.

The job server is part of Ray's dashboard on the cluster's head node. It takes a package (see `job_package`), unpacks it
there, and runs a command in it: the driver. The driver goes on when nobody follows, and ends with the cluster.

Whoever can reach the job server sees every job's command and environment variables. No password goes into either.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import logging
import os
import shlex
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy.errors import UserError
from deploy.process import signals
from deploy.process.places import is_url
from deploy.remote.storage import check_url
from replay.connection import redact

if TYPE_CHECKING:
    from ray.job_submission import JobDetails

DEFAULT_ADDRESS = "http://127.0.0.1:8265"
"""Where a dashboard is on its own machine, and where `ray attach --port-forward=8265` brings a remote one."""

ADDRESS_VARIABLES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
"""Where the address is taken from when none is given: the first that is set."""

STOPPED = 143
"""Exit code of a job that somebody stopped: 128 and SIGTERM, which is how Ray stops it."""

CONNECT_SECONDS = 10.0
"""A dashboard that does not answer for so long is not there."""

SILENCE_SECONDS = 20.0
"""After so long without a line of the log it is asked whether the job still runs: the connection may be dead."""

PATIENCE_SECONDS = 120.0
"""For so long it is tried to reach a dashboard again that has answered before."""

_RETRY_SECONDS = 2.0


class JobLostError(Exception):
    """The dashboard does not answer any more, so that it is not known how the job ended; one line."""


def find_address(given: str | None, environment: Mapping[str, str]) -> str:
    """Where the job server is: as given, else from the first of `ADDRESS_VARIABLES`, else `DEFAULT_ADDRESS`.

    Raises:
        UserError: it is no URL of a dashboard. (Ray's own commands also take an address of the cluster itself, and then
            look for the dashboard; `auto` may find any Ray that happens to run here.)
    """
    source, address = "--address", given
    for name in ADDRESS_VARIABLES:
        if address is None and environment.get(name):
            source, address = name, environment[name]
    address = address or DEFAULT_ADDRESS
    if not _is_url(address):
        raise UserError(
            f"{source} {redact(address)} is not allowed: the URL of the cluster's Ray dashboard, for example "
            f"{DEFAULT_ADDRESS}"
        )
    return address.rstrip("/")


def on_head(run_dir: str) -> str:
    """A run directory as the head node will read it: `~` and variables are those of `twist train` there.

    Raises:
        UserError: a relative path, which would be in the unpacked package and go with it, or a URL that is not allowed.
    """
    if is_url(run_dir):
        return check_url(run_dir)
    if not run_dir.startswith(("/", "~/", "$")):
        raise UserError(
            f"--run-dir {run_dir} is not allowed: a path on the cluster's head node, beginning with /, ~/ or $NAME/ "
            "(quoted, so that this machine's shell leaves it alone), or a URL, as the directory that a job begins in "
            "goes when it ends"
        )
    return run_dir


def train_on_head(arguments: Sequence[str], run_dir: str) -> str:
    """The command of the job, for a shell on the head node.

    Args:
        arguments: of `twist train`, without `--run-dir`.
        run_dir: from `on_head`.
    """
    return f"python -m deploy train {shlex.join(arguments)} --run-dir {shlex.quote(run_dir)}"


def exit_code(job: JobDetails) -> int:
    """What a job that has ended gives as exit code, in the shell's way.

    0 success; the driver's own code where Ray knows it, 128 and the signal's number for a driver that a signal ended;
    1 for a job that failed without a driver's code (its package or its node was lost); `STOPPED`.
    """
    status, code = str(job.status), job.driver_exit_code
    if status == "SUCCEEDED":
        return 0
    if status == "STOPPED":
        return STOPPED
    if code is None or code == 0:
        return 1
    return int(code) if code > 0 else 128 - int(code)


class JobServer:
    """The job server of one Ray cluster."""

    def __init__(self, address: str) -> None:
        """Makes sure that there is one.

        Args:
            address: URL of the dashboard.

        Raises:
            UserError: no dashboard answers there, or it refuses us.
        """
        self.address = redact(address)
        """For messages."""
        _check_dashboard(address)
        with _alone(), self._refusals():
            from ray.job_submission import JobSubmissionClient

            for name in ("ray.dashboard.modules.dashboard_sdk", "ray.dashboard.modules.job.sdk"):
                logging.getLogger(name).setLevel(logging.WARNING)  # tells of every upload and of every closed log
            self._client: Any = JobSubmissionClient(address)

    def submit(self, job_id: str, command: str, package: Path) -> None:
        """Sends the package, unless the cluster has it, and starts the job.

        Args:
            job_id: a new one.
            command: what the job runs, in a shell, in the unpacked package.
            package: zip file.

        Raises:
            UserError: Ray refuses it.
        """
        with _alone(), self._refusals():
            self._client.submit_job(
                entrypoint=command,
                submission_id=job_id,
                runtime_env={
                    "working_dir": str(package.absolute()),
                    # `ray job stop` would kill the driver after 3 s, before it has drained.
                    "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": f"{signals.GRACE_SECONDS:.0f}"},
                },
            )

    def follow(self, job_id: str, write: Callable[[str], object]) -> JobDetails:
        """Passes on the job's log from its beginning, as it comes, until the job has ended.

        A connection that is lost is made again; nothing is passed on twice.

        Args:
            job_id: of the job.
            write: gets pieces of the log, which need not be whole lines.

        Returns:
            What Ray tells of the job that has ended.

        Raises:
            JobLostError: the dashboard has not answered for `PATIENCE_SECONDS`; the job may well go on.
        """
        return asyncio.run(self._follow(job_id, write))

    async def _follow(self, job_id: str, write: Callable[[str], object]) -> JobDetails:
        shown = 0  # characters; a new connection tells the log from its beginning
        answered = time.monotonic()
        while True:
            told = 0
            log = self._client.tail_job_logs(job_id)
            async with contextlib.aclosing(log):
                while (text := await self._next(job_id, log)) is not None:
                    answered = time.monotonic()
                    write(text[max(shown - told, 0) :])
                    told += len(text)
                    shown = max(shown, told)
            # Ray ends the log without an error also when something between us and the driver broke.
            job, error = await asyncio.to_thread(self._ask, job_id)
            if job is not None:
                answered = time.monotonic()
                if job.status.is_terminal():
                    with contextlib.suppress(OSError, RuntimeError):
                        write((await asyncio.to_thread(self._client.get_job_logs, job_id))[shown:])
                    return job
            elif time.monotonic() - answered > PATIENCE_SECONDS:
                raise JobLostError(f"{self.address} has not answered for {PATIENCE_SECONDS:g} s: {error}")
            await asyncio.sleep(_RETRY_SECONDS)

    async def _next(self, job_id: str, log: AsyncGenerator[str, None]) -> str | None:
        """The log's next piece; None if there is none any more, for whatever reason."""
        piece = asyncio.ensure_future(_piece(log))
        try:
            while not (await asyncio.wait({piece}, timeout=SILENCE_SECONDS))[0]:
                job, _ = await asyncio.to_thread(self._ask, job_id)
                if job is None or job.status.is_terminal():
                    return None
            return piece.result()
        finally:
            if not piece.done():
                piece.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await piece

    def _ask(self, job_id: str) -> tuple[JobDetails | None, str]:
        """What Ray tells of a job, or None and why not."""
        try:
            return self._client.get_job_info(job_id), ""
        except (OSError, RuntimeError) as error:  # OSError includes what `requests` raises
            return None, " ".join(str(error).split())

    @contextlib.contextmanager
    def _refusals(self) -> Iterator[None]:
        """Turns what Ray's client raises into one line."""
        from ray.exceptions import RayError

        try:
            yield
        except RayError as error:  # of what can be raised here: the token
            raise UserError(
                f"the Ray dashboard at {self.address} wants another token: set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN, "
                "or RAY_AUTH_TOKEN_PATH, to the cluster's"
            ) from error
        except (OSError, RuntimeError, ValueError) as error:
            raise UserError(f"the Ray dashboard at {self.address} refuses: {_last_line(error)}") from error


def _is_url(address: str) -> bool:
    try:
        parts = urllib.parse.urlsplit(address)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets, or a port that is none
        return False


async def _piece(log: AsyncGenerator[str, None]) -> str | None:
    try:
        return await anext(log, None)
    except Exception:  # of the client's own libraries; whoever asks looks at the job next, whatever it was
        return None


def _check_dashboard(address: str) -> None:
    """Ray's own client would wait for minutes for an address that swallows what is sent to it."""
    missing = f"no Ray dashboard answers at {redact(address)}"
    try:
        with urllib.request.urlopen(f"{address}/api/version", timeout=CONNECT_SECONDS) as answer:
            version = json.load(answer)
            known = isinstance(version, dict) and "ray_version" in version
    except urllib.error.HTTPError as error:
        known = error.code in (401, 403)  # wants a token, which Ray's client has if anybody has
    except urllib.error.URLError as error:
        raise UserError(f"{missing}: {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise UserError(f"{missing}: {error}") from error
    except ValueError:
        known = False
    if not known:
        raise UserError(f"{missing}: what answers there is something else")


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Hides Ray's variables, which its client prefers to the address that it is given."""
    hidden = {name: os.environ.pop(name) for name in ADDRESS_VARIABLES if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(hidden)


def _last_line(error: Exception) -> str:
    """The server answers with a traceback; its last line says what is wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip(" .")]
    return lines[-1] if lines else type(error).__name__
