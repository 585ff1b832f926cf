"""Whether a Redis server can hold a run's replay: enough memory on each node, and nothing that deletes by itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from redis import Redis
from redis.cluster import RedisCluster
from redis.exceptions import NoPermissionError

from replay.access import require_rights
from replay.config import ReplayConfig
from replay.connection import Client, node_name, nodes, server_name
from replay.shards import hash_tags, key_of

_A_NEW_RUN = "new"

_NEXT_TO_NOTHING: Final = 16 * 2**20
"""Of the 128 MiB that `ReplayConfig.memory_of` has for what is none of the chunks."""


def require_suitable(client: Client, config: ReplayConfig, roles: Iterable[str], run_id: str = _A_NEW_RUN) -> list[str]:
    """Refuse a server that could not do what a run will ask of it, before there is anything of the run.

    Args:
        client: Connected to it.
        config: What is to be kept there.
        roles: What is to be done there with this client's user; see `replay.access`.
        run_id: The run, if it is there already.

    Returns:
        What there is to know, one line each.

    Raises:
        ValueError: In one line, naming the value and what is allowed.
    """
    require_rights(client, roles)
    tags = hash_tags(run_id, config.shards)
    require_room(client, config, tags)
    primaries, used = len(nodes(client)), len(shards_by_node(client, tags))
    if config.shards >= primaries:
        return []
    return [
        f"replay.shards is {config.shards}: the replay lies on {used} of the {primaries} nodes of "
        f"{server_name(client)}; replay.shards={primaries} uses all of them"
    ]


def require_room(client: Client, config: ReplayConfig, tags: Sequence[str]) -> None:
    """Refuse a server that is too small for the shards it will hold, or that would delete some of their chunks.

    What else a server holds is counted: other runs that are over, and whatever others have there. What runs that are
    under way will still add is not known.

    Args:
        client: Connected to it.
        config: What is to be kept there.
        tags: Hash tag of each shard; what these hold already is the run's own.

    Raises:
        ValueError: In one line, naming the value and what is allowed.
    """
    held = shards_by_node(client, tags)
    for name, node in nodes(client).items():
        try:
            memory = node.info("memory")
        except NoPermissionError:
            continue  # A managed server that does not let us ask: its owner has sized it.
        policy = str(memory.get("maxmemory_policy", "noeviction"))
        if policy.startswith("allkeys"):
            raise ValueError(
                f"maxmemory-policy of {name} is {policy}: it would delete chunks; use noeviction (or volatile-..., as "
                "no key of ours expires)"
            )
        limit, needed = int(memory.get("maxmemory", 0)), config.memory_of(len(held[name]))
        if not held[name] or limit == 0:
            continue
        others = _held_by_others(node, memory, held[name])
        if limit < needed + others:
            share = f" ({len(held[name])} of replay.shards={config.shards} lie there)" if len(nodes(client)) > 1 else ""
            taken = f", of which others hold {others}: `twist replay list` shows the runs" if others else ""
            raise ValueError(
                f"capacity_bytes is {config.capacity_bytes}, which needs a Redis with maxmemory of at least "
                f"{needed + others}: {name}{share} has {limit}{taken}"
            )


def _held_by_others(node: Redis, memory: Mapping[str, Any], tags: Iterable[str]) -> int:
    """Bytes of data on a node that are not of these shards, by its own count; 0 where that is next to nothing."""
    values: Any = [node.hget(key_of(tag, "counters"), "bytes") for tag in tags]
    own = sum(int(value or 0) for value in values)
    others = int(memory.get("used_memory_dataset", 0)) - own - own // 4
    return others if others > _NEXT_TO_NOTHING else 0


def shards_by_node(client: Client, tags: Iterable[str]) -> Mapping[str, list[str]]:
    """Return the tags of the shards that each node holds, by its name in `replay.connection.nodes`."""
    held: defaultdict[str, list[str]] = defaultdict(list)
    for tag in tags:
        if not isinstance(client, RedisCluster):
            held[server_name(client)].append(tag)
        elif (node := client.get_node_from_key(f"{{{tag}}}")) is not None:
            held[node_name(client, node.host, node.port)].append(tag)
    return held
