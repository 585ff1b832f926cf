"""Connections to Redis with explicit time-outs and retries, and messages that never show a password."""

from __future__ import annotations

import re
import time
from typing import Final

import redis
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.retry import Retry

SCHEMES: Final = ("redis", "rediss", "unix")

# redis-py's own defaults (5 s per answer, ten retries) turn a dead server into a minute of silence.
CONNECT_SECONDS: Final = 3.0
ANSWER_SECONDS: Final = 20.0
RETRIES: Final = 3


def redact(url: str) -> str:
    """Return the URL without its user and password, also where those contain unescaped '/', '@' or '#'."""
    without_userinfo = re.sub(r"^([a-z+]*://).*@", r"\1***@", url, count=1, flags=re.IGNORECASE | re.DOTALL)
    return re.sub(r"([?&](?:username|password|ssl_password)=)[^&]*", r"\1***", without_userinfo)


def connect(url: str) -> redis.Redis:
    """Connect to a Redis server and make sure that it answers.

    The client reconnects by itself, tries each command up to four times within seconds, and may be used by several
    threads. A repeated command does no harm: puts are counted once however often they are sent.

    Args:
        url: ``redis://[user:password@]host[:port][/db]``, ``rediss://`` for TLS, or ``unix:///path``.

    Raises:
        ValueError: If the URL is not one of these.
        ConnectionError: If the server does not answer, or not to us, within about 3 s.
    """
    scheme = url.partition("://")[0]
    if scheme not in SCHEMES or "://" not in url:
        raise ValueError(f"Redis URL {redact(url)!r} is not valid: allowed are {', '.join(s + '://' for s in SCHEMES)}")
    _wait_for_answer(url)
    return redis.Redis.from_url(
        url,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=ANSWER_SECONDS,
        health_check_interval=30,
        retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=1.0), RETRIES),
    )


def server_name(client: redis.Redis) -> str:
    """Return where a client's server is, for messages: host and port or the socket's path."""
    settings = client.connection_pool.connection_kwargs
    if "path" in settings:
        return f"unix://{settings['path']}"
    return f"redis://{settings.get('host', 'localhost')}:{settings.get('port', 6379)}/{settings.get('db') or 0}"


def _wait_for_answer(url: str) -> None:
    """Ping until the server answers; one that is still loading its data is given the same 3 s."""
    deadline = time.monotonic() + CONNECT_SECONDS
    while True:
        try:
            timeouts = {"socket_connect_timeout": CONNECT_SECONDS, "socket_timeout": CONNECT_SECONDS}
            probe = redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), **timeouts)
        except (ValueError, TypeError):
            # The cause may quote the part of the URL that holds the password.
            raise ValueError(f"Redis URL {redact(url)!r} is not valid: host, port, database or option") from None
        try:
            probe.ping()
            return
        except redis.BusyLoadingError as error:
            if time.monotonic() > deadline:
                raise ConnectionError(f"Redis at {redact(url)} is still loading its data") from error
            time.sleep(0.05)
        except (redis.RedisError, OSError) as error:
            raise ConnectionError(f"Redis at {redact(url)} does not answer: {error}") from error
        finally:
            probe.close()
