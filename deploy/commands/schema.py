"""`twist schema`: JSON schemas of the documents that runs and policies are made of."""

from __future__ import annotations

from typing import Any

from deploy.commands.arguments import Parser, path
from deploy.errors import user_errors
from deploy.process.places import require_directory

_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def run(arguments: list[str]) -> int:
    """Runs `twist schema` and gives its exit code."""
    parser = Parser(
        "schema",
        "Writes a JSON schema for each of the documents that runs and policies are made of. A document may have more\n"
        "keys than its schema: what follows from others, and what later versions add.",
    )
    parser.add_argument("directory", metavar="DIR", type=path, help="to write; files of other names stay")
    given = parser.parse_args(arguments)

    from deploy.runs.atomic import write_json

    require_directory(given.directory)
    with user_errors():
        given.directory.mkdir(parents=True, exist_ok=True)
        for name, document in schemas().items():
            write_json(given.directory / name, document)
            print(given.directory / name)
    return 0


def schemas() -> dict[str, dict[str, Any]]:
    """The schemas by the names of their files."""
    from deploy.experiments import sweep
    from deploy.remote import driver
    from deploy.reporting import factors
    from deploy.runs import checkpoints, directory, report
    from deploy.runs.documents import schema
    from deploy.settings.config import RunConfig
    from deploy.training import crashes
    from replay.schema import StreamSpec
    from sim.config import SimConfig

    config = _nested(schema(directory.RunDocument), "config", schema(RunConfig))
    seal = _nested(schema(checkpoints.Seal), "document", _checkpoint(schema(checkpoints.LearnerDocument)))
    crash = _nested(schema(crashes.CrashDocument), "sim", schema(SimConfig))
    return {
        "config.json": _of(config, directory.FORMAT),
        "checkpoint.json": _of(seal, checkpoints.FORMAT),
        "report.json": _of(_flat(schema(report.Report), "faults"), report.FORMAT),
        "factors.json": _of(schema(factors.FactorsReport), factors.FORMAT),
        "crash.json": _of(crash, crashes.FORMAT),
        "sweep.json": _of(schema(sweep.SweepRecord), sweep.FORMAT),
        "driver.json": _of(schema(driver.DriverDocument), None),
        "stream_spec.json": _of(schema(StreamSpec), None),
    }


def _of(found: dict[str, Any], version: int | None) -> dict[str, Any]:
    """With the document's `format`, which is no part of its model."""
    if version is not None:
        found["properties"] = {"format": {"const": version}, **found["properties"]}
        found["required"] = ["format", *found["required"]]
    return {"$schema": _DRAFT, **found}


def _nested(found: dict[str, Any], key: str, inner: dict[str, Any]) -> dict[str, Any]:
    """With another schema for what the model leaves open."""
    definitions = {**found.pop("$defs", {}), **inner.pop("$defs", {})}
    described = {name: text for name, text in found["properties"][key].items() if name == "description"}
    found["properties"][key] = {**inner, **described}
    return {**found, **({"$defs": definitions} if definitions else {})}


def _flat(found: dict[str, Any], key: str) -> dict[str, Any]:
    """With the members of one of its objects among its own."""
    definitions = found["$defs"]
    inner = definitions.pop(found["properties"].pop(key)["$ref"].rpartition("/")[2])
    found["properties"].update(inner["properties"])
    found["required"].remove(key)
    return found


def _checkpoint(learner: dict[str, Any]) -> dict[str, Any]:
    """What a run says of a checkpoint; of a policy that was packed, and of a snapshot, `learner` alone is sure."""
    count = {"type": "integer", "minimum": 0}
    return {
        "type": "object",
        "properties": {
            "learner": learner,
            "metrics_offset": {**count, "description": "Bytes of metrics.jsonl when it was written."},
            "complete": {"type": "object", "description": "The run's lengths, once it has reached them."},
            "seconds": {"type": "number", "description": "Of a snapshot: for which the run had run."},
        },
        "required": ["learner"],
    }
