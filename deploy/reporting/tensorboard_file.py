"""Writes TensorBoard's event files, without a thread of its own: in debug mode everything happens in turn.

`torch.utils.tensorboard` writes the same files from a background thread.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter


class TensorBoardFile:
    """One event file. TensorBoard reads all those of a directory in the order of their names."""

    def __init__(self, directory: Path, *, from_step: int | None = None) -> None:
        """Creates the file.

        Args:
            directory: made if it is not there.
            from_step: tells TensorBoard to forget the points of earlier files from this step on.
        """
        directory.mkdir(parents=True, exist_ok=True)
        # The number makes the names sort in the order of their making, even within a second.
        number = len(list(directory.glob("events.out.tfevents.*")))
        name = f"events.out.tfevents.{int(time.time()):010d}.{number:04d}.{socket.gethostname()}.{os.getpid()}"
        self._file = (directory / name).open("wb")
        self._records = RecordWriter(self._file)
        self._append(Event(wall_time=time.time(), file_version="brain.Event:2"))
        if from_step is not None:
            start = SessionLog(status=SessionLog.START)
            self._append(Event(wall_time=time.time(), step=from_step, session_log=start))

    def write(self, step: int, values: Mapping[str, float], wall_time: float) -> None:
        """Adds one point to each of these curves.

        Args:
            step: the x axis, environment steps.
            values: curve's name to y.
            wall_time: unix seconds.
        """
        points = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        self._append(Event(wall_time=wall_time, step=step, summary=Summary(value=points)))

    def close(self) -> None:
        """Closes the file."""
        self._records.close()

    def _append(self, event: Event) -> None:
        self._records.write(event.SerializeToString())
        self._records.flush()
