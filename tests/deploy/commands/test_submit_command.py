"""What `twist submit` checks and decides before a cluster is asked; tests/cluster has the rest."""

from __future__ import annotations

import http.server
import shlex
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deploy.cli import main
from deploy.cluster import submission
from deploy.cluster.submission import (
    ADDRESS_VARIABLES,
    DEFAULT_ADDRESS,
    exit_code,
    find_address,
    on_head,
    train_on_head,
)
from deploy.commands import submit
from deploy.errors import UserError


@pytest.fixture(autouse=True)
def no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ADDRESS_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def other_server() -> Iterator[str]:
    """Something that speaks HTTP and is no Ray."""
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler) as server:
        server.RequestHandlerClass.log_message = lambda *_: None  # type: ignore[method-assign, assignment]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def silent() -> Iterator[str]:
    """Something that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["submit", *arguments]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("twist: ")
    assert shown.err.count("\n") == 1
    return shown.err


WRONG = {
    "unknown task": (["raech", "--run-dir", "/r"], "unknown task 'raech': did you mean reach?"),
    "bad setting": (["reach", "--run-dir", "/r", "learner.batch_size=-3"], "learner.batch_size = -3 is not allowed"),
    "impossible together": (["reach", "--run-dir", "/r", "sim.physics_hz=61"], "physics_hz is 61"),
    "no run directory": (["reach"], "the following arguments are required: --run-dir"),
    "run directory in the package": (["reach", "--run-dir", "runs/x"], "--run-dir runs/x is not allowed: a path on"),
    "run directory with a password": (
        ["reach", "--run-dir", "s3://me:hunter2@b/r"],
        "holds a user, a password or an @",
    ),
    "another mode": (["reach", "--run-dir", "/r", "--mode", "local"], "--mode local is not allowed: a job has mode"),
    "no URL": (["reach", "--run-dir", "/r", "--address", "127.0.0.1:8265"], "--address 127.0.0.1:8265 is not allowed"),
    "any Ray": (["reach", "--run-dir", "/r", "--address", "auto"], "--address auto is not allowed: the URL of"),
    "nobody there": (
        ["reach", "--run-dir", "/r", "--address", "http://127.0.0.1:1"],
        "no Ray dashboard answers at http://127.0.0.1:1: ",
    ),
}


@pytest.mark.parametrize("case", WRONG, ids=str)
def test_what_cannot_be_is_one_line_and_exit_code_2(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, message = WRONG[case]
    assert message in refusal(capsys, *arguments)


@pytest.mark.parametrize("url", ["redis://me:hunter2@host/0", "redis://host/0?password=hunter2"])
def test_a_password_is_not_sent_and_not_printed(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = refusal(capsys, "reach", "--run-dir", "/r", "--redis-url", url)
    assert "set TWIST_REDIS_URL on the head node before `ray start`" in said
    assert "hunter2" not in said


def test_an_address_is_shown_without_its_password(capsys: pytest.CaptureFixture[str]) -> None:
    said = refusal(capsys, "reach", "--run-dir", "/r", "--address", "http://me:hunter2@127.0.0.1:1")
    assert "no Ray dashboard answers at http://***@127.0.0.1:1" in said
    assert "hunter2" not in said


def test_something_else_at_the_address_is_refused(other_server: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = refusal(capsys, "reach", "--run-dir", "/r", "--address", other_server)
    assert f"no Ray dashboard answers at {other_server}: what answers there is something else" in said


def test_who_says_nothing_is_not_waited_for(
    silent: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submission, "CONNECT_SECONDS", 0.5)
    assert "timed out" in refusal(capsys, "reach", "--run-dir", "/r", "--address", silent)


@pytest.mark.parametrize(
    ("given", "environment", "expected"),
    [
        (None, {}, DEFAULT_ADDRESS),
        (None, {"RAY_ADDRESS": "http://b:1/"}, "http://b:1"),
        (None, {"RAY_ADDRESS": "http://b:1", "RAY_API_SERVER_ADDRESS": "https://c"}, "https://c"),
        ("http://a:2", {"RAY_ADDRESS": "http://b:1", "RAY_API_SERVER_ADDRESS": "http://c"}, "http://a:2"),
    ],
)
def test_the_address_given_comes_before_rays_variables(
    given: str | None, environment: dict[str, str], expected: str
) -> None:
    assert find_address(given, environment) == expected


@pytest.mark.parametrize("address", ["ray://h:1", "http://", "http://h:x", "http://[h", "http://:8265", "h:8265"])
def test_an_address_is_a_url_with_a_host(address: str) -> None:
    with pytest.raises(UserError, match="--address .* is not allowed: the URL of"):
        find_address(address, {})


def test_a_variable_that_is_no_url_is_named() -> None:
    with pytest.raises(UserError, match=r"^RAY_ADDRESS auto is not allowed: the URL of the cluster's Ray dashboard"):
        find_address(None, {"RAY_ADDRESS": "auto"})


def test_a_run_directory_may_be_a_url() -> None:
    assert (
        train_on_head(["reach"], on_head("s3://b/my run")) == "python -m deploy train reach --run-dir 's3://b/my run'"
    )


def test_the_jobs_command_survives_the_shell_and_home_and_variables_are_the_heads(tmp_path: Path) -> None:
    words = ["reach", 'a="b c"', "x=$HOME", "--seed", "3"]
    command = train_on_head(words, on_head("~/runs/$USER's"))
    assert shlex.split(command)[:4] == ["python", "-m", "deploy", "train"]
    spoken = subprocess.run(
        ["sh", "-c", "printf '%s\\n' " + command],
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    said = spoken.stdout.splitlines()
    assert said == ["python", "-m", "deploy", "train", *words, "--run-dir", "~/runs/$USER's"]  # `twist train` reads it


@pytest.mark.parametrize(
    ("status", "driver", "expected"),
    [
        ("SUCCEEDED", 0, 0),
        ("FAILED", 2, 2),
        ("FAILED", -9, 137),
        ("FAILED", None, 1),
        ("STOPPED", None, 143),
        ("STOPPED", -15, 143),
    ],
)
def test_exit_codes(status: str, driver: int | None, expected: int) -> None:
    job: Any = SimpleNamespace(status=status, driver_exit_code=driver)
    assert exit_code(job) == expected


def test_help_says_what_the_exit_codes_mean(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        submit.run(["--help"])
    assert end.value.code == 0
    said = capsys.readouterr().out
    for words in ("usage: twist submit", "143 the job was stopped", "TWIST_REDIS_URL", "--no-wait", "100 MiB"):
        assert words in said
