"""Optional packages: what needs one that is not installed says so in one line, with the command that installs it."""

from __future__ import annotations

import importlib.util

from deploy.errors import UserError

EXPORTER = ("robot", "onnx", "onnxscript", "onnxruntime", "yaml")
"""The extra with which bundles are written, and what it brings."""


def require_extra(what: str, extra: str, *modules: str) -> None:
    """Refuses what cannot be done without packages that an extra of ours brings.

    Args:
        what: needs them, for the message.
        extra: its name in pyproject.toml.
        modules: that must be there; none is imported.

    Raises:
        UserError: naming those that are not.
    """
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        raise UserError(f"{what} needs {', '.join(missing)}: pip install -e '.[{extra}]'")
