"""Which packages a process imports: ours from one place, and nothing from the working directory that is elsewhere too.

Our packages have everyday names. `python -m` and Ray's workers search the working directory first, where a project of
somebody's own may well have a `sim`, or a `random.py`.

    `pin`              this process; what we start does it first: `child.begin`, and in Ray's workers `ray_worker`
    `child_path`       PYTHONPATH for processes that begin before any code of ours
    `strangers`        what is in the way where neither helps
"""

from __future__ import annotations

import os
import site
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Final

from deploy.errors import UserError

PACKAGES: Final = ("actors", "deploy", "learner", "replay", "sim")
ROOT: Final = Path(__file__).resolve().parents[2]
"""Where they are: a checkout, or a directory of installed packages."""
MARK: Final = Path(__file__).resolve().relative_to(ROOT).as_posix()
"""A directory that has this file has all of them."""


class _DriversFinder:
    """Finds our packages in `ROOT`, and others in the working directory only if they are nowhere else."""

    def __init__(self, working_directory: str) -> None:
        self._last = {"", "."} if Path(working_directory) == ROOT else {"", ".", working_directory}

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if path is not None:
            return None  # of a package that has been found
        return PathFinder.find_spec(
            name, [str(ROOT)] if name in PACKAGES else [entry for entry in sys.path if entry not in self._last], target
        )


def pin() -> None:
    """From now on this process imports as said above; what it has imported stays."""
    if not any(isinstance(finder, _DriversFinder) for finder in sys.meta_path):
        sys.meta_path.insert(sys.meta_path.index(PathFinder), _DriversFinder(os.getcwd()))


def child_path() -> str:
    """PYTHONPATH with which a Python that is started anew finds our packages, wherever it is started."""
    given = os.environ.get("PYTHONPATH", "")
    # Before Python's own modules, which is no place for a directory of installed packages; those are found anyway.
    installed = str(ROOT) in {*site.getsitepackages(), site.getusersitepackages()}
    return given if installed else os.pathsep.join(filter(None, [str(ROOT), given]))


def strangers(directory: Path) -> Iterator[Path]:
    """What there is in a directory that Python would take for one of our packages, and that is none of them."""
    if directory.resolve() == ROOT:
        return
    for name in PACKAGES:
        found = PathFinder.find_spec(name, [str(directory.resolve())])
        if found is not None and found.origin is not None:  # a folder without __init__.py hides nothing
            file = Path(found.origin)
            yield file.parent if found.submodule_search_locations else file


def refuse_stranger(directory: Path, who: str) -> None:
    """For where a directory is searched before we have a say.

    Args:
        directory: the one.
        who: would import from it; for the message.

    Raises:
        UserError: naming what is in the way.
    """
    for found in strangers(directory):
        raise UserError(f"{found}: {who} would import it in place of TWIST's own: rename it, or begin elsewhere")
