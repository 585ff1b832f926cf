"""Warnings of a process whose terminal nobody sees: kept, counted, and handed on with its next answer."""

import contextlib
import logging
from collections import Counter
from typing import Final

MOST: Final = 20
"""Different ones between two answers; the rest is counted as `OTHERS`."""
LONGEST: Final = 400
"""Characters of one."""
OTHERS: Final = "other warnings"


class KeptWarnings(logging.Handler):
    """Takes what is logged as a warning or worse, and Python's own warnings; its node's log has them as before."""

    def __init__(self) -> None:
        """Listens from now on."""
        super().__init__(logging.WARNING)
        self._counts: Counter[str] = Counter()
        logging.captureWarnings(True)
        logging.getLogger().addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Called by logging, one at a time."""
        text = " ".join(f"{record.name}: {record.getMessage()}".split())[:LONGEST]
        known = text in self._counts or len(self._counts) < MOST
        self._counts[text if known else OTHERS] += 1
        if logging.lastResort is not None:
            logging.lastResort.handle(record)

    def take(self) -> tuple[tuple[str, int], ...]:
        """Those since it was called last: what was said, and how often."""
        with self.lock or contextlib.nullcontext():
            counts, self._counts = self._counts, Counter()
        return tuple(counts.items())
