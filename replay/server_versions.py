"""Which versions of Redis have a hole through which whoever has the password runs code on the server.

CVE-2025-49844 (a use after free in the Lua interpreter, October 2025): any user who may run scripts, which all of ours
may, could leave the sandbox. Where a server listens on a network, that is everybody who has a password.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any, Final

import redis

from replay.connection import Client, nodes

HOLE: Final = "CVE-2025-49844"

_MENDED: Final[Mapping[str, Mapping[tuple[int, int], int]]] = {
    "Redis": {(6, 2): 20, (7, 2): 11, (7, 4): 6, (8, 0): 4, (8, 2): 2},
    "Valkey": {(7, 2): 11, (8, 0): 6, (8, 1): 4},
}
"""First version of each series without it; later series never had it, all others have it for good."""


def has_hole(product: str, version: str) -> bool:
    """Whether a version is one of those with the hole, by its number.

    Args:
        product: "Redis" or "Valkey".
        version: Such as "6.2.14"; one that is no such number is taken to be mended.
    """
    try:
        major, minor, patch = (int(part) for part in version.split(".")[:3])
    except ValueError:
        return False
    mended = _MENDED[product]
    if (major, minor) > max(mended):
        return False
    return (major, minor) not in mended or patch < mended[major, minor]


def notes_on_versions(client: Client) -> list[str]:
    """Return one line for each server with the hole that others can reach; none where it listens here alone."""
    notes = []
    for name, node in nodes(client).items():
        if _is_here(node):
            continue
        try:
            told: Mapping[str, Any] = node.info("server")
        except redis.ResponseError:
            continue  # a managed server that does not let us ask: its owner keeps it up to date
        product = "Valkey" if "valkey_version" in told else "Redis"
        version = str(told.get("valkey_version", told.get("redis_version", "")))
        if has_hole(product, version):
            notes.append(
                f"{name} is {product} {version}, which has a known hole ({HOLE}) unless whoever packaged it has mended "
                f"it under the same number: use {_advised(product)} or a later one"
            )
    return notes


def _advised(product: str) -> str:
    return ", ".join(f"{major}.{minor}.{patch}" for (major, minor), patch in _MENDED[product].items())


def _is_here(node: redis.Redis) -> bool:
    settings = node.connection_pool.connection_kwargs
    if "path" in settings:
        return True
    host = str(settings.get("host", "localhost"))
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
