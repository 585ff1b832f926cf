"""Documents that anybody may have written: each is read, or refused in one line that names the file."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import made_up_run
import pytest
from damage import of_document

from actors.rollout_stats import Crash
from deploy.errors import UserError
from deploy.experiments.sweep import read_record
from deploy.remote.driver import DriverEntry
from deploy.remote.storage import Storage
from deploy.reporting.factors import Condition, FactorsReport, read_factors, write_factors
from deploy.runs.directory import RunDirectory
from deploy.runs.report import read_report, write_report
from deploy.settings.presets import resolve
from deploy.training.crashes import read_crash, write_crash

MOST = 150


def write_all(path: Path) -> None:
    config = resolve("reach", "debug", [])
    RunDirectory.claim(path / "run", config).close()
    shutil.copy(path / "run" / "config.json", path / "config.json")
    shutil.rmtree(path / "run")
    write_report(path / "report.json", made_up_run.report())
    condition = Condition("train", 3, (0, 2), 1.0)
    factors = {"light": condition}
    write_factors(
        path / "factors.json", FactorsReport("x", "reach", 9, 3, 0, condition, condition, factors, {"light": "w"})
    )
    write_crash(path, "reach", config.sim, Crash(5, True, ((0.0, 1.0),), "Error: x", "x"))
    (path / "sweep.json").write_text('{"format": 1, "name": "x", "variants": {"a": "A!"}}')
    DriverEntry(Storage(f"file://{path}"), "copy").claim()


def read_driver(path: Path) -> None:
    """A file that says nothing of the kind is as good as none."""
    entry = DriverEntry(Storage(f"file://{path.parent}"), "another")
    entry.refuse_other(entry.read())


READERS: dict[str, Callable[[Path], Any]] = {
    "config.json": lambda path: RunDirectory.open(path.parent),
    "report.json": lambda path: read_report(path).to_json(),
    "factors.json": lambda path: read_factors(path).to_json(),
    "5.json": read_crash,
    "sweep.json": lambda path: read_record(path.parent),
    "driver.json": read_driver,
}


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_document_is_read_or_refused_in_one_line(name: str, tmp_path: Path) -> None:
    sound = tmp_path / "sound"
    sound.mkdir()
    write_all(sound)
    draw = random.Random(0)
    found = of_document(sound, name, draw)
    refused = 0
    for what, damage in draw.sample(found, min(MOST, len(found))):
        work = shutil.copytree(sound, tmp_path / "work")
        damage(work)
        try:
            READERS[name](work / name)
        except UserError as refusal:
            assert "\n" not in str(refusal), what
            assert len(str(refusal)) < 2_000, what
            refused += 1
        except Exception as error:
            raise AssertionError(f"{what} gave {type(error).__name__}: {error}") from error
        shutil.rmtree(work)
    assert refused > 10 or name == "driver.json"
