"""Packs a working directory for a job on a cluster: what its ignore files leave, in one zip file.

Ray packs working directories too, when it is given one. Here it is given the finished file instead: its size is then
known before anything is sent, it is compressed (Ray's own is not), and large directories that are left out are not even
looked into.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pathspec import GitIgnoreSpec

from deploy.errors import UserError, user_errors
from deploy.process.packages import MARK, strangers

LIMIT_BYTES = 100 * 2**20
"""From this size on Ray's job server refuses a package."""

IGNORE_FILES = (".gitignore", ".rayignore")
"""They name what stays here; the second is Ray's, for what belongs to the repository but not on the cluster."""

LEFT_OUT = (
    *(".git", ".venv/", "venv/", "/runs/", "__pycache__/", "*.py[cod]"),
    *(".cache/", ".*_cache/", ".env"),  # the last often holds passwords, and whoever sees the cluster sees the package
)
"""Stays here whatever the ignore files say, in their syntax."""

_TIME = (1980, 1, 1, 0, 0, 0)
"""Of every packed file: the same content then gives the same package, which Ray does not take twice."""

_LARGEST = 3
"""Entries of the working directory that are named when the package is too large."""


@dataclass(frozen=True)
class JobPackage:
    """A packed working directory."""

    path: Path
    files: int
    size: int
    """Of the zip file, in bytes."""

    def __str__(self) -> str:
        """In words: `0.4 MiB, 211 files`."""
        return f"{mebibytes(self.size)}, {self.files:,} files"


def pack(directory: Path, target: Path, *, limit: int = LIMIT_BYTES) -> JobPackage:
    """Writes the files of a directory into a zip file.

    Args:
        directory: to pack; ignore files above it are not read.
        target: the zip file to write, outside of `directory`.
        limit: bytes that the zip file must stay below.

    Raises:
        UserError: there is nothing to pack, a file cannot be read, or the zip file would reach `limit`.
    """
    with user_errors():
        found = list(files_to_pack(directory))
        if not found:
            raise UserError(f"working directory {directory}: there is nothing in it to pack")
        _refuse_stranger(directory, found)
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in found:
                _add(archive, directory / name, name)
                # Looked at on the way: a directory that is far too large is not packed to its end.
                if archive.fp is not None and archive.fp.tell() >= limit:
                    raise UserError(_too_large(directory, found, limit))
        size = target.stat().st_size
        if size >= limit:  # the list of contents comes last
            raise UserError(_too_large(directory, found, limit))
    return JobPackage(target, len(found), size)


def files_to_pack(directory: Path) -> Iterator[str]:
    """The files that `pack` takes, relative to the directory, in an order that depends on their names alone.

    A link to a file is followed, one to a directory is not; what is neither file nor directory is left out, and so are
    empty directories.
    """
    always = GitIgnoreSpec.from_lines(LEFT_OUT)
    pending: list[tuple[str, tuple[_IgnoreFile, ...]]] = [("", ())]
    while pending:
        parent, above = pending.pop()
        ignoring = (*above, *_ignore_files(directory, parent))
        directories: list[str] = []
        with os.scandir(directory / parent) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
        for entry in listed:
            name = parent + entry.name
            is_directory = entry.is_dir(follow_symlinks=False)
            asked = name + "/" if is_directory else name
            if always.match_file(asked) or _ignored(asked, ignoring):
                continue
            if is_directory:
                directories.append(asked)
            elif entry.is_file():
                yield name
        pending.extend((name, ignoring) for name in reversed(directories))


def _refuse_stranger(directory: Path, files: Sequence[str]) -> None:
    """A job begins in its package and imports from there first: a checkout of ours, or nothing of its packages' names.

    Raises:
        UserError: naming what is in the way.
    """
    if MARK in files:
        return
    for found in strangers(directory):
        name = found.relative_to(directory.resolve()).as_posix()
        if any(file == name or file.startswith(f"{name}/") for file in files):
            raise UserError(
                f"{found}: the job would import it in place of TWIST's own: rename it, or name it in .rayignore"
            )


def mebibytes(size: int) -> str:
    """Bytes in words: `1.5 MiB`."""
    return f"{size / 2**20:,.1f} MiB"


@dataclass(frozen=True)
class _IgnoreFile:
    """The rules of one ignore file, which speak of what is below its own directory."""

    parent: str
    """Where the file is: "" or "a/b/"."""
    rules: GitIgnoreSpec


def _ignore_files(directory: Path, parent: str) -> Iterator[_IgnoreFile]:
    for name in IGNORE_FILES:
        file = directory / parent / name
        if file.is_file():
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
            yield _IgnoreFile(parent, GitIgnoreSpec.from_lines(lines))


def _ignored(name: str, ignoring: Sequence[_IgnoreFile]) -> bool:
    """As git decides: of the files with a rule for this path, the one nearest to it; there, the last such rule."""
    for file in reversed(ignoring):
        decision = file.rules.check_file(name[len(file.parent) :]).include
        if decision is not None:
            return decision
    return False


def _add(archive: zipfile.ZipFile, path: Path, name: str) -> None:
    about = zipfile.ZipInfo(name, _TIME)
    about.compress_type = zipfile.ZIP_DEFLATED
    about.external_attr = (path.stat().st_mode & 0o777) << 16
    with path.open("rb") as source, archive.open(about, "w", force_zip64=True) as packed:
        while block := source.read(2**20):
            packed.write(block)


def _too_large(directory: Path, files: Sequence[str], limit: int) -> str:
    """Says so, with what takes the most room before compression."""
    sizes: dict[str, int] = {}
    for name in files:
        first = name.partition("/")[0]
        sizes[first] = sizes.get(first, 0) + (directory / name).stat().st_size
    largest = sorted(sizes, key=lambda first: -sizes[first])[:_LARGEST]
    named = ", ".join(f"{first} {mebibytes(sizes[first])}" for first in largest)
    return (
        f"working directory {directory}: its package is not below the {mebibytes(limit)} that Ray's job server takes; "
        f"largest: {named}; name what is not needed in .gitignore or .rayignore"
    )
