import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from counting_world import SIM, counting_spec
from seeded_policy import SeededPolicy

from actors import ActorsConfig, RolloutWorker
from replay import EmbeddedServer, ReplayConfig, ReplayStore, StreamSpec, connect
from sim import make_env

_RUN_NUMBERS = itertools.count()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(Path(tmp_path_factory.mktemp("replay")), max_bytes=ReplayConfig().memory_bytes) as running:
        yield running


@pytest.fixture
def make_store(server: EmbeddedServer) -> Callable[..., ReplayStore]:
    """Makes the store of a run of its own."""
    client = connect(server.url)

    def make(spec: StreamSpec | None = None, config: ReplayConfig | None = None) -> ReplayStore:
        run_id = f"run{next(_RUN_NUMBERS)}"
        return ReplayStore(client, run_id, spec or counting_spec(), config or ReplayConfig())

    return make


@pytest.fixture
def make_worker() -> Callable[..., RolloutWorker]:
    """Makes a worker on counting environments that the seeded policy drives."""

    def make(store: ReplayStore, **changes: object) -> RolloutWorker:
        arguments: dict[str, object] = {
            "make_env": lambda: make_env("counting", SIM),
            "policy": SeededPolicy(store.spec.action_dim),
            "config": ActorsConfig(envs_per_actor=3),
            "actor_id": "actor0",
            "seed": 0,
            **changes,
        }
        return RolloutWorker(store=store, run_id=store.run_id, **arguments)

    return make
