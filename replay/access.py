"""Who needs which rights at the Redis server: the ACL rules of each role, and whether a user has them.

::

    actor      writes chunks, which evicts older ones
    learner    reads chunks, sets damaged ones aside, tells what it has sampled
    driver     begins the run's replay, reads its counters and what was set aside, and its episodes at the end
    twist      all of that: one user for everything, and the only one that mode debug can do with
    deleter    gives back what a run's replay takes: `replay.delete_at_end`, ``twist replay delete``

All of them are limited to keys ``twist:*`` and to the commands below: no DEL, FLUSHALL, KEYS, SCAN, CONFIG and so on.
(``twist replay list`` looks through all keys there are, and so needs SCAN.)
Redis runs a script with the rights of who calls it, so an actor has the commands that evict: the rules protect the
server, its other users and their data from whoever has the password, not the replay from a hostile actor.

``twist redis-users`` prints the rules, for servers from Redis 6.2 on; on a cluster, each node needs the users. INFO may
be left out, as managed servers do; then nobody checks whether the server has room for the replay.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from redis.cluster import RedisCluster
from redis.exceptions import NoPermissionError

from replay.connection import Client, nodes
from replay.shards import KEY_PREFIX

KEYS: Final = f"{KEY_PREFIX}*"

CONNECTING: Final = ("ping", "hello", "select", "info", "evalsha", "script|load")
IN_A_CLUSTER: Final = ("cluster|slots", "command", "asking")
"""What its clients ask besides: where the slots are, which arguments are keys, and for a key that is just moving."""

_READS: Final = (
    *("hget", "hgetall", "hset", "hincrby", "hdel", "zrange", "zrangebyscore", "zrem", "zscore"),
    *("lpush", "ltrim"),
)
"""Whoever reads chunks also sets damaged ones aside."""

ROLES: Final[Mapping[str, tuple[str, ...]]] = {
    "actor": ("hget", "hset", "hincrby", "hdel", "zadd", "zrange", "zrem"),
    "learner": _READS,
    "driver": (*_READS, "lrange"),
    "deleter": ("hget", "unlink"),
}
"""The commands of each role, those in its scripts included."""

ALL_ROLES: Final = "twist"
DELETER: Final = "deleter"

# Each is tried on a key that nobody has, with arguments that change nothing: the server looks at the rights first.
# Only LPUSH has no such arguments, and LTRIM then takes away what it has put.
_HARMLESS: Final[Mapping[str, tuple[str, ...]]] = {
    "hget": ("field",),
    "unlink": (),
    "hgetall": (),
    "hset": ("field", "value", "no value"),
    "hincrby": ("field", "no number"),
    "hdel": ("field",),
    "zadd": ("XX", "1", "member"),
    "zrange": ("0", "0"),
    "zrangebyscore": ("0", "0"),
    "zrem": ("member",),
    "zscore": ("member",),
    "lpush": ("value",),
    "ltrim": ("1", "0"),
    "lrange": ("0", "0"),
}
_KEY: Final = f"{KEY_PREFIX}{{rights}}:tried"
_NO_SCRIPT: Final = "0" * 40


def commands(role: str) -> tuple[str, ...]:
    """Return the commands that a role runs on keys; those of all roles but the deleter for ``twist``, each once.

    Raises:
        KeyError: If there is no such role.
    """
    at_work = [names for name, names in ROLES.items() if name != DELETER]
    chosen = at_work if role == ALL_ROLES else [ROLES[role]]
    return tuple(dict.fromkeys(command for role_commands in chosen for command in role_commands))


def acl_rules(role: str) -> list[str]:
    """Return what comes after ``ACL SETUSER name`` to give a new user the rights of a role, and no other.

    Args:
        role: One of `ROLES`, or ``twist``.

    Returns:
        The rules, without a password: ``on >PASSWORD`` is still to be added.
    """
    return ["reset", f"~{KEYS}", *(f"+{name}" for name in (*CONNECTING, *IN_A_CLUSTER, *commands(role)))]


def require_rights(client: Client, roles: Iterable[str]) -> None:
    """Refuse a user who could not do the work of these roles, before there is any.

    Raises:
        ValueError: In one line, who lacks which rights, and where.
    """
    needed = tuple(dict.fromkeys(command for role in roles for command in commands(role)))
    for name, node in nodes(client).items():
        # Each node of a cluster has users of its own. One that does not hold the key says so only to who has the right.
        pipeline = node.pipeline(transaction=False)
        pipeline.execute_command("EVALSHA", _NO_SCRIPT, 1, _KEY)
        pipeline.execute_command("SCRIPT LOAD", "return 1")
        for command in needed:
            pipeline.execute_command(command.upper(), _KEY, *_HARMLESS[command])
        asked = ["evalsha", "script|load", *needed]
        if isinstance(client, RedisCluster):
            pipeline.execute_command("COMMAND COUNT")
            asked.append("command")
        _refuse_missing(name, node, dict(zip(asked, pipeline.execute(raise_on_error=False), strict=True)))


def _refuse_missing(name: str, node: Any, answers: Mapping[str, object]) -> None:
    refused = {command: str(answer) for command, answer in answers.items() if isinstance(answer, NoPermissionError)}
    if not refused:
        return
    user = node.connection_pool.connection_kwargs.get("username") or "default"
    if all("key" in said and "run the" not in said for said in refused.values()):
        what = f"may not touch keys {KEYS}"
    else:
        what = f"may not run {', '.join(command.replace('|', ' ').upper() for command in refused)}"
    raise ValueError(f"Redis user {user} {what} at {name}: `twist redis-users` prints the rights that each role needs")


def setuser_commands() -> list[str]:
    """Return the command that makes a user for each role, ``twist`` first; PASSWORD is to be replaced."""
    made = []
    for role in (ALL_ROLES, *ROLES):
        name = role if role == ALL_ROLES else f"{ALL_ROLES}-{role}"
        reset, *rules = acl_rules(role)
        made.append(" ".join(("ACL SETUSER", name, reset, "on", ">PASSWORD", *rules)))
    return made
