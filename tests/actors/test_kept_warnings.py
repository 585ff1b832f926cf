"""What a process far away warns of: kept, counted and bounded."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator

import pytest

from actors.kept_warnings import LONGEST, MOST, OTHERS, KeptWarnings


@pytest.fixture
def kept() -> Iterator[KeptWarnings]:
    handler = KeptWarnings()
    yield handler
    logging.captureWarnings(False)
    logging.getLogger().removeHandler(handler)


def test_warnings_of_libraries_and_of_python_are_taken_once_with_their_number(
    kept: KeptWarnings, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3):
        logging.getLogger("redis").warning("slow\nserver")
    logging.getLogger("redis").info("nothing")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("overflow encountered in multiply", RuntimeWarning, stacklevel=1)
    ((redis, count), (python, once)) = kept.take()
    assert (redis, count, once) == ("redis: slow server", 3, 1)
    assert python.startswith("py.warnings: ")
    assert "RuntimeWarning: overflow encountered in multiply" in python
    assert kept.take() == ()
    assert capsys.readouterr().err.count("slow\nserver") == 3  # its node's log has them as before


def test_they_are_bounded(kept: KeptWarnings) -> None:
    for number in range(MOST + 5):
        logging.getLogger("a").error("%d %s", number, "x" * 2 * LONGEST)
    taken = dict(kept.take())
    assert len(taken) == MOST + 1
    assert taken[OTHERS] == 5
    assert max(map(len, taken)) == LONGEST
