"""The smallest real run on Redis with TLS, each role as a user of its own; nobody sees the passwords."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from certificates import Authority
from redis_servers import LOOPBACK, Server, free_port, make_user, redis_cluster, redis_server, speaks_tls
from running import LOCAL, Running, lines, of_kind, report
from tls_proxy import TlsProxy

from replay import connect
from replay.access import acl_rules

ADMIN, SECRET = "swordfish", "Zq7hunter2"
VARIABLES = {
    "driver": "TWIST_REDIS_URL",
    "actor": "TWIST_ACTOR_REDIS_URL",
    "learner": "TWIST_LEARNER_REDIS_URL",
}


@contextmanager
def cluster_behind_tls(directory: Path, authority: Authority) -> Iterator[tuple[list[Server], int]]:
    """Three nodes, each behind a proxy that ends TLS: that of every Redis, also one that is built without."""
    with ExitStack() as stack:
        proxies = [stack.enter_context(TlsProxy(authority.issue("server"))) for _ in range(3)]
        ports = [proxy.port for proxy in proxies]
        nodes = stack.enter_context(redis_cluster(directory, password=ADMIN, announced=ports))
        for proxy, node in zip(proxies, nodes, strict=True):
            proxy.lead_to(node.port)
        yield nodes, ports[0]


@contextmanager
def server_with_tls(directory: Path, authority: Authority) -> Iterator[tuple[list[Server], int]]:
    """One server whose own TLS it is."""
    if not speaks_tls():
        pytest.skip("the redis-server that was found is built without TLS")
    files, port = authority.issue("server"), free_port()
    settings = {"tls_cert_file": files.certificate, "tls_key_file": files.key, "tls_ca_cert_file": authority.file}
    with redis_server(directory, password=ADMIN, tls_port=port, tls_auth_clients="no", **settings) as server:
        yield [server], port


@pytest.fixture(params=[pytest.param(cluster_behind_tls, marks=pytest.mark.long), server_with_tls])
def urls(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Where Redis is, by role; each role's password begins with `SECRET`."""
    authority = Authority(tmp_path / "certificates")
    with request.param(tmp_path / "redis", authority) as (servers, port):
        found = {}
        for role in VARIABLES:
            make_user(servers, f"the-{role}", SECRET + role, acl_rules(role))
            login = f"the-{role}:{SECRET}{role}"
            found[role] = f"rediss://{login}@{LOOPBACK}:{port}?ssl_ca_certs={authority.file}"
        yield found


@pytest.fixture
def scratch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the command puts what it needs while it lives, Ray's files too; short, as there will be sockets in it."""
    directory = Path(tempfile.mkdtemp(prefix="s-", dir="/tmp"))
    monkeypatch.setenv("TMPDIR", str(directory))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


class Watch:
    """Collects what others can read of a command's processes, and keeps the logs that it takes away at its end."""

    def __init__(self, running: Running, scratch: Path, kept: Path) -> None:
        self._running = running
        self._scratch = scratch
        self._kept = kept
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.command_lines: set[bytes] = set()

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(0.5):
            for pid in self._running.processes():
                with suppress(FileNotFoundError, ProcessLookupError):
                    self.command_lines.add(Path(f"/proc/{pid}/cmdline").read_bytes())
            for file in self._scratch.glob("*/ray/session_*/logs/**/*.*"):
                other = self._kept / file.relative_to(self._scratch)
                other.parent.mkdir(parents=True, exist_ok=True)
                with suppress(FileExistsError, FileNotFoundError):
                    os.link(file, other)  # what is written later is in it, too


def files_with(secret: str, directory: Path) -> list[Path]:
    return [
        file
        for file in directory.rglob("*")
        if file.is_file() and not file.is_symlink() and secret.encode() in file.read_bytes()
    ]


def test_a_run_with_a_user_for_each_role_shows_no_password(
    urls: dict[str, str], scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, ray_logs = tmp_path / "run", tmp_path / "kept"
    for role, variable in VARIABLES.items():
        monkeypatch.setenv(variable, urls[role])
    command = ("train", "reach", *LOCAL, "--run-dir", str(run), "replay.shards=3")
    with Running(tmp_path / "log", *command) as running, Watch(running, scratch, ray_logs) as watch:
        said = running.wait()
    found = report(run)
    assert found["env_steps"] >= 600
    assert min(found["updates"].values()) >= 10
    assert of_kind("train", lines(run))[-1]["replay/rows"] > 0
    assert SECRET not in said
    assert any(b"ray::RolloutActor" in line for line in watch.command_lines)
    assert [line for line in watch.command_lines if SECRET.encode() in line] == []
    assert files_with("the-run-id-of-nothing", run) == []
    assert files_with(str(found["env_steps"]), run) != []  # it does find what is there
    assert files_with(SECRET, run) == files_with("the-driver", run) == []
    assert files_with("RolloutActor", ray_logs) != []
    assert files_with(SECRET, ray_logs) == []
    with connect(urls["driver"]) as client:
        assert client.ping()
    assert SECRET in os.environ["TWIST_REDIS_URL"]
