"""Where Ray's actors are, as Ray's books say: which has a process already, on which node, and whether that node lives.

There is no public call that tells this of an actor that is still being started, without the dashboard. Ray's own
libraries ask the same tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ray


@dataclass(frozen=True)
class Place:
    """A process, or one that there was.

    Attributes:
        pid: on its node.
        node_id: Ray's, hexadecimal.
        node_lives: whether that node is still part of the cluster.
    """

    pid: int
    node_id: str
    node_lives: bool


def place_of(handle: Any) -> Place | None:
    """Where an actor is or was; None for one that has never had a process, or of which Ray knows nothing any more."""
    return _place(_tables().actor_table(handle._actor_id.hex()), _living())


def places() -> Mapping[str, Place]:
    """Those of all actors that have had a process, by Ray's hexadecimal id, for the price of one."""
    living = _living()
    found = {actor: _place(entry, living) for actor, entry in _tables().actor_table(None).items()}
    return {actor: place for actor, place in found.items() if place is not None}


def _place(entry: Mapping[str, Any], living: frozenset[str]) -> Place | None:
    # Before there is a process the address has no host, and the node in it is the driver's.
    if not entry or not entry["Pid"] or not entry["Address"]["IPAddress"]:
        return None
    node_id = str(entry["Address"]["NodeID"])
    return Place(int(entry["Pid"]), node_id, node_id in living)


def _living() -> frozenset[str]:
    return frozenset(node["NodeID"] for node in ray.nodes() if node["Alive"])


def _tables() -> Any:
    import ray._private.state

    return ray._private.state.state
