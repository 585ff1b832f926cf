"""Processes that evaluate, and signals that reach them as they reach us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from running import command

MAPS = """
import math, signal
from deploy.evaluation.two_processes import map_in_two_processes

signal.signal(signal.SIGINT, lambda *_: None)
print("begun", flush=True)
print(*map_in_two_processes(math.sqrt, [4.0, 9.0, 16.0]))
"""


def test_ctrl_c_while_they_start_is_no_concern_of_theirs() -> None:
    started = command()
    started["args"] = [sys.executable, "-c", MAPS]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "start_new_session": True}
    with subprocess.Popen(**started, **pipes) as mapping:
        assert mapping.stdout.readline() == "begun\n"
        while mapping.poll() is None:
            os.killpg(mapping.pid, signal.SIGINT)
            time.sleep(0.005)
        assert (mapping.stdout.read(), mapping.stderr.read()) == ("2.0 3.0 4.0\n", "")
