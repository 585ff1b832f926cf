"""The engines that the tests of robot, tasks and environment run in."""

from typing import Any

import pytest

from sim.backends import make_engine
from sim.config import WORLDS
from sim.engine import Engine

PHYSICS_HZ = 120


def _is_there(name: Any) -> bool:
    try:
        make_engine(PHYSICS_HZ, name).close()
    except ValueError:
        return False
    return True


ENGINES = [
    pytest.param(name, marks=pytest.mark.skipif(not _is_there(name), reason=f"{name} is not installed"))
    for name in WORLDS
]
"""What a test is parametrised with that runs in every engine."""


def empty_world(name: Any) -> Engine:
    return make_engine(PHYSICS_HZ, name)
