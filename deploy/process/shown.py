"""What only shows never ends what works: the terminal, pictures, TensorBoard, Prometheus, the log.

    with shown("TensorBoard"):      whatever goes wrong in the block is written down once, in logs/driver.log; no more
        ...
    with guarded_streams():         print and rich may write to a stdout that is closed, full, or knows no "–"

The truth itself (metrics.jsonl, checkpoints, report.json) is never put in such a block.
"""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any, Final, TextIO, cast

LOGGER = logging.getLogger(__name__)

_told: Final[set[str]] = set()


@contextlib.contextmanager
def shown(what: str) -> Iterator[None]:
    """Guards a block that only shows something.

    Args:
        what: it shows, in words; of each, the first failure is told.
    """
    try:
        yield
    except Exception as error:  # whatever it is: nothing that works depends on it
        _tell(what, error, logging.WARNING)


def _tell(what: str, error: BaseException, level: int) -> None:
    if what not in _told:
        _told.add(what)
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        LOGGER.log(level, "%s cannot be shown, and no more is said of it: %s", what, reason)
        LOGGER.info("where that was", exc_info=error)


class GuardedStream(io.TextIOBase):
    """A stream that is written to as long as it takes it; then what is written is dropped."""

    def __init__(self, stream: TextIO, what: str) -> None:
        """Guards a stream.

        Args:
            stream: open, or None where the process was started without it.
            what: it is called.
        """
        self.guarded, self._what = stream, what
        self.error: OSError | None = None
        """Why it takes no more."""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Of the stream."""
        return self.guarded.encoding or "utf-8"

    def write(self, text: str, /) -> int:
        """Writes what the encoding has, and a question mark for what it has not."""
        if self.error is None:
            known = text.encode(self.encoding, "replace").decode(self.encoding)
            self._try(lambda: self.guarded.write(known))
        return len(text)

    def writelines(self, lines: Iterable[str], /) -> None:  # type: ignore[override]
        """See `write`."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flushes, if it takes that."""
        if self.error is None:
            self._try(self.guarded.flush)

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self.error is None and self.guarded.isatty()

    def fileno(self) -> int:
        """Of the stream."""
        return self.guarded.fileno()

    def writable(self) -> bool:
        """It is, whatever becomes of it."""
        return True

    def __getattr__(self, name: str) -> Any:
        return getattr(self.guarded, name)

    def _try(self, work: Any) -> None:
        try:
            work()
        except (OSError, ValueError) as error:  # ValueError: somebody has closed it
            self.error = error if isinstance(error, OSError) else OSError(errno.EBADF, str(error))
            with contextlib.suppress(OSError, ValueError):
                # What Python still holds of it goes nowhere, in place of a complaint at the interpreter's end.
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, self.guarded.fileno())
                os.close(null)
            _tell(self._what, self.error, logging.INFO)  # for the run's log, not for a terminal that is just as gone


@contextlib.contextmanager
def guarded_streams() -> Iterator[GuardedStream]:
    """In the block, which is a whole command, stdout and stderr are guarded.

    Yields:
        stdout, for who wants to know whether all of it was taken.
    """
    _told.clear()
    for number in range(3):  # a file that we open must not become what libraries take for stdout or stderr
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    before = sys.stdout, sys.stderr
    out, err = (
        GuardedStream(stream or open(os.devnull, "w", encoding="utf-8"), name)  # noqa: SIM115 - as long as the process
        for stream, name in ((sys.stdout, "stdout"), (sys.stderr, "stderr"))
    )
    sys.stdout, sys.stderr = cast(TextIO, out), cast(TextIO, err)
    try:
        yield out
    finally:
        out.flush()
        err.flush()
        sys.stdout, sys.stderr = before
