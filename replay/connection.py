"""Connections to Redis, one server or a cluster, with explicit time-outs, and refusals in one line without a secret."""

from __future__ import annotations

import contextlib
import re
import ssl
import time
from collections.abc import Iterator
from typing import Final, TypeAlias

import redis
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.cluster import RedisCluster
from redis.exceptions import ClusterDownError, NoPermissionError, RedisClusterException, TryAgainError
from redis.retry import Retry

from replay.address import Address, redact

__all__ = [
    "UNAVAILABLE",
    "Client",
    "connect",
    "connect_in_time",
    "in_one_line",
    "is_outage",
    "nodes",
    "outage",
    "redact",
    "server_name",
]

Client: TypeAlias = redis.Redis | RedisCluster

UNAVAILABLE: Final = (redis.RedisError, RedisClusterException)
"""What a command raises that the server did not take: the second is none of the first, and means the whole cluster."""

_AWAY: Final = (ConnectionError, redis.ConnectionError, redis.TimeoutError, RedisClusterException)
"""No server answers, or none to us."""

_REFUSES: Final = (
    *(redis.OutOfMemoryError, redis.ReadOnlyError, redis.BusyLoadingError, TryAgainError, ClusterDownError),
    *(NoPermissionError, redis.AuthenticationError),
)
_REFUSAL: Final = re.compile(
    r"\b(OOM|MISCONF|READONLY|LOADING|MASTERDOWN|NOREPLICAS|CLUSTERDOWN|TRYAGAIN|BUSY|UNKILLABLE|NOPERM|NOAUTH|WRONGPASS)\b"
    r"|command not allowed when used memory"
)
"""A server answers that it will not, for now: it is out of memory or disk, a replica, loading, busy, without its
replicas or its other nodes. Errors in scripts and pipelines name the code somewhere in their text. Users' rights and
passwords are among them: before a run begins they are an error (`replay.suitability`), but when they are changed under
one, or it goes to a replica that does not have them, they may be mended, and the run loses nothing by waiting."""

# redis-py's own defaults (5 s per answer, ten retries) turn a dead server into a minute of silence.
CONNECT_SECONDS: Final = 3.0
ANSWER_SECONDS: Final = 10.0
RETRIES: Final = 3
_PAUSE_SECONDS: Final = 1.0

# OpenSSL's numbers of what can be wrong with a certificate, and the way out.
_UNKNOWN_AUTHORITY: Final = (18, 19, 20, 21)
_ANOTHER_HOST: Final = (62, 64)


def is_outage(error: BaseException) -> bool:
    """Whether what a command raised may pass by itself, so that the run waits: the one list of what counts as such.

    Everything else (a wrong type, a command that is not known) is an error of ours, and stays one.
    """
    if isinstance(error, (*_AWAY, *_REFUSES)):
        return True
    return isinstance(error, redis.ResponseError) and _REFUSAL.search(str(error)) is not None


def outage(error: BaseException) -> str:
    """Return what an outage is, in one line.

    Raises:
        BaseException: The error itself, if it is none.
    """
    if not is_outage(error):
        raise error
    return _one_line(error)


@contextlib.contextmanager
def in_one_line(url: str) -> Iterator[None]:
    """Raises a ConnectionError, in one line and without secrets, for whatever the server of that URL does not do."""
    try:
        yield
    except UNAVAILABLE as error:
        address = Address.of(url)
        raise ConnectionError(f"Redis at {address.shown} {_reason(error, address)}") from error


def connect(url: str) -> Client:
    """Connect to a Redis server or a Redis Cluster, and make sure that it answers.

    Which of the two it is, the server is asked: of a cluster the URL names any node, and the others are found. The
    client reconnects by itself, tries each command up to four times within seconds, follows slots that move to
    another node, and may be used by several threads. A repeated command does no harm: puts are counted once however
    often they are sent.

    Args:
        url: ``redis://[user:password@]host[:port][/db]``, ``rediss://`` for TLS, or ``unix:///path``; see
            `replay.address`.

    Raises:
        ValueError: If the URL is not one of these, or names a database that a cluster does not have.
        ConnectionError: If the server does not answer, or not to us, within about 3 s, or is not trusted.
    """
    address = Address.of(url)
    if _is_cluster(url, address):
        return _connect_to_cluster(url, address)
    return redis.Redis.from_url(
        url,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=ANSWER_SECONDS,
        health_check_interval=30,
        retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=1.0), RETRIES),
    )


def connect_in_time(url: str, seconds: float) -> Client:
    """Connect as `connect` does, and while the server does not answer try again, for so many seconds.

    Raises:
        ValueError: As `connect`.
        ConnectionError: If it does not answer for so long.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return connect(url)
        except ConnectionError:
            if time.monotonic() >= deadline:
                raise
        time.sleep(_PAUSE_SECONDS)


def server_name(client: Client) -> str:
    """Return where a client's server is, for messages: host and port, or the socket's path."""
    if isinstance(client, RedisCluster):
        node = client.startup_nodes[0]
        return f"redis://{node.host}:{node.port} (cluster)"
    settings = client.connection_pool.connection_kwargs
    if "path" in settings:
        return f"unix://{settings['path']}"
    scheme = "rediss" if issubclass(client.connection_pool.connection_class, redis.SSLConnection) else "redis"
    return f"{scheme}://{settings.get('host', 'localhost')}:{settings.get('port', 6379)}/{settings.get('db') or 0}"


def nodes(client: Client) -> dict[str, redis.Redis]:
    """Return a client for each server that holds keys, by its name for messages: a cluster's primaries, or the one."""
    if not isinstance(client, RedisCluster):
        return {server_name(client): client}
    found = {}
    for node in client.get_primaries():
        assert node.redis_connection is not None
        found[node_name(client, node.host, node.port)] = node.redis_connection
    return found


def node_name(client: RedisCluster, host: str, port: int) -> str:
    """Return what `nodes` calls a node."""
    return f"node {host}:{port} of {server_name(client)}"


def _is_cluster(url: str, address: Address) -> bool:
    """Wait for the server's answer and ask whether it is a node of a cluster."""
    timeouts = {"socket_connect_timeout": CONNECT_SECONDS, "socket_timeout": CONNECT_SECONDS}
    with redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), **timeouts) as probe:
        try:
            _await_answer(probe, address)
            return _knows_slots(probe, address)
        except UNAVAILABLE as error:
            if "SELECT is not allowed in cluster mode" in str(error):
                raise ValueError(
                    f"Redis URL {address.shown!r} names database {address.database}: a Redis Cluster has database 0 "
                    "and no other"
                ) from error
            raise ConnectionError(f"Redis at {address.shown} {_reason(error, address)}") from error


def _await_answer(probe: redis.Redis, address: Address) -> None:
    """Ping until the server answers; one that is still loading its data is given the same 3 s."""
    deadline = time.monotonic() + CONNECT_SECONDS
    while True:
        try:
            probe.ping()
            return
        except redis.BusyLoadingError as error:
            if time.monotonic() > deadline:
                raise ConnectionError(f"Redis at {address.shown} is still loading its data") from error
            time.sleep(0.05)


def _knows_slots(probe: redis.Redis, address: Address) -> bool:
    """Ask for the map of slots, the one thing that a cluster's clients must be allowed to ask."""
    try:
        probe.execute_command("CLUSTER SLOTS")
    except NoPermissionError as error:
        try:
            in_cluster = probe.info("cluster").get("cluster_enabled")
        except redis.ResponseError:
            return False  # A single server that lets its users ask nothing; a cluster nobody could use.
        if in_cluster:
            raise ConnectionError(
                f"Redis at {address.shown} is a cluster, and user {address.user or 'default'} may not run CLUSTER "
                "SLOTS there: `twist redis-users` prints the rights that are needed"
            ) from error
        return False
    except redis.ResponseError:
        return False
    if address.scheme == "unix":
        raise ValueError(f"Redis URL {address.shown!r} is a node of a Redis Cluster: give it as redis://host:port")
    return True


def _connect_to_cluster(url: str, address: Address) -> RedisCluster:
    where = f"the Redis Cluster at {address.shown}"
    try:
        client = RedisCluster.from_url(
            url,
            socket_connect_timeout=CONNECT_SECONDS,
            socket_timeout=ANSWER_SECONDS,
            retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=1.0), RETRIES),
        )
    except UNAVAILABLE as error:
        raise ConnectionError(f"{where} cannot be used: {_one_line(error)}") from error
    for name, node in nodes(client).items():
        # The addresses are those that the nodes tell: behind a firewall or another network they may not be ours.
        try:
            node.ping()
        except UNAVAILABLE as error:
            client.close()
            raise ConnectionError(f"{name} {_reason(error, address)}") from error
    return client


def _reason(error: BaseException, address: Address) -> str:
    """Say in one line why a server is of no use, and what to do about it."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"is not trusted: {cause.verify_message}{_way_out(cause.verify_code)}"
        if isinstance(cause, ssl.SSLError):
            said = (cause.reason or "").replace("_", " ").lower() or _one_line(cause)
            return f"does not come to terms over TLS: {said}{_tls_hint(said)}"
    said = _one_line(error)
    if "NOAUTH" in said or "HELLO must be called with the client already authenticated" in said:
        return "asks for a password: give user and password in the URL"
    if isinstance(error, redis.AuthenticationError):
        return "refuses user or password of the URL"
    if isinstance(error, NoPermissionError):
        return f"lacks rights of user {address.user or 'default'}: {said}; `twist redis-users` prints those needed"
    return f"does not answer: {said}{_hint(error, said, address)}"


def _hint(error: BaseException, said: str, address: Address) -> str:
    """What a silence may mean: neither a server nor a client without TLS understands what the other says."""
    cut_off = isinstance(error, redis.InvalidResponse) or "closed by server" in said or "reset by peer" in said
    if address.scheme == "redis":
        return "; if it expects TLS, the URL begins with rediss://" if cut_off else ""
    if address.scheme == "rediss":
        return _tls_hint("eof" if cut_off else "record layer" if "Timeout" in said else "")
    return ""


def _way_out(verify_code: int) -> str:
    if verify_code in _UNKNOWN_AUTHORITY:
        return "; give the certificate of the authority that signed the server's in ssl_ca_certs"
    if verify_code in _ANOTHER_HOST:
        return "; give the host as it is named in the server's certificate"
    return ""


def _tls_hint(said: str) -> str:
    if "wrong version number" in said or "record layer" in said:
        return "; if it has no TLS, the URL begins with redis://"
    if any(sign in said.lower() for sign in ("certificate required", "handshake failure", "bad certificate", "eof")):
        return "; if it wants a certificate of its clients, give one that it accepts in ssl_certfile and ssl_keyfile"
    return ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__ or current.__context__


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
