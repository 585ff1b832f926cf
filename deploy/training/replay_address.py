"""Where a run's Redis server is, and how its URL gets to the processes without anybody else reading it.

    --redis-url URL             a server without a password: whoever may log in to a machine can read its command lines
    TWIST_REDIS_URL             any server; read by `twist train` and `twist doctor` where --redis-url is not given
    TWIST_ACTOR_REDIS_URL       what actors are given instead, and
    TWIST_LEARNER_REDIS_URL     the learner: the same server, by users with fewer rights (`twist redis-users`)

The URL goes to actors and learner through Ray, in memory; nothing writes it down but without user and password.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Final

from deploy.errors import UserError, user_errors
from deploy.settings.config import RunConfig
from replay.access import ALL_ROLES, DELETER
from replay.address import Address
from replay.connection import connect
from replay.store import ReplayStore
from replay.suitability import require_suitable

VARIABLE: Final = "TWIST_REDIS_URL"
ROLE_VARIABLES: Final = {"actor": "TWIST_ACTOR_REDIS_URL", "learner": "TWIST_LEARNER_REDIS_URL"}


@dataclass(frozen=True)
class ReplayUrls:
    """The run's Redis server as each role reaches it; not shown, as they may hold passwords."""

    driver: str = field(repr=False)
    actor: str = field(repr=False)
    learner: str = field(repr=False)

    @classmethod
    def of(cls, url: str) -> ReplayUrls:
        """One server's, with what the environment says of actors and learner."""
        by_role = {role: os.environ.get(variable) or url for role, variable in ROLE_VARIABLES.items()}
        return cls(driver=url, **by_role)

    @classmethod
    def embedded(cls, url: str) -> ReplayUrls:
        """Of a server of our own, which everybody reaches alike."""
        return cls(url, url, url)


def given_url(option: str | None) -> str | None:
    """The URL that the command line or the environment gives, or None.

    Args:
        option: what stands behind --redis-url.

    Raises:
        UserError: it is not a URL of a Redis server, or --redis-url holds a password.
    """
    url = option if option is not None else os.environ.get(VARIABLE) or None
    if url is None:
        return None
    try:
        address = Address.of(url)
    except ValueError as error:
        raise UserError(str(error) if option is not None else f"{VARIABLE}: {error}") from None
    if option is not None and address.has_password:
        raise UserError(
            f"--redis-url {address.shown} holds a password, which everybody on this machine can read in the list of "
            f"processes: give the URL in the environment variable {VARIABLE}"
        )
    return url


def require_replay(config: RunConfig, run_id: str | None) -> list[str]:
    """Tries the given server, as each role that will use it, and looks whether it can hold the replay.

    Args:
        config: of the run; `redis_url` is given.
        run_id: of a run that is there already.

    Returns:
        What there is to know about it, one line each.

    Raises:
        UserError: it cannot be used; nothing of the run has been touched.
    """
    assert config.redis_url is not None
    urls = ReplayUrls.of(config.redis_url)
    roles: dict[str, list[str]] = {urls.driver: ["driver"]}
    if config.mode == "debug":
        roles = {urls.driver: [ALL_ROLES]}
    else:
        roles.setdefault(urls.actor, []).append("actor")
        roles.setdefault(urls.learner, []).append("learner")
    if config.replay.delete_at_end:
        roles[urls.driver].append(DELETER)
    notes: list[str] = []
    with user_errors():
        for url, of_url in roles.items():
            with connect(url) as client:
                found = require_suitable(client, config.replay, of_url, **({"run_id": run_id} if run_id else {}))
            notes += [note for note in found if note not in notes]
    return notes


def require_one_server(urls: ReplayUrls, run_id: str) -> None:
    """Refuses roles whose URL leads elsewhere than to the run's replay, which has been begun.

    Raises:
        UserError: naming the environment variable.
    """
    for role, variable in ROLE_VARIABLES.items():
        url = getattr(urls, role)
        if url == urls.driver:
            continue
        with user_errors(), connect(url) as client:
            if not ReplayStore.is_begun(client, run_id):
                shown = Address.of(url).shown
                raise UserError(f"{variable} is {shown}: that is another server, or another database, than the run's")
