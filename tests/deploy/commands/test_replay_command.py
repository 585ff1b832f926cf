"""`twist replay`: what a server holds, and giving it back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis_servers import Server, redis_server

from deploy.cli import main
from replay import ReplayConfig, ReplayStore, StreamSpec, connect
from replay.shards import MARK

SPEC = StreamSpec(("x",), (-1.0,), (1.0,), image_shape=(8, 8, 3), views=1, action_dim=1, chunk_length=5)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with redis_server(tmp_path / "redis") as running:
        monkeypatch.setenv("TWIST_REDIS_URL", running.url())
        yield running


def begin(server: Server, run_id: str, marked: float | None) -> ReplayStore:
    store = ReplayStore(connect(server.url()), run_id, SPEC, ReplayConfig())
    store.client.hset(store.key("counters"), mapping={"rows": "1200", "bytes": str(3 * 2**20)})
    if marked is not None:
        store.client.hset(store.key(MARK), "at", repr(marked))
    return store


def test_what_there_is_is_listed_and_one_run_is_deleted(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    begin(server, "reach-1", time.time() - 7200)
    begin(server, "reach-2", None)
    assert main(["replay", "list"]) == 0
    _, one, two = capsys.readouterr().out.splitlines()
    assert one.split()[:3] == ["reach-1", "1,200", "3.0"]
    assert two.endswith("not known")
    assert main(["replay", "delete", "reach-1"]) == 0
    assert capsys.readouterr().out == "deleted: reach-1, 1,200 rows, 3.0 MiB\n"
    assert main(["replay", "list", server.url()]) == 0
    assert "reach-1" not in capsys.readouterr().out
    assert main(["replay", "delete", "reach-2", "--redis-url", server.url()]) == 0
    assert main(["replay", "list"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "no runs"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["delete", "nobody"], "the server holds nothing of run nobody: `twist replay list` shows what there is"),
        (["delete", "driven"], "run driven is being driven: end it first"),
        (["delete", "a:b"], "run_id is 'a:b': allowed are"),
        (["delete"], "delete needs a run"),
        (["drop"], "invalid choice: 'drop'"),
        (["list", "http://127.0.0.1"], "Redis URL 'http://127.0.0.1'"),
        (["list", "redis://127.0.0.1:1"], "Redis at redis://127.0.0.1:1 does not answer"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line_and_deletes_nothing(
    server: Server, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    store = begin(server, "driven", time.time())
    assert main(["replay", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert store.stats()["rows"] == 1200


def test_a_user_who_may_not_look_at_all_keys_is_told_so(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    with server.admin as admin:
        admin.execute_command("ACL", "SETUSER", "default", "-scan")
    assert main(["replay", "list"]) == 2
    error = capsys.readouterr().err
    assert "lacks rights of user default" in error and "scan" in error and error.count("\n") == 1
