"""Reads JSON documents that anybody may have written: bounded, checked against a model, refused in one line.

A model is a dataclass of pydantic's with `DOCUMENT` as its configuration. Its fields carry their limits, so that
nothing further in has to ask again; keys that it does not know are left out, as a later version may have added them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from annotated_types import Ge, Le, MaxLen
from pydantic import ConfigDict, StringConstraints, TypeAdapter, ValidationError

from deploy.errors import UserError

DOCUMENT = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False, use_attribute_docstrings=True)

MOST_BYTES = 16 * 2**20
"""Of a document; the largest that are written have some hundred thousand."""

Count = Annotated[int, Ge(0), Le(2**53)]
Seed = Annotated[int, Ge(0), Le(2**64)]
Text = Annotated[str, MaxLen(10_000)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
"""As `replay.schema.check_name` has it."""

_SHOWN = 60
"""Letters of a value in a message."""

Document = TypeVar("Document")


class DocumentError(ValueError):
    """What is wrong with a document, in one line."""


class FormatError(DocumentError):
    """It is of another format."""


def read_document(
    path: Path,
    model: type[Document],
    what: str,
    version: int | None,
    arranged: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
) -> Document:
    """Reads a document.

    Args:
        path: the file.
        model: see the module's docstring.
        what: what it should be, for the error, such as "a report".
        version: its `format`, the only one that the model understands; None for a document that has none.
        arranged: puts what is in the file into the model's shape.

    Raises:
        UserError: naming the file and what is wrong with it.
    """
    try:
        return parse(read_bounded(path), model, version, arranged)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    except DocumentError as error:
        raise UserError(f"{path}: is not {what}: {error}") from error


def read_bounded(path: Path) -> bytes:
    """The content of a file that is to be a document.

    Raises:
        DocumentError: it is too large for one.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise DocumentError(f"has more than {MOST_BYTES:,} bytes, the most that are read")
    return data


def parse(
    data: bytes,
    model: type[Document],
    version: int | None,
    arranged: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
) -> Document:
    """A document from its JSON; the arguments are those of `read_document`.

    Raises:
        FormatError: it is of another format.
        DocumentError: naming the first key that is wrong.
    """
    try:
        written = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DocumentError(f"is not JSON: {error}") from None
    if not isinstance(written, dict):
        raise DocumentError("is no JSON object")
    if version is not None:
        if type(written.get("format")) is not int:
            raise DocumentError("has no 'format'")
        if written["format"] != version:
            raise FormatError(f"has format {written['format']}; this version of twist reads format {version}")
    return validate(written if arranged is None else arranged(written), model)


def validate(written: Mapping[str, Any], model: type[Document]) -> Document:
    """A document from plain JSON values.

    Raises:
        DocumentError: naming the first key that is wrong.
    """
    try:
        # As JSON, since of Python's values a strict model takes no list for a tuple.
        return TypeAdapter(model).validate_json(json.dumps(written))
    except RecursionError as error:
        raise DocumentError(f"is nested too deeply: {error}") from None
    except ValidationError as error:
        raise DocumentError(_first_of(error)) from None


def plain(document: object) -> dict[str, Any]:
    """A document as plain JSON values: what `validate` reads."""
    values: dict[str, Any] = TypeAdapter(type(document)).dump_python(document, mode="json")
    return values


def schema(model: type) -> dict[str, Any]:
    """The JSON schema of what `plain` gives."""
    return TypeAdapter(model).json_schema(mode="serialization")


def _first_of(error: ValidationError) -> str:
    found = error.errors(include_url=False)[0]
    key = ".".join(map(str, found["loc"]))
    if found["type"] == "missing":
        return f"has no '{key}'"
    if found["type"] == "value_error":
        return f"{key}: {found['ctx']['error']}" if key else str(found["ctx"]["error"])
    if found["type"] == "json_invalid":
        return f"is not JSON: {found['ctx']['error']}"
    shown = json.dumps(found["input"], default=str)
    shown = shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "..."
    return f"{key} = {shown} is not allowed: {found['msg'][0].lower()}{found['msg'][1:]}"
