"""Files and directories that are either there whole or not at all, whatever is killed when."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_WRITING = ".writing-"


def write_text(path: Path, text: str) -> None:
    """Replaces the file with this text, see `write_bytes`."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Replaces the file: written beside it, forced to disk, renamed over it."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp's 0600 would hide a run from those who may read its directory
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    sync_directory(path.parent)


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Replaces the file with this document, indented; refuses NaN, which is not JSON."""
    write_text(path, json.dumps(document, indent=2, allow_nan=False) + "\n")


@contextlib.contextmanager
def new_directory(path: Path) -> Iterator[Path]:
    """Gives a directory to fill, which becomes `path` by one rename when the block ends without an error.

    For the one writer of `path.parent`: what a killed one left there, `.writing-*`, is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for abandoned in path.parent.glob(_WRITING + "*"):
        shutil.rmtree(abandoned)
    temporary = path.with_name(_WRITING + path.name)
    temporary.mkdir()
    yield temporary
    sync_tree(temporary)
    temporary.rename(path)
    sync_directory(path.parent)


def replace_directory(target: Path, new: Path) -> None:
    """Puts a directory made by `mkdtemp` beside the target in its place, forced to disk.

    Raises:
        OSError: it cannot be moved there.
    """
    new.chmod(0o755)  # mkdtemp's 0700 would hide it from others
    sync_tree(new)
    replaced = new.with_name(f"{new.name}.replaced")
    if target.is_dir():
        target.rename(replaced)
    new.rename(target)
    shutil.rmtree(replaced, ignore_errors=True)


def sync_directory(path: Path) -> None:
    """Forces a directory's entries (a rename, a new file) to disk."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(path: Path) -> None:
    """Forces every file below a directory, and its directories, to disk."""
    for directory, _, names in os.walk(path):
        for name in names:
            handle = os.open(os.path.join(directory, name), os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        sync_directory(Path(directory))
