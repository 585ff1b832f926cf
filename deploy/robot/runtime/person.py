"""The person beside the robot: may hold it, take it over, hand it back, let it take one step, and stop."""

from __future__ import annotations

import contextlib
import math
import os
import select
import sys
import termios
import tty
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TextIO

import numpy as np
from numpy.typing import NDArray

from .contract import Action

KEYS = "space: hold or go on   t: take over or hand back   w/s a/d r/f o/c: move, fingers   enter: one step   q: stop"


@dataclass(frozen=True)
class Wishes:
    """What a person wants of this tick.

    Attributes:
        stop: end the run.
        hold: stand still, whoever drives.
        step: let one step happen, where it is asked for each.
        action: [A] of the person who has taken over, nan where an entry stays as it is; None: the policy drives.
    """

    stop: bool = False
    hold: bool = False
    step: bool = False
    action: NDArray[np.float32] | None = None


class Person(Protocol):
    """Asked once a tick."""

    @property
    def watches(self) -> bool:
        """Whether somebody is there to be asked before a real robot moves to its start."""

    def wishes(self) -> Wishes:
        """At once."""

    def told(self, words: str) -> None:
        """Takes in what the robot waits for."""


class Nobody:
    """Wants nothing."""

    watches = False

    def wishes(self) -> Wishes:
        """See `Person.wishes`."""
        return Wishes(step=True)

    def told(self, words: str) -> None:
        """See `Person.told`."""


_MOVES = {"w": ("x", 1.0), "s": ("x", -1.0), "a": ("y", 1.0), "d": ("y", -1.0), "r": ("z", 1.0), "f": ("z", -1.0)}
_FINGERS = {"o": 1.0, "c": -1.0}


class Keyboard:
    """Keys of a terminal, see `KEYS`.

    A key that moves counts for one tick; where each step is waited for it is one. Who takes over has the fingers as
    they are until a key moves them.
    """

    watches = True

    def __init__(self, terms: Action, stream: TextIO | None = None) -> None:
        self._names = [entry.name for entry in terms.entries]
        self._stream = stream or sys.stdin
        self._held = self._taken = self._stopped = False
        self._fingers = math.nan

    def wishes(self) -> Wishes:
        """See `Person.wishes`."""
        return self.pressed(self._read())

    def told(self, words: str) -> None:
        """See `Person.told`."""
        print(words, file=sys.stderr, flush=True)

    def pressed(self, keys: Sequence[str]) -> Wishes:
        """What these keys, pressed since the last tick, ask for."""
        action, step = np.zeros(len(self._names), np.float32), False
        for key in keys:
            if key == "q":
                self._stopped = True
            elif key == " ":
                self._held = not self._held
            elif key == "t":
                self._taken, self._fingers = not self._taken, math.nan
            elif key in "\r\n":
                step = True
            elif key in _FINGERS and self._taken and "opening" in self._names:
                self._fingers, step = _FINGERS[key], True
            elif key in _MOVES and self._taken and _MOVES[key][0] in self._names:
                name, value = _MOVES[key]
                action[self._names.index(name)], step = value, True
        if "opening" in self._names:
            action[self._names.index("opening")] = self._fingers
        return Wishes(self._stopped, self._held, step, action if self._taken else None)

    def _read(self) -> list[str]:
        # Past Python's buffer, in which keys would lie unseen by `select`.
        handle, keys = self._stream.fileno(), ""
        while select.select([handle], [], [], 0)[0]:
            read = os.read(handle, 64)
            if not read:
                break
            keys += read.decode(errors="ignore")
        return list(keys)

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Takes single keys from the terminal, which is as before afterwards."""
        handle = self._stream.fileno()
        before = termios.tcgetattr(handle)
        try:
            tty.setcbreak(handle)
            yield
        finally:
            termios.tcsetattr(handle, termios.TCSADRAIN, before)
