"""Trainings sent to a Ray cluster as jobs, by `twist submit` and by `ray job submit`: a real head, on this machine."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from continued import assert_counters_go_on, is_past_a_checkpoint
from private_head import PrivateHead
from ray._private.authentication_test_utils import reset_auth_token_state
from running import CHECKOUT, SMALL, lines, of_kind, report

from deploy.cluster.job_package import files_to_pack, pack
from deploy.cluster.submission import ADDRESS_VARIABLES, JobServer, exit_code
from deploy.errors import UserError
from deploy.runs.directory import RunDirectory
from replay import EmbeddedServer

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]

ANYWHERE = ("actors.resource=", "learner.resource=")
"""The head is the only node, and has neither."""

SECONDS = 900.0
"""Nothing here takes so long; it only keeps what hangs from hanging the tests."""

SECRET = "hunter2"
REDIS_OF_THE_HEAD = f"redis://default:{SECRET}@127.0.0.1:1/0"
LONG = ("training.env_steps=1000000", "training.checkpoint_every_seconds=1", "training.metrics_every_seconds=0.5")


@pytest.fixture(scope="module")
def head() -> Iterator[PrivateHead]:
    with PrivateHead(TWIST_REDIS_URL=REDIS_OF_THE_HEAD) as running:
        yield running


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with EmbeddedServer(tmp_path_factory.mktemp("redis"), max_bytes=2**32) as server:
        yield server.url


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout whose actors write down from where they were imported."""
    directory = tmp_path_factory.mktemp("workplace")
    for name in files_to_pack(CHECKOUT):
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CHECKOUT / name, directory / name)
    (directory / "runs").mkdir()
    (directory / "runs" / "old.bin").write_bytes(os.urandom(3 * 2**20))
    with (directory / "actors" / "actor.py").open("a") as file:
        file.write(
            "\n\nimport os, sys\n\n"
            f"with open({str(directory.parent / 'imported')!r}, 'a') as note:\n"
            "    note.write(f'{os.getpid()} {__file__}\\n')\n"
        )
    return directory


@pytest.fixture(autouse=True)
def heed_interrupts() -> Iterator[None]:
    """What a shell starts in the background ignores them, and hands that on to all that it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def server(head: PrivateHead) -> Iterator[JobServer]:
    """Our client, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
            patch.setenv(name, head.environment[name])
        reset_auth_token_state()  # Ray may have been imported before, with another token
        yield JobServer(head.address)
    reset_auth_token_state()


@pytest.fixture(scope="module")
def nothing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package with next to nothing in it."""
    directory = tmp_path_factory.mktemp("nothing")
    (directory / "note.txt").write_text("a job that needs no code")
    return pack(directory, tmp_path_factory.mktemp("package") / "package.zip").path


def new_id() -> str:
    return f"test-{uuid.uuid4().hex[:8]}"


def submission(head: PrivateHead, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "deploy", "submit", *arguments, "--address", head.address]


def run(head: PrivateHead, workplace: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=workplace, env=head.environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )


@contextlib.contextmanager
def following(head: PrivateHead, workplace: Path, log: Path, *command: str) -> Iterator[subprocess.Popen[str]]:
    """A command under way, what it says in a file."""
    with log.open("w") as out, log.with_suffix(".err").open("w") as err:
        process = subprocess.Popen(command, cwd=workplace, env=head.environment, stdout=out, stderr=err, text=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def wait_until(condition: Callable[[], bool], said: Callable[[], str]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, said()
        time.sleep(0.2)


def status(server: JobServer, job_id: str) -> str:
    return str(server._client.get_job_status(job_id))


def learned(run_directory: Path) -> float:
    """Teacher's updates so far."""
    return max((row["teacher/updates"] for row in of_kind("train", lines(run_directory))), default=0.0)


# --- trainings --------------------------------------------------------------------------------------------------------


def test_the_smallest_run_is_trained_by_what_was_sent_and_is_continued_by_hand(
    head: PrivateHead, workplace: Path, redis_url: str, tmp_path: Path
) -> None:
    directory = tmp_path / "run with a space"
    train = ["reach", *SMALL, *ANYWHERE, "--redis-url", redis_url, "--run-dir", str(directory)]
    done = run(head, workplace, *submission(head, *train))
    assert done.returncode == 0, done.stdout + done.stderr
    first = done.stdout.splitlines()[0]
    told = re.fullmatch(rf"job (twist-reach-\w+) to {head.address}: ([\d.]+) MiB, (\d+) files", first)
    assert told is not None, first
    assert 0.1 < float(told[2]) < 3.0  # without the 3 MiB in runs/, which no compression makes smaller
    assert int(told[3]) == len(list(files_to_pack(workplace)))
    assert "replay: up to" in done.stdout
    assert report(directory)["env_steps"] >= 600
    assert json.loads((directory / "config.json").read_text())["config"]["mode"] == "cluster"
    imported = (workplace.parent / "imported").read_text().splitlines()
    assert len({line.partition(" ")[0] for line in imported}) >= 2  # the driver and at least one actor
    assert all(line.partition(" ")[2].startswith(str(head.directory)) for line in imported)

    by_hand = ["python", "-m", "deploy", "train", *train, "--mode", "cluster"]
    ray = str(Path(sys.executable).parent / "ray")
    again = run(head, workplace, ray, "job", "submit", "--address", head.address, "--working-dir", ".", "--", *by_hand)
    assert again.returncode == 0, again.stdout + again.stderr
    # The line may be broken anywhere, also in the path.
    assert "".join(f"{directory} is complete at".split()) in "".join(again.stdout.split())


def test_a_run_is_driven_once_goes_on_without_its_follower_and_can_be_stopped_and_continued(
    head: PrivateHead, workplace: Path, redis_url: str, server: JobServer, tmp_path: Path
) -> None:
    directory, log = tmp_path / "run", tmp_path / "log"
    command = submission(head, "reach", *SMALL, *ANYWHERE, *LONG, "--redis-url", redis_url, "--run-dir", str(directory))
    with following(head, workplace, log, *command) as follower:
        wait_until(lambda: learned(directory) > 0 or follower.poll() is not None, log.read_text)
        assert follower.poll() is None, log.read_text() + log.with_suffix(".err").read_text()
        job_id = log.read_text().split()[1]

        second = run(head, workplace, *command)
        assert second.returncode == 2, second.stdout
        refusal = [line for line in second.stdout.splitlines() if line.startswith("twist: ")]
        assert len(refusal) == 1
        assert f"run directory {directory}: is being driven by process" in refusal[0]
        assert second.stderr.count("\n") == 1
        assert second.stderr.endswith("failed with exit code 2\n")

        follower.send_signal(signal.SIGINT)
        assert follower.wait(SECONDS) == 130
    said = log.with_suffix(".err").read_text()
    assert said.startswith(f"twist: ended by SIGINT: job {job_id} goes on: follow it with `ray job logs --follow")
    assert said.count("\n") == 1
    assert status(server, job_id) == "RUNNING"

    before = learned(directory)
    wait_until(lambda: learned(directory) > before, log.read_text)
    server._client.stop_job(job_id)
    wait_until(lambda: status(server, job_id) == "STOPPED", log.read_text)
    told = of_kind("train", lines(directory))[-1]
    saved = RunDirectory.open(directory).newest_checkpoint()
    assert saved.document["learner"]["teacher_updates"] == told["teacher/updates"]  # it is of the end

    with following(head, workplace, log, *command) as follower:
        wait_until(lambda: f"continuing {directory}" in log.read_text().replace("\n", " "), log.read_text)
        server._client.stop_job(log.read_text().split()[1])
        assert follower.wait(SECONDS) == 143
    assert log.with_suffix(".err").read_text().endswith("was stopped\n")
    assert "twist: ended by SIGTERM" in log.read_text()


def test_a_driver_that_is_killed_and_submitted_again_ends_as_an_undisturbed_run_does(
    head: PrivateHead, workplace: Path, redis_url: str, tmp_path: Path
) -> None:
    lengths = ("training.env_steps=1500", "training.checkpoint_every_seconds=1", "training.metrics_every_seconds=0.5")
    train = ["reach", *SMALL, *ANYWHERE, *lengths, "--redis-url", redis_url]
    undisturbed, killed, log = tmp_path / "undisturbed", tmp_path / "killed", tmp_path / "log"
    assert run(head, workplace, *submission(head, *train, "--run-dir", str(undisturbed))).returncode == 0

    command = submission(head, *train, "--run-dir", str(killed))
    with following(head, workplace, log, *command) as follower:
        wait_until(lambda: is_past_a_checkpoint(killed) or follower.poll() is not None, log.read_text)
        driver = int((killed / "lock").read_text().split()[1])
        os.kill(driver, signal.SIGKILL)
        assert follower.wait(SECONDS) == 137
    before = lines(killed)
    checkpoint = RunDirectory.open(killed).newest_checkpoint()
    again = run(head, workplace, *command)
    assert again.returncode == 0, again.stdout + again.stderr

    assert shape(report(killed)) == shape(report(undisturbed))
    found = report(killed)
    assert (found["resumed"], found["lost_rows"]) == (1, 0)
    assert found["env_steps"] >= 1500
    assert_counters_go_on(before, lines(killed), kept_bytes=int(checkpoint.document["metrics_offset"]), run=killed)


def shape(document: Any) -> Any:
    """Keys and kinds of a document, without its values; what was restarted may be named in one and not in another."""
    if isinstance(document, dict):
        return {key: shape(value) for key, value in document.items() if key != "restarts"}
    if isinstance(document, list):
        return [shape(value) for value in document]
    return "number" if isinstance(document, (int, float)) else type(document).__name__


def test_a_run_that_cannot_be_ends_with_the_drivers_line_and_code(
    head: PrivateHead, workplace: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    run_dir = str(tmp_path / "file")
    done = run(head, workplace, *submission(head, "reach", "--redis-url", "redis://127.0.0.1:1", "--run-dir", run_dir))
    assert done.returncode == 2
    assert f"twist: run directory {run_dir}: is a file\n" in done.stdout
    assert re.fullmatch(r"twist: job twist-reach-\w+ failed with exit code 2\n", done.stderr)
    assert (tmp_path / "file").read_text() == "mine"


def test_nothing_is_sent_that_is_wrong_here(head: PrivateHead, workplace: Path, server: JobServer) -> None:
    before = len(server._client.list_jobs())
    done = run(head, workplace, *submission(head, "reach", "--run-dir", "/tmp/run", "learner.batch_size=-3"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "learner.batch_size = -3 is not allowed" in done.stderr
    assert len(server._client.list_jobs()) == before


# --- jobs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "code"), [("true", 0), ("exit 7", 7), ("kill -KILL $$", 137)], ids=["success", "failure", "killed"]
)
def test_the_exit_code_is_the_drivers(server: JobServer, nothing: Path, command: str, code: int) -> None:
    job_id, said = new_id(), list[str]()
    server.submit(job_id, f"cat note.txt; {command}", nothing)
    assert exit_code(server.follow(job_id, said.append)) == code
    assert "".join(said).count("a job that needs no code") == 1


def test_a_job_whose_package_is_no_package_fails_with_code_1(server: JobServer, tmp_path: Path) -> None:
    broken = tmp_path / "package.zip"
    broken.write_bytes(b"no zip file")
    job_id, said = new_id(), list[str]()
    server.submit(job_id, "true", broken)
    job = server.follow(job_id, said.append)
    assert (job.driver_exit_code, exit_code(job)) == (None, 1)
    assert job.message


def test_what_ray_refuses_is_one_line(server: JobServer, nothing: Path) -> None:
    job_id = new_id()
    server.submit(job_id, "true", nothing)
    with pytest.raises(UserError) as refused:
        server.submit(job_id, "true", nothing)
    assert f"submission_id {job_id} already exists" in str(refused.value)
    assert "Traceback" not in str(refused.value)


def test_the_cluster_shows_no_password_though_its_jobs_have_it(server: JobServer, nothing: Path) -> None:
    job_id, said = new_id(), list[str]()
    digest = hashlib.sha256(REDIS_OF_THE_HEAD.encode()).hexdigest()
    server.submit(job_id, f"printf %s $TWIST_REDIS_URL | sha256sum | grep {digest}", nothing)
    assert exit_code(server.follow(job_id, said.append)) == 0
    shown = json.dumps([json.loads(job.json()) for job in server._client.list_jobs()])
    assert job_id in shown
    assert SECRET not in shown


@pytest.mark.parametrize("token", ["", "ab" * 32], ids=["none", "another"])
def test_a_token_that_is_not_the_clusters_is_one_line(head: PrivateHead, workplace: Path, token: str) -> None:
    environment = {name: value for name, value in head.environment.items() if not name.startswith("RAY_AUTH")}
    if token:
        environment.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=token)
    done = subprocess.run(
        submission(head, "reach", "--run-dir", "/tmp/run"),
        cwd=workplace,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert f"the Ray dashboard at {head.address} wants another token: set RAY_AUTH_MODE=token" in done.stderr
    assert done.stderr.count("\n") == 1


def test_rays_variables_do_not_override_the_address(
    server: JobServer, head: PrivateHead, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ADDRESS_VARIABLES:
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    JobServer(head.address)
    assert os.environ[ADDRESS_VARIABLES[0]] == "http://127.0.0.1:1"


def test_ray_takes_no_package_of_the_size_that_is_refused_here() -> None:
    from ray._private.ray_constants import DASHBOARD_CLIENT_MAX_SIZE

    from deploy.cluster.job_package import LIMIT_BYTES

    assert LIMIT_BYTES == DASHBOARD_CLIENT_MAX_SIZE


# --- a connection that is lost ----------------------------------------------------------------------------------------


class Forwarding:
    """Forwards a port as `ray attach --port-forward` does, and can be cut."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._listening.getsockname()[1])

    def cut(self) -> int:
        """Ends all connections; new ones can be made. Returns how many there were."""
        ended, self._sockets = self._sockets, []
        for each in ended:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        return len(ended) // 2

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                far = socket.create_connection(("127.0.0.1", self._port))
                self._sockets += [near, far]
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=self._copy, args=(source, target), daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while block := source.recv(65536):
                target.sendall(block)
        for each in (source, target):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


def test_a_log_is_followed_across_a_lost_connection_without_a_line_twice(
    server: JobServer, head: PrivateHead, nothing: Path, tmp_path: Path
) -> None:
    forwarding = Forwarding(int(head.address.rpartition(":")[2]))
    there = JobServer(f"http://127.0.0.1:{forwarding.port}")
    gate = tmp_path / "gate"
    job_id, said = new_id(), list[str]()
    there.submit(job_id, f"echo line 1; echo line 2; until test -e {gate}; do sleep 0.2; done; echo line 3", nothing)
    cut = list[int]()

    def write(text: str) -> None:
        said.append(text)
        if not cut and "line 2" in "".join(said):
            cut.append(forwarding.cut())
            gate.touch()

    try:
        assert exit_code(there.follow(job_id, write)) == 0
    finally:
        forwarding.close()
    assert cut[0] > 0
    told = [line for line in "".join(said).splitlines() if line.startswith("line ")]
    assert told == ["line 1", "line 2", "line 3"]


def test_who_loses_sight_of_the_cluster_is_told_that_the_job_may_go_on(
    head: PrivateHead, nothing: Path, server: JobServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deploy.cluster import submission as module

    monkeypatch.setattr(module, "PATIENCE_SECONDS", 3.0)
    forwarding = Forwarding(int(head.address.rpartition(":")[2]))
    there = JobServer(f"http://127.0.0.1:{forwarding.port}")
    job_id = new_id()
    there.submit(job_id, "echo begun; sleep 1000", nothing)
    with pytest.raises(module.JobLostError, match="has not answered for 3 s"):
        there.follow(job_id, lambda text: forwarding.close() if "begun" in text else None)
    assert status(server, job_id) == "RUNNING"
    server._client.stop_job(job_id)
    assert exit_code(server.follow(job_id, lambda _: None)) == 143
