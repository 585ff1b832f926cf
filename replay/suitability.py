"""Whether a Redis server can hold a run's replay: enough memory on each node, and nothing that deletes by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from redis.cluster import RedisCluster
from redis.exceptions import NoPermissionError

from replay.access import require_rights
from replay.config import ReplayConfig
from replay.connection import Client, node_name, nodes, server_name
from replay.shards import hash_tags

_A_NEW_RUN = "new"


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


def require_room(client: Client, config: ReplayConfig, tags: Iterable[str]) -> None:
    """Refuse a server that is too small for the shards it will hold, or that would delete some of their chunks.

    Args:
        client: Connected to it.
        config: What is to be kept there.
        tags: Hash tag of each shard.

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
        limit, needed = int(memory.get("maxmemory", 0)), config.memory_of(held[name])
        if held[name] and 0 < limit < needed:
            share = f" ({held[name]} of replay.shards={config.shards} lie there)" if len(nodes(client)) > 1 else ""
            raise ValueError(
                f"capacity_bytes is {config.capacity_bytes}, which needs a Redis with maxmemory of at least "
                f"{needed}: {name}{share} has {limit}"
            )


def shards_by_node(client: Client, tags: Iterable[str]) -> Counter[str]:
    """Return how many shards each node holds, by its name in `replay.connection.nodes`."""
    if isinstance(client, RedisCluster):
        owners = (client.get_node_from_key(f"{{{tag}}}") for tag in tags)
        return Counter(node_name(client, node.host, node.port) for node in owners if node is not None)
    return Counter(server_name(client) for _ in tags)
