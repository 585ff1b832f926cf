"""Reads the JSON documents that a run leaves behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from deploy.errors import UserError

Document = TypeVar("Document")


def read_document(path: Path, parse: Callable[[dict[str, Any]], Document], what: str, version: int) -> Document:
    """Reads a document.

    Args:
        path: the file.
        parse: makes the document of its JSON; raises KeyError where something is missing, ValueError where it is wrong.
        what: what it should be, for the error, such as "a report".
        version: its `format`, the only one that `parse` understands.

    Raises:
        UserError: naming the file and what is wrong with it.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document.get("format") != version:
            raise ValueError(f"format {document.get('format')}: this version of twist reads format {version}")
        return parse(document)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    except KeyError as error:
        raise UserError(f"{path}: is not {what}: has no {error}") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: is not {what}: {error}") from error
