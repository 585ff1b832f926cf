"""Which version of what made a run."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = ("twist", "numpy", "torch", "ray", "redis", "gymnasium", "pybullet")
_DISTRIBUTIONS = {"twist": "twist-distillation"}
"""What a package is called where it is installed from, if that is another name."""


def versions() -> dict[str, str]:
    """Python's and the packages' versions; "missing" where one is not installed. Imports none of them."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(_DISTRIBUTIONS.get(package, package))
        except PackageNotFoundError:
            found[package] = "missing"
    return found
