"""Which version of what made a run."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = ("twist", "numpy", "torch", "ray", "redis", "gymnasium", "pybullet")


def versions() -> dict[str, str]:
    """Python's and the packages' versions; "missing" where one is not installed. Imports none of them."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "missing"
    return found
