"""Compiling the renderer: once per machine, by several processes at once, with a cache that may only be read."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SAY = "import sys; from sim.raster.compiling import load; load(quiet='quiet' in sys.argv)"
DRAW = (
    "import sys; sys.path.insert(0, 'tests/sim'); from raster_worlds import at, box_on_a_floor, look, square\n"
    "from sim.raster.renderer import RasterRenderer\n"
    "renderer = RasterRenderer(box_on_a_floor()); renderer.place(at(0.5, 0.0, 0.05))\n"
    "print(renderer.render(look(), square()).mean())"
)


def start(code: str, cache: Path, *words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", code, *words],
        cwd=ROOT,
        env={**os.environ, "TWIST_CACHE": str(cache)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(code: str, cache: Path, *words: str) -> tuple[str, str]:
    """What a process that must end well printed, and what it said on stderr."""
    process = start(code, cache, *words)
    printed, said = process.communicate(timeout=240)
    assert process.returncode == 0, said
    return printed, said


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that three processes filled at once: two with a word to say, one without."""
    cache = tmp_path_factory.mktemp("cache")
    processes = [start(SAY, cache), start(SAY, cache), start(SAY, cache, "quiet")]
    said = [process.communicate(timeout=240)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], said
    assert said[2] == ""
    assert sum(line.count("Compiling the renderer") for line in said) <= 1, "the others wait for the one that compiles"
    return cache


@pytest.fixture
def only_to_be_read(filled: Path) -> Iterator[Path]:
    directories = [filled, *(path for path in filled.iterdir() if path.is_dir())]
    for path in directories:
        path.chmod(0o555)
    yield filled
    for path in directories:
        path.chmod(0o755)


def test_the_cache_holds_one_complete_directory_and_nothing_half_made(filled: Path) -> None:
    (directory,) = filled.iterdir()
    assert directory.name.startswith("raster-")
    assert {path.suffix for path in directory.iterdir()} == {".nbi", ".nbc"}


def test_a_full_cache_is_used_in_silence_and_not_written(filled: Path) -> None:
    def files() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in filled.rglob("*.nb?")}

    before = files()
    assert run(SAY, filled) == ("", "")
    assert files() == before


def test_a_cache_that_may_only_be_read_serves(only_to_be_read: Path) -> None:
    """Root may write all the same: so what lies there, and when its directories were last written, is looked at too."""

    def listing() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in (only_to_be_read, *only_to_be_read.rglob("*"))}

    before = listing()
    printed, said = run(DRAW, only_to_be_read)
    assert float(printed) > 0
    assert said == ""
    written = {path for path in before.keys() | listing().keys() if before.get(path) != listing().get(path)}
    assert not written


@pytest.mark.long
def test_where_nothing_can_be_written_a_process_compiles_for_itself_and_says_what_to_set(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    printed, said = run(DRAW, tmp_path / "file")
    assert float(printed) > 0
    assert said.count("\n") == 1
    assert "set TWIST_CACHE to another directory" in said
