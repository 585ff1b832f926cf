"""Outlives a process and takes away what that leaves behind, however it ends: processes of its sessions, directories.

A program of its own, run by its file with nothing but Python: `guard.py`, told line by line on its standard input::

    session PID      the leader of a session, all of whose processes are killed
    directory PATH   is removed with all that is in it

When its input ends, which is when its owner has ended or wants it so, it does that and ends. No signal of a terminal or
a process group reaches it.
"""

import contextlib
import os
import shutil
import signal
import sys
import time

GIVE_UP_SECONDS = 10.0
"""For processes to be gone after SIGKILL: one that waits for a disk that does not answer is not."""


def main() -> None:
    """Waits for the end of the input, and cleans up."""
    sessions: set[int] = set()
    directories: list[str] = []
    for line in sys.stdin:
        kind, _, value = line.rstrip("\n").partition(" ")
        if kind == "session":
            sessions.add(int(value))
        else:
            directories.append(value)
    deadline = time.monotonic() + GIVE_UP_SECONDS
    while (left := members(sessions)) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
    for directory in directories:
        shutil.rmtree(directory, ignore_errors=True)


def members(sessions: set[int]) -> list[int]:
    """Processes that live in one of the sessions."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat") as file:
                # After the name, which may contain anything but ends with the last parenthesis.
                state, _, _, session, *_ = file.read().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(session) in sessions and state not in "ZX":
            found.append(int(entry))
    return found


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    main()
