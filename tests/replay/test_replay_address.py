"""URLs: what is taken, what is refused, and that no secret is ever shown."""

from __future__ import annotations

import pytest

from replay import connect
from replay.address import Address, redact

BEFORE_ESCAPES = (
    "host, port, database or option; in a user or password, write '/', '?', '#', '@' and '%' percent-encoded"
)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://10.0.0.1:6380/0", "redis://10.0.0.1:6380/0"),
        ("redis://:hunter2@host:6380/0", "redis://***@host:6380/0"),
        ("rediss://me:hunter2@host:6380", "rediss://***@host:6380"),
        ("redis://me:hun/t#e@r2@host", "redis://***@host"),
        ("redis://me:hun?ter2@host", "redis://***@host"),
        ("me:hunter2@host:6380", "***@host:6380"),
        ("redis://me:hunter2host:6380/1", "redis://me:***/1"),
        ("redis://[::1]:6380/0", "redis://[::1]:6380/0"),
        ("unix:///tmp/r.sock?db=1&password=hunter2&protocol=2", "unix:///tmp/r.sock?db=1&password=***&protocol=2"),
        ("redis://host?pass%77ord=hunter2", "redis://host?pass%77ord=***"),
        ("redis://host?passwort=hunter2&username=me", "redis://host?passwort=***&username=***"),
        ("rediss://host?ssl_ca_certs=/ca.pem&ssl_password=x", "rediss://host?ssl_ca_certs=/ca.pem&ssl_password=***"),
    ],
)
def test_a_password_is_never_shown(url: str, shown: str) -> None:
    assert redact(url) == shown


@pytest.mark.parametrize(
    ("url", "scheme", "database", "user", "has_password"),
    [
        ("redis://host", "redis", 0, "", False),
        ("redis://me@host:6380/3", "redis", 3, "me", False),
        ("redis://me:p%40ss@host?db=2", "redis", 2, "me", True),
        ("rediss://:secret@[::1]:6380/0?ssl_check_hostname=false", "rediss", 0, "", True),
        ("unix:///tmp/r.sock?username=me&password=p", "unix", 0, "me", True),
        ("redis://host?pass%77ord=hunter2", "redis", 0, "", True),
    ],
)
def test_a_url_is_taken_apart(url: str, scheme: str, database: int, user: str, has_password: bool) -> None:
    found = Address.of(url)
    assert (found.scheme, found.database, found.user, found.has_password) == (scheme, database, user, has_password)
    assert found.shown == redact(url)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("localhost:6380", "allowed are redis://, rediss://, unix://"),
        ("http://me:hunter2@host", "allowed are redis://, rediss://, unix://"),
        ("", "allowed are redis://, rediss://, unix://"),
        ("redis://:hunter2@host:port", BEFORE_ESCAPES),
        ("redis://:hun/ter2@host", BEFORE_ESCAPES),
        ("redis://:hun#ter2@host", BEFORE_ESCAPES),
        ("redis://me:hunter2host", BEFORE_ESCAPES),
        ("redis://", BEFORE_ESCAPES),
        ("unix://", BEFORE_ESCAPES),
        ("redis://host:70000", BEFORE_ESCAPES),
        ("redis://host/one", BEFORE_ESCAPES),
    ],
)
def test_what_is_no_redis_url_is_refused_without_its_password(url: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        connect(url)
    assert str(caught.value) == f"Redis URL {redact(url)!r} is not valid: {message}"
    assert "ter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        (
            "redis://host?socket_timeout=9",
            "has an option that is not known: allowed are db, username, password, protocol",
        ),
        ("redis://host?db=first", "has db='first': a whole number, at least 0, is allowed"),
        ("redis://host?protocol=4", "has protocol='4': allowed are 2, 3"),
    ],
)
def test_an_option_that_cannot_be_is_refused_with_what_is_allowed(url: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        connect(url)
    assert str(caught.value) == f"Redis URL {redact(url)!r} {message}"
