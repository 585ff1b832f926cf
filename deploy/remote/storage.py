"""A directory on remote storage, by its URL: s3://bucket/path, gs://bucket/path, file:///path, all that fsspec reaches.

Who may use it comes from where the storage's own library looks for it (environment variables, credential files, the
machine's role); a URL with credentials in it is refused. A file must appear whole or not at all when it is written, as
it does in object stores; for file:// that is seen to here.
"""

from __future__ import annotations

import contextlib
import re
import uuid
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Final
from urllib.parse import urlsplit

from deploy.errors import UserError
from replay.address import redact

EXAMPLES: Final = "s3://bucket/path, gs://bucket/path or file:///path"

PACKAGES: Final = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs"}
"""What to install for a protocol; our extras `s3` and `gcs` are these."""

_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    protocol: {"config_kwargs": {"connect_timeout": 10, "read_timeout": 60, "retries": {"max_attempts": 2}}}
    for protocol in ("s3", "s3a")
}
"""For storage that does not answer: the library would try for minutes, and whoever calls tries again anyway."""

_VERSION_KEYS: Final = ("ETag", "etag", "md5Hash", "generation", "mtime", "LastModified", "last_modified", "updated")
"""Where file systems say which version of a file there is."""


_TRIED: Final = ".twist-tries-to-write"


class StorageError(Exception):
    """The storage did not do what it was asked; the message says why in one line."""

    def __init__(self, url: str, error: BaseException | str) -> None:
        """Keeps of an error its kind and its text."""
        text = " ".join(str(error).split())
        if isinstance(error, BaseException):
            text = f"{type(error).__name__}: {text}" if text else type(error).__name__
        super().__init__(f"{url}: {text}")


def check_url(url: str) -> str:
    """Looks at the URL alone, on a machine that need not reach it.

    Returns:
        The URL without slashes at its end.

    Raises:
        UserError: it is not one of a directory, or holds credentials, which are not shown.
    """
    shown = url.partition("?")[0]
    if redact(shown) != shown:
        raise UserError(
            f"run directory {redact(shown)}: holds a user, a password or an @, which is not allowed: credentials come "
            "from where the storage's library looks for them, such as AWS_ACCESS_KEY_ID or a credentials file"
        )
    bare = url.rstrip("/")
    try:
        parts = urlsplit(bare)
        named = parts.path.startswith("/") if parts.scheme == "file" else bool(parts.hostname)
        named = named and (parts.scheme != "file" or not parts.netloc)
        odd = bool(parts.query or parts.fragment) or ".." in PurePosixPath(parts.path).parts or "::" in bare
    except ValueError:
        named, odd = False, True
    if not named or odd or not re.match(r"[a-z][a-z0-9+.-]*://", bare):
        raise UserError(f"run directory {shown}: is no URL of a directory: allowed are {EXAMPLES}")
    return bare


class Storage:
    """Files below one URL. Names are relative to it, with slashes. It may be used by several threads."""

    def __init__(self, url: str) -> None:
        """Finds the library; nothing is asked of the storage yet.

        Args:
            url: of the directory, which need not be there.

        Raises:
            UserError: the URL is not allowed, its protocol is not known or its package is not installed.
        """
        import fsspec
        from fsspec.implementations.local import LocalFileSystem

        self.url = check_url(url)
        protocol = self.url.partition("://")[0]
        if protocol not in fsspec.available_protocols():
            raise UserError(f"run directory {self.url}: {protocol}:// is not known: allowed are {EXAMPLES}")
        try:
            # An instance of our own: those that fsspec shares may have been made for another account.
            self._fs = fsspec.filesystem(protocol, skip_instance_cache=True, **_OPTIONS.get(protocol, {}))
        except ImportError as error:
            package = PACKAGES.get(protocol)
            remedy = f"pip install {package}" if package else " ".join(str(error).split())
            raise UserError(
                f"run directory {self.url}: the package for {protocol}:// is not installed: {remedy}"
            ) from error
        except Exception as error:
            raise UserError(f"run directory {StorageError(self.url, error)}") from error
        self._root = str(self._fs._strip_protocol(self.url))
        self._renames = isinstance(self._fs, LocalFileSystem)

    def list(self, below: str = "") -> dict[str, str]:
        """The files in the directory and below it, with a text for each that changes when the file does.

        Args:
            below: only in this directory of it.

        Raises:
            StorageError: the storage does not answer.
        """
        with self._errors():
            self._fs.invalidate_cache()
            try:
                found = self._fs.find(self._path(below), detail=True)
            except FileNotFoundError:
                return {}
        files = {}
        for path, about in found.items():
            name = str(self._fs._strip_protocol(path))[len(self._root) :].lstrip("/")
            if name and about["type"] == "file" and ".." not in PurePosixPath(name).parts:
                version = next((about[key] for key in _VERSION_KEYS if about.get(key)), "")
                files[name] = f"{about['size']} {version}"
        return files

    def require_bucket(self) -> None:
        """Makes sure that there is the bucket, which nobody makes by the way as one does a directory.

        Raises:
            StorageError: there is none, or the storage does not answer.
        """
        bucket = self._root.partition("/")[0]
        if not bucket:
            return  # a file system's root
        with self._errors():
            self._fs.invalidate_cache()
            found = self._fs.exists(bucket)
        if not found:
            raise StorageError(self.url, f"there is no bucket {bucket}")

    def require_writable(self) -> None:
        """Writes a small file there, and removes it.

        Raises:
            StorageError: that is not allowed, or the storage does not answer.
        """
        self.write(_TRIED, b"")
        self.remove(_TRIED)

    def read(self, name: str) -> bytes | None:
        """The content of a small file; None where there is none.

        Raises:
            StorageError: the storage does not answer.
        """
        with self._errors():
            self._fs.invalidate_cache()
            try:
                return bytes(self._fs.cat_file(self._path(name)))
            except FileNotFoundError:
                return None

    def write(self, name: str, content: bytes) -> None:
        """Writes a small file, in one piece.

        Raises:
            StorageError: it could not be written.
        """
        with self._errors(), self._in_one_piece(name) as path:
            self._fs.pipe_file(path, content)

    def put(self, source: Path, name: str) -> None:
        """Copies a file there, in one piece.

        Raises:
            StorageError: it could not be written.
            FileNotFoundError: `source` is not there (any more).
        """
        source.stat()
        with self._errors(), self._in_one_piece(name) as path:
            self._fs.put_file(str(source), path)

    def get(self, name: str, target: Path) -> bool:
        """Copies a file from there, over one that may be here.

        Returns:
            Whether it was there.

        Raises:
            StorageError: the storage does not answer, or `target` cannot be written.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
        try:
            with self._errors():
                self._fs.invalidate_cache()
                try:
                    self._fs.get_file(self._path(name), str(temporary))
                except FileNotFoundError:
                    return False
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        return True

    def remove(self, name: str) -> None:
        """Removes a file, or a directory with what is in it, if it is there.

        Raises:
            StorageError: the storage does not answer, or does not allow it.
        """
        with self._errors(), contextlib.suppress(FileNotFoundError):
            self._fs.invalidate_cache()
            self._fs.rm(self._path(name), recursive=True)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    @contextlib.contextmanager
    def _in_one_piece(self, name: str) -> Iterator[str]:
        path = self._path(name)
        if not self._renames:
            yield path
            return
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
        try:
            yield str(temporary)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """The libraries raise errors of many kinds, their own and those of the libraries that they are made of."""
        try:
            yield
        except Exception as error:
            raise StorageError(self.url, error) from error
