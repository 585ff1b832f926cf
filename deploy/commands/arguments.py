"""Reads the arguments of commands; what is wrong with them is said in one line."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from deploy.errors import UserError


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage."""

    def __init__(self, command: str, description: str, epilog: str = "") -> None:
        super().__init__(
            prog=f"twist {command}",
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        """Called by argparse for what it cannot read.

        Raises:
            UserError: always.
        """
        raise UserError(f"{message} ({self.prog} --help)")


def whole(minimum: int) -> Callable[[str], int]:
    """An argument's type: whole numbers from `minimum` on."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = minimum - 1
        if number < minimum:
            raise argparse.ArgumentTypeError(f"{text} is not allowed: a whole number, at least {minimum}")
        return number

    return parse


def writable_file(path: Path) -> None:
    """Looks whether a file could be written there, before the work that would be lost.

    Raises:
        UserError: it cannot.
    """
    if not path.parent.is_dir():
        raise UserError(f"{path}: there is no directory {path.parent}")
    if path.is_dir():
        raise UserError(f"{path}: is a directory, a file is wanted")
