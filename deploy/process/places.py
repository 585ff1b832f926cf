"""Paths and URLs as people write them, read in one place, and whether something can be written there.

A `~` that the shell has not read (`--run-dir='~/x'`, or `--run-dir=~/x`, which not every shell reads) means the home
directory, and `$NAME` or `${NAME}` the environment's, as in a job's script or a pod's manifest, where no shell reads
them either. Otherwise a folder of that name would be made. What they do not name is refused.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from deploy.errors import UserError
from replay.address import redact


def is_url(text: str) -> bool:
    """Whether this is meant as a URL, not as a path of this machine."""
    return "://" in text


def expanded(text: str) -> str:
    """A path or a URL with `~` and variables in place.

    Raises:
        UserError: it is empty, or names a user or a variable that there is not.
    """
    if not text:
        raise UserError("an empty path is not allowed")
    found = os.path.expandvars(text)
    missing = re.search(r"\$(\w+|\{[^}]*\})", found)
    if missing is not None:
        shown = redact(text) if is_url(text) else text
        raise UserError(f"{shown}: there is no {missing[1].strip('{}')} in the environment")
    if found.startswith("~"):
        found = os.path.expanduser(found)
        if found.startswith("~"):
            raise UserError(f"{text}: there is no user {found[1:].partition('/')[0]} on this machine")
    return found


def local_path(text: str) -> Path:
    """A path of this machine.

    Raises:
        UserError: as `expanded`, or it is a URL.
    """
    found = expanded(text)
    if is_url(found):
        raise UserError(f"{redact(text)}: is a URL; a path of this machine is wanted")
    return Path(found)


def require_file(path: Path) -> None:
    """Looks whether a file could be written there, before the work that would be lost.

    Raises:
        UserError: it cannot.
    """
    if not path.parent.is_dir():
        raise UserError(f"{path}: there is no directory {path.parent}")
    if path.is_dir():
        raise UserError(f"{path}: is a directory, a file is wanted")
    if path.exists() and not os.access(path, os.W_OK):
        raise UserError(f"{path}: is not yours to write")
    _try(path.parent, path)


def require_directory(path: Path) -> None:
    """Looks whether files could be written into a directory, which need not be there; see `require_file`."""
    if path.exists() and not path.is_dir():
        raise UserError(f"{path}: is a file, a directory is wanted")
    there = next(parent for parent in (path, *path.absolute().parents) if parent.exists())
    if not there.is_dir():
        raise UserError(f"{path}: {there} is a file")
    _try(there, path)


def _try(directory: Path, wanted: Path) -> None:
    """Permissions alone do not tell of storage that is mounted for reading, or full."""
    try:
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(b"\0")
    except OSError as error:
        raise UserError(f"{wanted}: cannot be written: {error.strerror}") from error
