import os
from pathlib import Path

import pytest
from running import LOCAL, completed

for variable in ("TWIST_REDIS_URL", "TWIST_ACTOR_REDIS_URL", "TWIST_LEARNER_REDIS_URL"):
    os.environ.pop(variable, None)  # the tests' runs are not for the server of whoever runs the tests

# Ray runs its workers at nice 15: where every core has a test of its own they would hardly run at all.
os.environ.setdefault("RAY_worker_niceness", "0")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in local mode that has come to its end; for reading, or for a command that leaves it as it is."""
    run = tmp_path_factory.mktemp("finished") / "run"
    completed("train", "reach", *LOCAL, "--run-dir", str(run))
    return run
