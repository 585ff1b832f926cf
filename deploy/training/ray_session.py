"""Ray for one run: a private one on this machine, or the cluster that this driver was submitted to."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from deploy.errors import RunEndedError, UserError
from deploy.process import signals
from deploy.process.packages import child_path, refuse_stranger
from deploy.process.scratch import Scratch

OBJECT_STORE_BYTES = 256 * 2**20
"""Of a local Ray: only weights and checkpoints pass through it."""

WORKERS_BEGIN_WITH = "deploy.process.ray_worker"
"""By its name: who imports it ends with his parent."""


@contextmanager
def ray_session(mode: str, place: Scratch, logs: Path | None = None) -> Iterator[None]:
    """Starts a Ray of our own (mode local) or joins the cluster around us (mode cluster), and leaves it at the end.

    Ray's servers listen on every interface, so a local one is closed by a token of its own. Ray reads that setting
    when it is first imported, which therefore happens here and nowhere before.

    Args:
        mode: local or cluster.
        place: where a local session has its sockets, logs and spilled objects; its processes end with that.
        logs: directory to which Ray's own logs are copied if it does not start.

    Raises:
        UserError: there is no cluster, or its workers would import something else than our packages.
        RunEndedError: Ray does not start.
        Ended: by a signal while the session began.
    """
    if mode == "local" and "ray" not in sys.modules:
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # leave CUDA_VISIBLE_DEVICES of actors alone
    # Ray's own handler for SIGTERM prints a stack and aborts. Its workers keep theirs, for segmentation faults.
    with _environment(RAY_DISABLE_FAILURE_SIGNAL_HANDLER="1"):
        import ray

    # A session that is begun by half would leave processes behind; this takes some seconds.
    with signals.held():
        if mode == "cluster":
            _join()
        else:
            with _sessions_of_their_own(place.end_with_us), _environment(PYTHONPATH=child_path()):
                _start(place.path / "ray", logs)
    try:
        yield
    finally:
        ray.shutdown()


def _start(directory: Path, logs: Path | None) -> None:
    import ray

    try:
        ray.init(
            address="local",
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            object_store_memory=OBJECT_STORE_BYTES,
            _temp_dir=str(directory),
            _system_config={"preload_python_modules": [WORKERS_BEGIN_WITH]},
        )
    except Exception as error:  # of many classes, some of them plain ones
        said = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        if logs is not None:
            with suppress(OSError):
                shutil.copytree(directory / "session_latest" / "logs", logs / "ray", dirs_exist_ok=True)
                said[0] += f" (its own logs: {logs / 'ray'})"
        raise RunEndedError(f"Ray does not start: {said[0]}") from error


def _join() -> None:
    import ray

    # In a job, all workers have the job's package; otherwise they search the directory of this name on their machines.
    if "working_dir" not in os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR", ""):
        refuse_stranger(Path(), "Ray's workers")
    try:
        ray.init(address="auto", log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionError as error:
        raise UserError("--mode cluster finds no Ray cluster here: submit the command to one, or use local") from error


@contextmanager
def _sessions_of_their_own(begun: Callable[[int], object]) -> Iterator[None]:
    """What Ray starts is not in our process group, which gets Ctrl-C, hang-ups and the signals of timeout(1).

    Without it learner and actors would be gone before they can be asked for what they have. Ray has no setting for it.

    Args:
        begun: told the id of each that leads a session.
    """
    from ray._private import services

    popen = services.ConsolePopen

    def start(*arguments: Any, **options: Any) -> Any:
        process = popen(*arguments, **options, start_new_session=True)
        begun(process.pid)
        return process

    services.ConsolePopen = start  # type: ignore[misc, assignment]
    try:
        yield
    finally:
        services.ConsolePopen = popen  # type: ignore[misc]


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def draining_nodes() -> frozenset[str]:
    """Ids of the nodes that Ray has been told will go soon (a spot node's notice, a drained Kubernetes pod).

    There is no public call for it; Ray Train watches for preemption by the same one.
    """
    import ray._private.state

    return frozenset(ray._private.state.state.get_draining_nodes())
