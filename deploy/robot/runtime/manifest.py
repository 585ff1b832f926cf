"""manifest.json: every file of a bundle with its length and SHA-256; its own SHA-256 is the bundle's name for good."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from .refusals import BundleError

MANIFEST = "manifest.json"
FORMAT = 1


@dataclass(frozen=True)
class Manifest:
    """The files of a bundle, by their path in it.

    Attributes:
        files: path to (bytes, sha256).
        sha256: of the manifest itself; two bundles with the same are the same.
    """

    files: dict[str, tuple[int, str]]
    sha256: str


def write_manifest(bundle: Path) -> Manifest:
    """Describes the files that lie in a directory and writes it there."""
    found = sorted(path for path in bundle.rglob("*") if path.is_file() and _counts(path.relative_to(bundle)))
    files = {path.relative_to(bundle).as_posix(): _described(path) for path in found}
    document = {"format": FORMAT, "files": {name: {"bytes": n, "sha256": h} for name, (n, h) in files.items()}}
    text = json.dumps(document, indent=1) + "\n"
    (bundle / MANIFEST).write_text(text, encoding="utf-8")
    return Manifest(files, hashlib.sha256(text.encode()).hexdigest())


def read_manifest(bundle: Path) -> Manifest:
    """Reads the manifest and compares every file that it names.

    Raises:
        BundleError: there is none, or a file is missing, is another one, or is none of the bundle's.
    """
    try:
        text = (bundle / MANIFEST).read_bytes()
        document = json.loads(text)
        form, entries = document["format"], document["files"]
        files = {str(name): (int(entry["bytes"]), str(entry["sha256"])) for name, entry in entries.items()}
    except FileNotFoundError as error:
        raise BundleError(f"{bundle}: holds no bundle: {MANIFEST} is missing") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{bundle / MANIFEST}: cannot be read: {error}") from error
    if form != FORMAT:
        raise BundleError(f"{bundle / MANIFEST}: is of format {form}; this runtime reads format {FORMAT}")
    for name, (size, digest) in files.items():
        _require_same(bundle / name, size, digest)
    for path in sorted(bundle.rglob("*")):
        name = path.relative_to(bundle).as_posix()
        # What others lay beside a bundle is theirs; within the runtime it would be run.
        if name.startswith("twist_runtime/") and path.suffix == ".py" and name not in files:
            raise BundleError(f"{path}: is no file of this bundle, and would be run with it")
    return Manifest(files, hashlib.sha256(text).hexdigest())


def _require_same(path: Path, size: int, digest: str) -> None:
    if not path.is_file():
        raise BundleError(f"{path}: is missing")
    found_size, found_digest = _described(path)
    if (found_size, found_digest) != (size, digest):
        what = f"has {found_size:,} bytes" if found_size != size else f"has SHA-256 {found_digest[:12]}..."
        wanted = f"{size:,}" if found_size != size else f"{digest[:12]}..."
        raise BundleError(f"{path}: was changed since the bundle was made: it {what}, the manifest says {wanted}")


def _described(path: Path) -> tuple[int, str]:
    content = path.read_bytes()
    return len(content), hashlib.sha256(content).hexdigest()


def _counts(path: Path) -> bool:
    return path.as_posix() != MANIFEST and "__pycache__" not in path.parts
