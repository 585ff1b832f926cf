"""Errors which the user can put right: one clear line on stderr, exit code 2, nothing started or overwritten."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_MOST_LETTERS = 1_500
"""Of a message: it may show a value out of a file that anybody wrote."""


def _one_line(message: str) -> str:
    joined = " ".join(message.split())
    return joined if len(joined) <= _MOST_LETTERS else f"{joined[:_MOST_LETTERS]}..."


class UserError(Exception):
    """What was asked for cannot be done; the message names the value and what is allowed, in one line."""

    def __init__(self, message: str) -> None:
        """Joins the lines of `message` (other libraries' messages often have several) into one."""
        super().__init__(_one_line(message))


class RunEndedError(RuntimeError):
    """A run that was under way cannot go on; the message says why in one line. What it has is kept; exit code 1."""

    def __init__(self, message: str) -> None:
        """As `UserError`."""
        super().__init__(_one_line(message))


@contextmanager
def user_errors() -> Iterator[None]:
    """Turns the errors that the packages raise about what they were given into a `UserError`.

    Only for start-up: once a run is under way, a `ValueError` is a fault of ours and deserves its traceback.

    Raises:
        UserError: for a `ValueError`, `ConnectionError` or `OSError` (file missing, not a directory, no permission,
            disk full, ...) in the block.
    """
    try:
        yield
    except OSError as error:
        if error.strerror and error.filename:
            raise UserError(f"{error.filename}: {error.strerror}") from error
        raise UserError(str(error)) from error
    except ValueError as error:
        raise UserError(str(error)) from error
