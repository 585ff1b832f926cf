"""Every path and URL of every command is read in one way, and whether it can be written is asked before the work."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pytest import CaptureFixture, MonkeyPatch

from deploy.cli import COMMANDS, main
from deploy.errors import UserError
from deploy.process.places import expanded, local_path, require_directory, require_file

PLACES = {
    "train --run-dir": ["train", "reach", "--mode", "debug", "--preset", "debug", "--run-dir", "{}"],
    "status RUN": ["status", "{}"],
    "distil RUN": ["distil", "{}", "--out", "new"],
    "distil --out": ["distil", "run", "--out", "{}"],
    "eval RUN": ["eval", "{}"],
    "export RUN": ["export", "{}", "bundle"],
    "pack RUN": ["pack", "{}", "packed"],
    "curve RUN": ["curve", "{}"],
    "factors RUN": ["factors", "{}"],
    "compare RUN": ["compare", "{}"],
    "replay RUN": ["replay", "delete", "{}", "--redis-url", "redis://127.0.0.1:1/0"],
}
"""May be URLs; what they are replaced by has no run."""
PATHS = {
    "eval --clip": ["eval", "pretrained/reach", "--clip", "{}"],
    "pack DIR": ["pack", "run", "{}"],
    "compare --out": ["compare", "run", "--out", "{}"],
    "render --out": ["render", "reach", "--out", "{}"],
    "reproduce FILE": ["reproduce", "{}"],
    "schema DIR": ["schema", "{}"],
    "sweep FILE": ["sweep", "{}"],
    "sweep --out": ["sweep", "one.toml", "--out", "{}"],
}
"""Of this machine alone."""
ELSEWHERE = {
    "submit --run-dir",  # read by `twist train` on the head node; see test_submit_command.py
    *(
        "run --recording",
        "run --record",
        "run --dataset",
        "qualify --recording",
        "align --images",
        "align --background",
        "align FILE",  # more of these
        "adapt --recording",
        "adapt --policy",
    ),  # after a bundle, see tests/deploy/robot
    *("dataset DIR", "replay DIR"),  # after recordings or a run, see tests/deploy/robot
}
SWEEP = 'name = "one"\ntasks = ["reach"]\nseeds = [0]\npreset = "debug"\nmode = "debug"\n[variants]\ndefault = []\n'


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: MonkeyPatch) -> Path:
    """A working directory with a sweep's file, and a home that holds a file where a directory is wanted."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "file").write_text("mine")
    work = tmp_path / "work"
    work.mkdir()
    (work / "one.toml").write_text(SWEEP)
    monkeypatch.chdir(work)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("SCRATCH", str(home))
    monkeypatch.delenv("NOWHERE", raising=False)
    return home


def refused(capsys: CaptureFixture[str], words: list[str], place: str) -> str:
    """What a command says of a place, in one line, before it does anything."""
    before = sorted(Path().rglob("*"))
    assert main([place if word == "{}" else word for word in words]) == 2
    shown = capsys.readouterr()
    assert (shown.out, shown.err.count("\n")) == ("", 1)
    assert sorted(Path().rglob("*")) == before
    return shown.err


def arguments_that_are_places(capsys: CaptureFixture[str]) -> set[str]:
    """Of all commands, by what their help calls them."""
    found = set()
    for command in COMMANDS:
        with pytest.raises(SystemExit):
            main([command, "--help"])
        usage = capsys.readouterr().out.partition("\n\n")[0]
        for option, name in re.findall(r"(--[\w-]+ )?\b(RUN|DIR|FILE)\b", usage):
            found.add(f"{command} {option.strip() or name}")
    return found


def test_no_argument_is_left_out_here(capsys: CaptureFixture[str]) -> None:
    assert arguments_that_are_places(capsys) == {*PLACES, *PATHS} | ELSEWHERE


@pytest.mark.parametrize("written", ["~/file/x", "$SCRATCH/file/x", "${SCRATCH}/file/x"])
@pytest.mark.parametrize("argument", {**PLACES, **PATHS}, ids=str)
def test_home_and_variables_are_read(argument: str, written: str, place: Path, capsys: CaptureFixture[str]) -> None:
    said = refused(capsys, {**PLACES, **PATHS}[argument], written)
    assert f"{place}/file" in said


@pytest.mark.parametrize("argument", {**PLACES, **PATHS}, ids=str)
def test_what_there_is_not_is_named(argument: str, capsys: CaptureFixture[str]) -> None:
    words = {**PLACES, **PATHS}[argument]
    assert "$NOWHERE/x: there is no NOWHERE in the environment" in refused(capsys, words, "$NOWHERE/x")
    assert "~nobody-of-this-name/x: there is no user" in refused(capsys, words, "~nobody-of-this-name/x")
    assert "an empty path is not allowed" in refused(capsys, words, "")


@pytest.mark.parametrize("argument", PLACES, ids=str)
def test_urls_are_urls_everywhere(
    argument: str, tmp_path: Path, capsys: CaptureFixture[str], monkeypatch: MonkeyPatch
) -> None:
    monkeypatch.setenv("TWIST_CACHE", str(tmp_path / "cache"))
    words = [*PLACES[argument], *(["--out", "out"] if argument.startswith("compare") else [])]
    (tmp_path / "storage").mkdir()
    (tmp_path / "storage" / "notes").write_text("mine")
    assert f"run directory file://{tmp_path}/storage: holds notes" in refused(
        capsys, words, f"file://{tmp_path}/storage"
    )
    assert "is no URL of a directory" in refused(capsys, words, "s3://")


@pytest.mark.parametrize("argument", PATHS, ids=str)
def test_a_url_where_a_path_is_wanted_is_no_folder_called_s3(argument: str, capsys: CaptureFixture[str]) -> None:
    said = refused(capsys, PATHS[argument], "s3://bucket/x")
    assert "s3://bucket/x: is a URL; a path of this machine is wanted" in said


def test_a_path_is_read_as_a_shell_would() -> None:
    assert expanded("runs/~x/a b") == "runs/~x/a b"
    assert expanded("s3://bucket/$SCRATCH") == f"s3://bucket/{Path.home()}"
    assert local_path("~") == Path.home()
    assert local_path("5$") == Path("5$")


def test_a_password_in_a_url_is_not_shown(capsys: CaptureFixture[str]) -> None:
    assert "hunter2" not in refused(capsys, PLACES["eval RUN"], "s3://me:hunter2$NOWHERE@bucket/x")
    assert "hunter2" not in refused(capsys, PATHS["render --out"], "s3://me:hunter2@bucket/x")


def test_what_can_be_written_is_tried(tmp_path: Path) -> None:
    require_directory(tmp_path / "a" / "b")
    require_file(tmp_path / "c")
    assert not (tmp_path / "a").exists()
    with pytest.raises(UserError, match=r"/proc/x/y: cannot be written: "):
        require_directory(Path("/proc/x/y"))
    with pytest.raises(UserError, match=r"/proc/x: cannot be written: "):
        require_file(Path("/proc/x"))
