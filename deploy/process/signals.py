"""What ends a command from outside: one handler for every signal that asks for it.

    SIGINT             Ctrl-C
    SIGTERM            kill, timeout, Kubernetes, Slurm, systemd, `ray job stop`
    SIGHUP             a terminal or a connection that closes
    SIGUSR1, SIGUSR2   batch systems, some time before they kill: Slurm's --signal, Grid Engine's -notify, submitit

    first signal ──> outside `held`   `Ended` is raised where the command is; what was begun is closed
                └──> inside `held`    it is noted: the work sees `asked` between two steps, drains, saves and leaves;
                                      after `DRAIN_SECONDS` `Ended` is raised all the same
    second one   ──> the process ends where it is

Either way the command says one line and its exit code is 128 and the signal's number. Signals that were ignored when
the command began stay so: nohup ignores SIGHUP, a shell's background process SIGINT.

`Ended` is a `KeyboardInterrupt`, as Ray lets nothing else out of the calls in which it waits; there the class and the
note may get lost, so the number is kept here.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from types import FrameType
from typing import Final

LOGGER = logging.getLogger(__name__)

ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)

DRAIN_SECONDS: Final = 20.0
"""For what is held to be drained and saved."""

GRACE_SECONDS: Final = 27.0
"""For all of it, with the end of our processes and the last upload: Kubernetes and Slurm kill after 30 s."""

ECHO_SECONDS: Final = 1.0
"""A signal so soon after the first one is the same once more: timeout(1) sends it to the process and to its group."""


class Ended(KeyboardInterrupt):
    """A signal has ended the command; the message, which may be empty, says in a line what was saved."""


class _Received:
    """What has come since the command began."""

    def __init__(self) -> None:
        self.at_once: list[Callable[[], object]] = []
        self.forget()

    def forget(self) -> None:
        self.number: int | None = None
        self.at = 0.0
        self.held = 0


_received: Final = _Received()


@contextlib.contextmanager
def listening() -> Iterator[None]:
    """In the block, which is a whole command, signals end it as said above.

    Outside of the main thread, where Python allows no handlers, it does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _received.forget()
    before = {number: signal.getsignal(number) for number in ENDING}
    _listen()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """In the block, a first signal is only noted; the block's work looks at `asked`, and should then come to its end.

    Raises:
        Ended: at the end of the block, if a signal came in it; inside, `DRAIN_SECONDS` after the signal.
    """
    _received.held += 1
    try:
        yield
    except SystemExit as error:
        # Ray has a handler of its own for SIGTERM until its session has begun: it ends Python with this code.
        if error.code not in ENDING or _received.number is not None:
            raise
        _received.number, _received.at = int(error.code), time.monotonic()
    finally:
        _received.held -= 1
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        _listen()
    if asked():
        raise Ended


def asked() -> bool:
    """Whether a signal has come that asks to end."""
    return _received.number is not None


def seconds_left() -> float | None:
    """Of the grace; None while nobody has asked to end."""
    return None if _received.number is None else max(_received.at + GRACE_SECONDS - time.monotonic(), 0.0)


def exit_code() -> int:
    """Of a command that a signal has ended, in the shell's way; without one it was a KeyboardInterrupt: Ctrl-C's."""
    return 128 + (_received.number or signal.SIGINT)


def name() -> str:
    """Of the signal that came, such as "SIGTERM"."""
    return signal.Signals(_received.number or signal.SIGINT).name


@contextlib.contextmanager
def saying(note: str) -> Iterator[None]:
    """In the block, an end by a signal about which nothing has been said yet is told with this note."""
    try:
        yield
    except KeyboardInterrupt as ended:
        if ended.args:
            raise
        raise Ended(note) from ended


def within_grace(work: Callable[[], object]) -> None:
    """Does something that may hang: after a signal for no longer than the grace lasts, else until it is done."""
    left = seconds_left()
    if left is None:
        work()
        return

    def logged() -> None:
        try:
            work()
        except Exception as error:  # whatever it is, the command ends for another reason
            LOGGER.warning("not done on leaving: %s", error)

    thread = threading.Thread(target=logged, daemon=True)
    thread.start()
    thread.join(left)


@contextlib.contextmanager
def kept_from_children() -> Iterator[None]:
    """Processes begun in the block get none of these signals until they say what they do with them: `child.begin`.

    Ctrl-C reaches them too, and Python, while it starts, says so with a stack. Here signals wait for the block's end.
    """
    # multiprocessing's tracker lets signals in when it has started, whoever kept them out.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def before_ending_at_once(work: Callable[[], object]) -> Iterator[None]:
    """In the block, a second signal first does this: for processes that would go on by themselves."""
    _received.at_once.append(work)
    try:
        yield
    finally:
        _received.at_once.remove(work)


def _listen() -> None:
    """Takes the signals, also from libraries that have taken them meanwhile."""
    if threading.current_thread() is threading.main_thread():
        for number in ENDING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _take)


def _take(number: int, frame: FrameType | None) -> None:
    now = time.monotonic()
    if _received.number is None:
        _received.number, _received.at = number, now
        if not _received.held:
            raise Ended
        signal.signal(signal.SIGALRM, _out_of_time)
        signal.setitimer(signal.ITIMER_REAL, DRAIN_SECONDS)
    elif now - _received.at > ECHO_SECONDS:
        for work in _received.at_once:
            work()
        os.write(2, f"twist: ended at once by {signal.Signals(number).name}\n".encode())
        os._exit(128 + number)


def _out_of_time(number: int, frame: FrameType | None) -> None:
    if _received.held:
        raise Ended
