"""Reads the arguments of commands; what is wrong with them is said in one line."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, TypeVar

from deploy.errors import UserError
from deploy.process.places import expanded, is_url, local_path
from deploy.remote.storage import check_url

T = TypeVar("T")


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

    # What several commands take, so that it is called and limited alike.

    def add_run(self, about: str = "path or URL") -> None:
        """RUN, a `place`."""
        self.add_argument("run", metavar="RUN", type=place, help=about)

    def add_episodes(self, default: int, about: str) -> None:
        """--episodes, at least 1."""
        self.add_argument(
            "--episodes", metavar="N", type=whole(1), default=default, help=f"{about} (default: {default})"
        )

    def add_seed(self, about: str = "the same seed, the same episodes") -> None:
        """--seed, 0 by default."""
        self.add_argument("--seed", metavar="N", type=whole(0), default=0, help=about)

    def add_domain(self, *, lab: bool = True) -> None:
        """--domain, the held-out one by default; the lab only where nothing is chosen by what comes out."""
        of_the_lab = ", lab, lab:ROOM" if lab else ""
        about = (
            f"visual worlds: train, held_out, held_out:GROUP,..., alone:CHANGE{of_the_lab} (default: held_out); "
            "twist factors --list TASK prints groups, changes and rooms"
        )
        read = domain if lab else choosing_domain
        self.add_argument("--domain", metavar="DOMAIN", type=read, default="held_out", help=about)

    def add_json(self) -> None:
        """--json."""
        self.add_argument("--json", action="store_true", help="print one line of JSON")


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


def domain(text: str) -> str:
    """An argument's type: a visual domain."""
    from sim import checked_domain

    try:
        return checked_domain(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def choosing_domain(text: str) -> str:
    """An argument's type: a visual domain by which something may be chosen, so none of the lab's."""
    from sim import is_of_the_lab

    found = domain(text)
    if is_of_the_lab(found):
        raise argparse.ArgumentTypeError(
            f"{text} is not allowed, as no snapshot may be chosen by the lab: train, held_out, held_out:GROUP,... or "
            "alone:CHANGE"
        )
    return found


def path(text: str) -> Path:
    """An argument's type: a path of this machine."""
    return _said_by_argparse(local_path, text)


def place(text: str) -> str:
    """An argument's type: a path of this machine or the URL of a directory."""
    found = named(text)
    return check_url(found) if is_url(found) else found


def named(text: str) -> str:
    """An argument's type: a name, or a path or URL of whatever kind."""
    return _said_by_argparse(expanded, text)


def _said_by_argparse(read: Callable[[str], T], text: str) -> T:
    """With the argument's name before it."""
    try:
        return read(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
