import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import LOCAL, completed

for variable in ("TWIST_REDIS_URL", "TWIST_ACTOR_REDIS_URL", "TWIST_LEARNER_REDIS_URL"):
    os.environ.pop(variable, None)  # the tests' runs are not for the server of whoever runs the tests

# Ray runs its workers at nice 15: where every core has a test of its own they would hardly run at all.
os.environ.setdefault("RAY_worker_niceness", "0")


LONGEST = (
    *("test_faults.py", "test_signals.py", "test_replay_ratio.py", "test_pool.py", "test_learner_cuda.py"),
    *("test_endings.py", "test_curve.py", "test_sweep.py", "test_losses.py", "test_command_line.py"),
)
"""Files with most to wait for. They begin first, so that no core stands idle while the last of them ends."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(LONGEST)))


@pytest.fixture(scope="module")
def ray_here() -> Iterator[None]:
    """A Ray of this process, with four CPUs."""
    os.environ["RAY_AUTH_MODE"] = "disabled"  # tokens guard servers that others can reach; this one is on loopback
    import ray
    from ray._private.authentication_test_utils import reset_auth_token_state

    reset_auth_token_state()  # other tests of this process may have had one
    ray.init(
        address="local",
        num_cpus=4,
        include_dashboard=False,
        object_store_memory=100 * 2**20,
        log_to_driver=False,
        logging_level="ERROR",
        _node_ip_address="127.0.0.1",
    )
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in local mode that has come to its end; for reading, or for a command that leaves it as it is."""
    run = tmp_path_factory.mktemp("finished") / "run"
    completed("train", "reach", *LOCAL, "--run-dir", str(run))
    return run
