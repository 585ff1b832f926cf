"""Franka's hand: its fingers go to the newest width that was asked for, in threads of its own.

    mover     moves to the newest width, once it is where it was going: a call of the hand's blocks for up to a second
    watcher   measures the width; where a stop is asked for while the fingers move, it stops them

So neither `go` nor `stop` ever waits. A stop leaves alone what is grasped: it would let it fall. What closes to
nothing, or is stopped by something between the fingers, becomes a grasp, which holds with a force; a move alone would not.

Tested with a double of the hand's interface: no real hand has been driven.
"""

from __future__ import annotations

import threading
from typing import Any

from .arm import ArmError

TOLERANCE_M = 0.005
"""Widths nearer to each other are the same."""

_SPEED_M_PER_S = 0.1
_FORCE_N = 20.0
"""As in the simulator."""

_ANY_M = 0.1
"""Whatever is between the fingers is grasped: more than they can open."""

_WATCH_S = 0.02


class FrankaHand:
    """Drives a gripper of franky's, or what has the same methods: `width`, `move`, `grasp`, `stop`."""

    def __init__(self, gripper: Any, *, motors: bool) -> None:
        """Begins to measure; nothing moves yet.

        Args:
            gripper: that is connected and was homed.
            motors: whether it may move.

        Raises:
            ArmError: it does not say how wide it is open.
        """
        self._gripper, self._motors = gripper, motors
        self._changed = threading.Condition()
        self._wanted: float | None = None
        self._fresh = self._moving = self._stopped = self._halting = self._closed = False
        self._fault: str | None = None
        self._width = 0.0
        self._measure()
        self.check()
        self._threads = [threading.Thread(target=self._watch, name="franka-hand-watcher", daemon=True)]
        if motors:
            self._threads.append(threading.Thread(target=self._move, name="franka-hand-mover", daemon=True))
        for thread in self._threads:
            thread.start()

    @property
    def width(self) -> float:
        """Between the fingers, metres, as last measured."""
        return self._width

    def check(self) -> None:
        """Says what has gone wrong.

        Raises:
            ArmError: something has.
        """
        if self._fault is not None:
            raise ArmError(self._fault)

    def go(self, width: float) -> None:
        """Asks for a width, metres; returns at once.

        Raises:
            ArmError: see `check`.
        """
        self.check()
        with self._changed:
            if self._wanted is None or abs(width - self._wanted) > TOLERANCE_M:
                self._wanted, self._fresh = width, True
                self._changed.notify_all()

    def stop(self) -> None:
        """The fingers stay where they are, with the force that they have; returns at once. Never raises."""
        with self._changed:
            self._wanted, self._fresh = None, False
            self._stopped = self._halting = self._moving
            self._changed.notify_all()

    def close(self) -> None:
        """Stops, and ends the threads."""
        self.stop()
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(2.0)

    def _move(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._fresh)
                if self._closed or self._wanted is None:
                    return
                wanted, self._fresh, self._moving = self._wanted, False, True
            self._go(wanted)
            with self._changed:
                self._moving = self._stopped = False

    def _go(self, wanted: float) -> None:
        """One move, until it has ended; that a stop ends it with an error is none."""
        try:
            stopped_short = wanted <= TOLERANCE_M
            if not stopped_short:
                self._gripper.move(wanted, _SPEED_M_PER_S)
                stopped_short = float(self._gripper.width) - wanted > TOLERANCE_M
            if stopped_short and not self._stopped:
                self._gripper.grasp(wanted, _SPEED_M_PER_S, _FORCE_N, _ANY_M, _ANY_M)
        except Exception as error:  # libfranka's kinds of errors have no common base in Python
            if not self._stopped:
                self._failed(error)

    def _watch(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._halting, _WATCH_S)
                # Again and again while it moves: the first may have come just before the move began.
                halt, closed, self._halting = self._stopped, self._closed, False
            if halt:
                self._halt()
            if closed:
                return
            self._measure()

    def _halt(self) -> None:
        try:
            self._gripper.stop()
        except Exception as error:  # see `_go`
            self._failed(error)

    def _measure(self) -> None:
        try:
            self._width = float(self._gripper.width)
        except Exception as error:  # see `_go`
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        self._fault = self._fault or f"hand: {type(error).__name__}: {' '.join(str(error).split())}"
