"""What a process that we start does first: it imports what we import, leaves signals to us, and ends when we do."""

from __future__ import annotations

import ctypes
import os
import signal

from deploy.process.packages import pin
from deploy.process.signals import ENDING

_PR_SET_PDEATHSIG = 1


def begin(parent: int) -> None:
    """For a process that works for another one, which ends it: Ctrl-C in a terminal reaches both.

    Args:
        parent: process id of who started it.
    """
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    end_with_parent(signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    pin()


def end_with_parent(number: int) -> None:
    """The kernel sends this process a signal when the thread that started it ends, however that happens."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number)
