"""Reads a command's arguments; what is wrong with them is said in one line."""

from __future__ import annotations

import argparse
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
