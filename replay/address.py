"""The URL of a Redis server: what may stand in it, and how it is shown without its secrets.

::

    redis://[user:password@]host[:port][/database][?option=value&...]      rediss:// the same, through TLS
    unix:///path[?db=N&username=...&password=...]

User and password are percent-encoded where they hold characters that mean something in a URL. All options are known
here: one that is misspelt would otherwise be handed to a client that ignores it, and a connection less safe than was
asked for would come about.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from redis.connection import parse_url

SCHEMES: Final = ("redis", "rediss", "unix")

_SECRETS: Final = ("username", "password", "ssl_password")
_OPTIONS: Final = ("db", "username", "password", "protocol")
_TLS_OPTIONS: Final = (
    "ssl_ca_certs",
    "ssl_ca_path",
    "ssl_certfile",
    "ssl_keyfile",
    "ssl_password",
    "ssl_cert_reqs",
    "ssl_check_hostname",
)
_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "ssl_cert_reqs": ("required", "optional", "none"),
    "ssl_check_hostname": ("true", "false", "yes", "no"),
    "protocol": ("2", "3"),
}


@dataclass(frozen=True)
class Address:
    """A URL that has been looked at. It is printed without its secrets.

    Attributes:
        shown: The URL for messages.
        scheme: One of `SCHEMES`.
        database: Number of the database.
        user: Name of the user; empty for the default one.
        has_password: Whether there is one in the URL.
    """

    shown: str
    scheme: str
    database: int
    user: str
    has_password: bool

    @classmethod
    def of(cls, url: str) -> Address:
        """Take a URL apart.

        Raises:
            ValueError: In one line and without its secrets, what is wrong with it and what is allowed.
        """
        shown = redact(url)
        parts = _split(url, shown)
        for name, value in parse_qsl(parts.query, keep_blank_values=True):
            _check_option(name, value, parts.scheme, shown)
        try:
            settings = cast(dict[str, Any], parse_url(url))
        except (ValueError, TypeError):
            # The cause may quote the part of the URL that holds the password.
            raise ValueError(f"Redis URL {shown!r} is not valid: host, port, database or option") from None
        if parts.scheme == "rediss":
            _check_files(settings, shown)
        return cls(
            shown,
            parts.scheme,
            int(settings.get("db") or 0),
            str(settings.get("username") or ""),
            bool(settings.get("password") or settings.get("ssl_password")),
        )


def redact(url: str) -> str:
    """Return the URL without its user and passwords, also where those contain unescaped '/', '@' or '#'."""
    bare = re.sub(r"^([a-z+]*://)?.*@", r"\1***@", url, count=1, flags=re.IGNORECASE | re.DOTALL)
    # What stands where the port should be may be the password of a URL whose '@' was forgotten.
    bare = re.sub(r"^([a-z+]*://[^/?#\[]*?):(?!\d*([/?#]|$))[^/?#]*", r"\1:***", bare)
    bare, question, options = bare.partition("?")
    return bare + question + "&".join(_redact_option(option) for option in options.split("&"))


def _redact_option(option: str) -> str:
    """An option that is not known may be a misspelt password."""
    name, equals, _ = option.partition("=")
    known = name in (*_OPTIONS, *_TLS_OPTIONS) and unquote(name) not in _SECRETS
    return option if known or not equals else f"{name}=***"


def _split(url: str, shown: str) -> SplitResult:
    scheme = url.partition("://")[0]
    if scheme not in SCHEMES or "://" not in url:
        raise ValueError(f"Redis URL {shown!r} is not valid: allowed are {', '.join(s + '://' for s in SCHEMES)}")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(f"{scheme}://"), 0
    if scheme == "unix":
        fits = bool(parts.path)
    else:
        fits = bool(parts.hostname) and port != 0 and re.fullmatch(r"/?\d*", parts.path) is not None
    if not fits or parts.fragment:
        raise ValueError(
            f"Redis URL {shown!r} is not valid: host, port, database or option; in a user or password, write '/', '?', "
            "'#', '@' and '%' percent-encoded"
        )
    return parts


def _check_option(name: str, value: str, scheme: str, shown: str) -> None:
    allowed = (*_OPTIONS, *_TLS_OPTIONS) if scheme == "rediss" else _OPTIONS
    if name in _TLS_OPTIONS and scheme != "rediss":
        raise ValueError(f"Redis URL {shown!r} has option {name}, but no TLS: it begins with rediss:// where there is")
    if name not in allowed:
        raise ValueError(f"Redis URL {shown!r} has an option that is not known: allowed are {', '.join(allowed)}")
    if name in _CHOICES and value.lower() not in _CHOICES[name]:
        choices = ", ".join(_CHOICES[name])
        raise ValueError(f"Redis URL {shown!r} has {name}={value!r}: allowed are {choices}")
    if name == "db" and not value.isdecimal():
        raise ValueError(f"Redis URL {shown!r} has db={value!r}: a whole number, at least 0, is allowed")


def _check_files(settings: Mapping[str, Any], shown: str) -> None:
    """Read the certificates once, so that what is wrong with a file is said with its name."""
    authorities, own, key = (settings.get(name) for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"))
    if key and not own:
        raise ValueError(f"Redis URL {shown!r} has ssl_keyfile and no ssl_certfile: give both")
    for option, path in (("ssl_ca_certs", authorities), ("ssl_certfile", own), ("ssl_keyfile", key)):
        try:
            if path:
                with open(path, "rb"):
                    pass
        except OSError as error:
            raise ValueError(f"{option} of the Redis URL is {path}: {error.strerror}") from error
    context = ssl.create_default_context()
    try:
        if authorities:
            context.load_verify_locations(authorities)
    except ssl.SSLError:
        raise ValueError(f"ssl_ca_certs of the Redis URL is {authorities}: holds no certificate in PEM form") from None
    try:
        if own:
            # A password is always given: without one, a key that has one would be asked for at the terminal.
            context.load_cert_chain(own, key, settings.get("ssl_password") or "")
    except ssl.SSLError:
        raise ValueError(
            f"ssl_certfile and ssl_keyfile of the Redis URL are {own} and {key or 'not given'}: they hold no "
            "certificate and its key in PEM form, or ssl_password is not the key's"
        ) from None
