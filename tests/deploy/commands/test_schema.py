"""docs/schema is what `twist schema` writes, and what runs write is what it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import made_up_run
import pytest
from training_here import train_here

from actors.rollout_stats import Crash
from deploy.cli import main
from deploy.commands.schema import schemas
from deploy.remote.driver import FILE, DriverEntry
from deploy.remote.storage import Storage
from deploy.reporting.factors import Condition, FactorsReport, write_factors
from deploy.runs.report import write_report
from deploy.settings.presets import resolve
from deploy.settings.specification import stream_spec
from deploy.training.crashes import write_crash

DOCS = Path(__file__).parents[3] / "docs" / "schema"


def test_the_schemas_in_docs_are_those_of_this_version(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`make schema` writes them anew."""
    assert main(["schema", str(tmp_path / "schema")]) == 0
    written = {path.name: path.read_text() for path in (tmp_path / "schema").iterdir()}
    assert {line.rpartition("/")[2] for line in capsys.readouterr().out.splitlines()} == set(written)
    assert {path.name: path.read_text() for path in DOCS.iterdir()} == written


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One of each kind, as it was written."""
    path = tmp_path_factory.mktemp("documents")
    run = path / "run"
    train_here(run)
    (checkpoint,) = (run / "checkpoints").glob("*/checkpoint.json")
    config = resolve("reach", "debug", [])
    write_report(path / "report.json", made_up_run.report(waiting={"teacher": float("nan")}))
    condition = Condition("train", 3, (0, 2), 1.0)
    write_factors(path / "factors.json", FactorsReport("x", "reach", 9, 3, 0, condition, condition, {}, {}))
    crash = write_crash(path / "crashes", "reach", config.sim, Crash(5, True, ((0.0, 1.0),), "Error: x", "x"))
    assert crash is not None
    DriverEntry(Storage(f"file://{path}/remote"), "copy").claim()
    (path / "sweep.json").write_text('{"format": 1, "name": "x", "variants": {"a": "A!"}}')
    files = {
        "config.json": run / "config.json",
        "checkpoint.json": checkpoint,
        "report.json": path / "report.json",
        "factors.json": path / "factors.json",
        "crash.json": crash,
        "sweep.json": path / "sweep.json",
        "driver.json": path / "remote" / FILE,
    }
    found = {name: json.loads(file.read_text()) for name, file in files.items()}
    return {**found, "stream_spec.json": json.loads(stream_spec(config).to_json())}


@pytest.mark.parametrize("name", sorted(schemas()))
def test_what_is_written_has_its_schema(name: str, documents: dict[str, Any]) -> None:
    schema, document = schemas()[name], documents[name]
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(document, schema)
    for key in schema["required"]:
        with pytest.raises(jsonschema.ValidationError, match=f"'{key}' is a required property"):
            jsonschema.validate({k: v for k, v in document.items() if k != key}, schema)
    # What is not required is named none the less.
    assert set(schema["properties"]) <= set(document) | {"traceback"}


def test_the_settings_schema_has_limits_choices_and_texts() -> None:
    settings = schemas()["config.json"]["$defs"]
    assert settings["RSSMConfig"]["properties"]["deter"] == {
        "default": 192,
        "description": "Units of the deterministic state h.",
        "maximum": 16_384,
        "minimum": 8,
        "title": "Deter",
        "type": "integer",
    }
    assert settings["LearnerConfig"]["properties"]["device"]["enum"] == ["auto", "cpu", "cuda"]
