"""Compiling the kernels: once per machine, into the cache directory (see `sim.assets`), and never twice in a process.

The compiled code lies in a directory that is named for everything it depends on and appears complete or not at all. So
any number of processes may need it first at the same time (one compiles, the others wait), and afterwards the cache may
be read-only. Where nothing can be written, a process compiles for itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import numba
import numpy as np
from numba.core.registry import cpu_target

from sim.assets import cache_directory

Function = TypeVar("Function", bound=Callable[..., Any])

# No fast maths: nothing is fused or reordered, and every processor rounds alike. No kernel makes an
# array, so that none needs numba's counting of references, which would take most of the time.
_OPTIONS: dict[str, Any] = {"error_model": "numpy", "nogil": True, "_nrt": False}

# Where `kernel` keeps compiled code; None: nowhere. `load` sets it before it imports the kernels.
_directory: Path | None = None
_loaded: list[ModuleType] = []


class Locator:
    """Tells numba where compiled code lies (numba's interface for that; it makes one per kernel)."""

    def __init__(self, directory: Path) -> None:
        self._path = str(directory)

    @classmethod
    def from_function(cls, function: Callable[..., Any], source: str) -> Locator | None:
        """Return the locator of a kernel."""
        return None if _directory is None else cls(_directory)

    def get_cache_path(self) -> str:
        """Return the directory."""
        return self._path

    def ensure_cache_path(self) -> None:
        """Do nothing: the directory is there when it is written, and is not written when it is complete."""

    def get_source_stamp(self) -> str:
        """Return what tells versions of the sources apart: nothing, for the directory's name does."""
        return ""

    def get_disambiguator(self) -> str:
        """Return what tells two kernels of one name in one module apart: there are none."""
        return ""


def kernel(function: Function) -> Function:
    """Let numba compile a function when it is first called, or load what it compiled before."""
    if _directory is None:
        return numba.njit(**_OPTIONS)(function)  # type: ignore[no-any-return]
    settings: Any = numba.config
    kept = settings.CACHE_LOCATOR_CLASSES
    settings.CACHE_LOCATOR_CLASSES = f"{__name__}.{Locator.__name__}"
    try:
        return numba.njit(cache=True, **_OPTIONS)(function)  # type: ignore[no-any-return]
    finally:
        settings.CACHE_LOCATOR_CLASSES = kept


def inlined(function: Function) -> Function:
    """Let numba copy a function into the kernels that call it: what runs per triangle or pixel is no call.

    A call would count references to every array that it is given, which takes longer than what it does. For the same
    reason these functions take rows of arrays by number and never as slices.
    """
    return numba.njit(inline="always", **_OPTIONS)(function)  # type: ignore[no-any-return]


def load(quiet: bool) -> ModuleType:
    """Return the module `sim.raster.kernels`, compiled, which it is once in a process.

    Args:
        quiet: Whether nothing is said of a compilation, as in a worker whose driver has said it.
    """
    if not _loaded:
        _loaded.append(_load(quiet))
    return _loaded[0]


def _load(quiet: bool) -> ModuleType:
    target = cache_directory() / f"raster-{_recipe()}"
    try:
        with _alone(target) as scratch:
            kernels = _import(scratch or target)
            if scratch is not None:
                _say(f"Compiling the renderer into {target} (once, some twenty seconds)", quiet)
                kernels.compile_all()
                scratch.chmod(0o755)
                with contextlib.suppress(OSError):  # another process may have been first where locks do not hold
                    scratch.rename(target)
            return kernels
    except OSError as error:
        if "sim.raster.kernels" in sys.modules:
            raise
        kernels = _import(None)
        reason = f"cannot write to {target.parent} ({error.strerror}): set TWIST_CACHE to another directory"
        _say(f"Compiling the renderer for this process alone (some twenty seconds), {reason}", quiet)
        kernels.compile_all()
        return kernels


def _recipe() -> str:
    """Return a name for everything that compiled code depends on: sources, versions, processor, numba's settings."""
    recipe = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        recipe.update(source.read_bytes())
    versions = (numba.__version__, np.__version__, sys.version, cpu_target.target_context.codegen().magic_tuple())
    settings: Any = numba.config
    switches = bool(settings.BOUNDSCHECK), str(settings.OPT), settings.LOOP_VECTORIZE, settings.SLP_VECTORIZE
    recipe.update(repr((versions, switches, settings.DEBUGINFO_DEFAULT)).encode())
    return recipe.hexdigest()[:12]


@contextlib.contextmanager
def _alone(target: Path) -> Iterator[Path | None]:
    """Give a directory to compile into, or None if the target is there; one process at a time."""
    if target.is_dir():
        yield None
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".making-", dir=target.parent))
    try:
        with open(target.parent / f".{target.name}.lock", "w") as lock:
            with contextlib.suppress(OSError):  # a file system without locks: several may compile, all of it serves
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield None if target.is_dir() else scratch
            with contextlib.suppress(OSError):
                os.unlink(lock.name)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _import(directory: Path | None) -> ModuleType:
    global _directory  # noqa: PLW0603 - decorators run where their module is imported, and have nobody else to ask
    _directory = directory
    return importlib.import_module("sim.raster.kernels")


def _say(line: str, quiet: bool) -> None:
    if not quiet:
        print(line, file=sys.stderr, flush=True)
