"""A directory on remote storage: what URLs are allowed, and that each operation does there what it says."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from s3_server import BUCKET, s3_server

from deploy.cli import main
from deploy.errors import UserError
from deploy.process.places import is_url
from deploy.remote.storage import Storage, StorageError, check_url


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    with s3_server():
        yield f"s3://{BUCKET}"


@pytest.fixture(params=["file", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "file":
        return f"file://{tmp_path}/runs/push"
    return f"{request.getfixturevalue('s3')}/{tmp_path.name}/push"


def test_only_what_has_a_protocol_is_a_url() -> None:
    assert is_url("s3://bucket/run")
    assert not is_url("runs/push")
    assert not is_url("/runs/push")


def test_slashes_at_the_end_do_not_count() -> None:
    assert check_url("s3://bucket/run//") == "s3://bucket/run"
    assert check_url("file:///runs/push/") == "file:///runs/push"


@pytest.mark.parametrize(
    "url",
    [
        *("s3://", "s3:///run", "file://runs/push", "file://", "://run", "S3 ://b/run", "s3://b/../run"),
        *("s3://b/run?versionId=3", "s3://b/run#x", "simplecache::s3://b/run", "s3://[b/run"),
    ],
)
def test_a_url_of_no_directory_is_refused(url: str) -> None:
    with pytest.raises(UserError, match="is no URL of a directory: allowed are s3://bucket/path, gs://"):
        check_url(url)


@pytest.mark.parametrize("url", ["s3://me:hunter2@b/run", "s3://hunter2@b/run", "s3://me:hunt/er2@b/run"])
def test_credentials_in_a_url_are_refused_and_not_shown(url: str) -> None:
    with pytest.raises(UserError, match="holds a user, a password or an @, which is not allowed") as refusal:
        check_url(url)
    assert "hunt" not in str(refusal.value)


def test_a_secret_behind_a_question_mark_is_not_shown() -> None:
    with pytest.raises(UserError, match="s3://b/run: is no URL of a directory") as refusal:
        check_url("s3://b/run?secret=hunter2")
    assert "hunter2" not in str(refusal.value)


REFUSED = {
    "unknown protocol": ("sss://b/run", "run directory sss://b/run: sss:// is not known: allowed are s3://"),
    "missing package": ("gs://b/run", "the package for gs:// is not installed: pip install gcsfs"),
    "credentials": ("s3://me:hunter2@b/run", "holds a user, a password or an @"),
    "no bucket": ("s3://", "run directory s3://: is no URL of a directory"),
}
COMMANDS = {
    "train": ["train", "reach", "--run-dir"],
    "distil": ["distil", "run", "--out"],
    "eval": ["eval"],
    "factors": ["factors"],
    "curve": ["curve"],
    "pack": ["pack", "--", "target"],
    "compare": ["compare", "--out", "out"],
    "status": ["status"],
}


@pytest.mark.parametrize("command", COMMANDS, ids=str)
@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_what_cannot_be_is_one_line_before_anything_starts(
    command: str, case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    monkeypatch.setenv("TWIST_CACHE", str(tmp_path / "cache"))
    url, message = REFUSED[case]
    words = COMMANDS[command]
    words = [words[0], url, words[2]] if command == "pack" else [*words, url]
    assert main(words) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.err.count("\n") == 1
    assert "hunter2" not in shown.err
    assert shown.out == ""
    assert not (tmp_path / "cache").exists()


def test_a_bucket_that_is_not_there_is_one_line(
    s3: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWIST_CACHE", str(tmp_path / "cache"))
    assert main(["train", "reach", "--mode", "debug", "--preset", "debug", "--run-dir", "s3://nobodys/run"]) == 2
    shown = capsys.readouterr()
    assert shown.err == "twist: run directory s3://nobodys/run: there is no bucket nobodys\n"
    assert shown.out == ""
    assert main(["eval", "s3://nobodys/run"]) == 2
    assert capsys.readouterr().err == "twist: run directory s3://nobodys/run: is not there\n"


def test_a_file_comes_back_as_it_was(url: str, tmp_path: Path) -> None:
    storage = Storage(url)
    assert storage.list() == {}
    assert storage.read("config.json") is None
    (tmp_path / "weights").write_bytes(b"w" * 1000)
    storage.put(tmp_path / "weights", "checkpoints/step_1/weights")
    storage.write("config.json", b"{}")
    assert storage.list().keys() == {"checkpoints/step_1/weights", "config.json"}
    assert storage.list("checkpoints").keys() == {"checkpoints/step_1/weights"}
    assert storage.read("config.json") == b"{}"
    assert storage.get("checkpoints/step_1/weights", tmp_path / "back" / "weights")
    assert (tmp_path / "back" / "weights").read_bytes() == b"w" * 1000
    assert not storage.get("checkpoints/step_2/weights", tmp_path / "back" / "other")
    assert [path.name for path in (tmp_path / "back").iterdir()] == ["weights"]


def test_what_another_client_does_is_seen_at_once(url: str) -> None:
    ours, other = Storage(url), Storage(url)
    assert ours.list() == {}
    other.write("a/latest", b"first")
    before = ours.list()["a/latest"]
    assert ours.read("a/latest") == b"first"
    other.write("a/latest", b"later")
    assert ours.read("a/latest") == b"later"
    assert ours.list()["a/latest"] != before
    other.remove("a")
    assert ours.list() == {}
    assert ours.read("a/latest") is None


def test_a_directory_goes_with_all_that_is_in_it_and_nothing_else(url: str) -> None:
    storage = Storage(url)
    for name in ("c/step_1/a", "c/step_1/b/c", "c/step_10/a", "latest"):
        storage.write(name, b"x")
    storage.remove("c/step_1")
    storage.remove("c/step_1")
    assert storage.list().keys() == {"c/step_10/a", "latest"}


def test_storage_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with s3_server() as server:
        storage = Storage(f"s3://{BUCKET}/run")
        storage.write("latest", b"x")
        server.stop()
        with pytest.raises(StorageError, match=f"^s3://{BUCKET}/run: .*") as failure:
            storage.write("latest", b"y")
        assert "\n" not in str(failure.value)
        server.start_again()
        assert storage.read("latest") == b"x"


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "source").write_text("x")
    (tmp_path / "taken" / "inside").write_text("x")
    storage = Storage(f"file://{tmp_path}")
    with pytest.raises(StorageError):
        storage.put(tmp_path / "source", "taken")
    assert {path.name for path in tmp_path.iterdir()} == {"taken", "source"}
