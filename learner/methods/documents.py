"""What the document of a learner's state says of its method; read without torch.

`config.method` names it, and documents that do not say it are of the first one, twist. Each part has the key
`<part>_updates`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from learner.methods import METHODS, Method


def method_of(document: Mapping[str, Any]) -> Method:
    """Of which method the state is.

    Raises:
        ValueError: of none that is known here.
    """
    config = document.get("config")
    name = config.get("method", "twist") if isinstance(config, Mapping) else "twist"
    if not isinstance(name, str) or name not in METHODS:
        raise ValueError(f"learner state is of method {name!r}; this version has {', '.join(METHODS)}")
    return METHODS[name]


def updates_of(document: Mapping[str, Any]) -> dict[str, int]:
    """Updates of each part, by its name.

    Raises:
        ValueError: the method is not known, or a count is missing or none.
    """
    updates = {}
    for part in method_of(document).parts:
        key = f"{part.name}_updates"
        count = document.get(key)
        if type(count) is not int or count < 0:
            raise ValueError(f"has no '{key}'" if count is None else f"{key} = {count!r} is not allowed: a count")
        updates[part.name] = count
    return updates
