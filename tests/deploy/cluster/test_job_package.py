"""What of a working directory is sent to a cluster: as git would have it, and never what is private or huge."""

from __future__ import annotations

import subprocess
import zipfile
from pathlib import Path

import pytest

from deploy.cluster.job_package import JobPackage, files_to_pack, pack
from deploy.errors import UserError

CHECKOUT = Path(__file__).resolve().parents[3]


def plant(directory: Path, **files: str) -> None:
    """Writes files; `__` in a name is a slash, a leading `_` a dot."""
    for name, content in files.items():
        path = directory / Path(*(("." + part[1:] if part.startswith("_") else part) for part in name.split("__")))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def test_ignore_files_mean_what_they_mean_to_git(tmp_path: Path) -> None:
    plant(
        tmp_path,
        _gitignore="/build/\n*.log\n!kept.log\nnotes\n**/deep/*.bin\n# data\n\nspace\\ d\n",
        build__out="",
        sub__build__out="",
        a="",
        b_log="",
        sub___gitignore="!again.log\nown\n",
        sub__own="",
        own="",
        sub__notes__x="",
        notes="",
        x__deep__y="",
    )
    for name in ("b.log", "kept.log", "sub/again.log", "sub/b.log", "x/deep/y.bin", "space d", "# data", "build.log"):
        (tmp_path / name).write_text("")
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    found = list(files_to_pack(tmp_path))
    assert sorted(found) == sorted(filter(None, listed.stdout.split("\0")))
    assert {"kept.log", "sub/again.log", "sub/build/out", "own"} <= set(found)
    assert not {"b.log", "build/out", "sub/own", "sub/notes/x", "x/deep/y.bin", "space d"} & set(found)


def test_some_things_stay_here_whatever_the_ignore_files_say(tmp_path: Path) -> None:
    plant(
        tmp_path,
        _gitignore="!*\n",
        _git__config="",
        _venv__lib__x="",
        venv__x="",
        runs__demo__config="",
        _mypy_cache__x="",
        _env="PASSWORD=hunter2",
        kept="",
        docs__runs__x="",
    )
    (tmp_path / "docs" / "__pycache__").mkdir()
    (tmp_path / "docs" / "__pycache__" / "x.pyc").write_text("")
    assert list(files_to_pack(tmp_path)) == [".gitignore", "kept", "docs/runs/x"]


def test_rayignore_adds_to_gitignore(tmp_path: Path) -> None:
    plant(tmp_path, _gitignore="a\n", _rayignore="docs/\n", a="", b="", docs__page="")
    assert list(files_to_pack(tmp_path)) == [".gitignore", ".rayignore", "b"]


def test_links_to_files_are_followed_and_links_to_directories_are_not(tmp_path: Path) -> None:
    plant(tmp_path, work__a="of a", elsewhere__big="data")
    (tmp_path / "work" / "link").symlink_to(tmp_path / "work" / "a")
    (tmp_path / "work" / "loop").symlink_to(tmp_path / "work")
    (tmp_path / "work" / "data").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "work" / "nowhere").symlink_to(tmp_path / "nowhere")
    package = pack(tmp_path / "work", tmp_path / "package.zip")
    with zipfile.ZipFile(package.path) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {"a": b"of a", "link": b"of a"}


def test_a_package_has_the_files_and_says_how_many_and_how_large(tmp_path: Path) -> None:
    plant(tmp_path, work__a="x" * 3_000_000, work__b__run="#!/bin/sh\n")
    (tmp_path / "work" / "b" / "run").chmod(0o755)
    package = pack(tmp_path / "work", tmp_path / "package.zip")
    assert (package.files, package.size) == (2, (tmp_path / "package.zip").stat().st_size)
    assert package.size < 100_000  # compressed
    assert str(JobPackage(Path("x"), 1_211, 3 * 2**19)) == "1.5 MiB, 1,211 files"
    with zipfile.ZipFile(package.path) as archive:
        assert archive.testzip() is None
        assert archive.read("a") == b"x" * 3_000_000
        assert archive.getinfo("b/run").external_attr >> 16 == 0o755


def test_the_same_content_is_the_same_package(tmp_path: Path) -> None:
    plant(tmp_path, one__a="1", one__b__c="2")
    plant(tmp_path, two__b__c="2", two__a="1")
    first = pack(tmp_path / "one", tmp_path / "1.zip").path.read_bytes()
    assert pack(tmp_path / "two", tmp_path / "2.zip").path.read_bytes() == first
    plant(tmp_path, two__a="3")
    assert pack(tmp_path / "two", tmp_path / "3.zip").path.read_bytes() != first


def test_a_directory_that_is_too_large_is_refused_with_what_takes_the_room(tmp_path: Path) -> None:
    plant(tmp_path, work__small="1", work__more__a="2" * 20_000, work__most__a="3" * 30_000, work__most__b="4" * 9_000)
    whole = pack(tmp_path / "work", tmp_path / "package.zip").size
    assert pack(tmp_path / "work", tmp_path / "package.zip", limit=whole + 1).size == whole
    for limit in (whole, whole - 1, 100):
        with pytest.raises(UserError) as refused:
            pack(tmp_path / "work", tmp_path / "package.zip", limit=limit)
        said = str(refused.value)
        assert said.startswith(f"working directory {tmp_path / 'work'}: its package is not below the 0.0 MiB that Ray")
        assert "largest: most 0.0 MiB, more 0.0 MiB, small 0.0 MiB; name what is not needed in .gitignore" in said


def test_an_empty_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "x").write_text("")
    with pytest.raises(UserError, match="there is nothing in it to pack"):
        pack(tmp_path, tmp_path / "runs" / "package.zip")


def test_the_checkout_is_small_and_whole() -> None:
    found = list(files_to_pack(CHECKOUT))
    assert {"deploy/__main__.py", "actors/actor.py", "pyproject.toml", "deploy/reporting/templates"} <= {
        *found,
        *(str(Path(name).parent) for name in found),
    }
    assert sum((CHECKOUT / name).stat().st_size for name in found) < 20 * 2**20


def test_what_the_job_would_import_in_place_of_ours_is_named(tmp_path: Path) -> None:
    """A job begins in its package, and Python searches that first."""
    project = tmp_path / "project"
    (project / "sim").mkdir(parents=True)
    (project / "sim" / "__init__.py").touch()
    (project / "notes.txt").touch()
    with pytest.raises(UserError, match=rf"{project / 'sim'}: the job would import it in place of TWIST's own: rename"):
        pack(project, tmp_path / "package.zip")
    (project / ".rayignore").write_text("/sim/\n")
    assert pack(project, tmp_path / "package.zip").files == 2
