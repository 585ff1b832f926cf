from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from chunk_making import RUN, SPEC

from replay import EmbeddedServer, ReplayConfig, ReplayStore, StreamSpec, connect

Open = Callable[..., ReplayStore]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedServer]:
    """A real, empty redis-server of the test's own; it starts in a few hundredths of a second."""
    with EmbeddedServer(tmp_path / "redis", max_bytes=2**30) as running:
        yield running


@pytest.fixture
def client(server: EmbeddedServer) -> Iterator[redis.Redis]:
    """Connected to the test's server."""
    connected = connect(server.url)
    yield connected
    connected.close()


@pytest.fixture
def open_store(client: redis.Redis) -> Open:
    """Opens a run's replay; a second call is a second process as far as Redis can tell."""

    def open_(run_id: str = RUN, spec: StreamSpec = SPEC, **settings: object) -> ReplayStore:
        values = {"capacity_steps": 1000, "capacity_bytes": 2**20, "retry_seconds": 0.2, **settings}
        return ReplayStore(client, run_id, spec, ReplayConfig(**values))  # type: ignore[arg-type]

    return open_
