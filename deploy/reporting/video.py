"""Pictures as an MP4. No other module imports PyAV."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploy.process.extras import require_extra

CODEC = "h264"
PIXELS = "yuv420p"
_ENCODER = "libx264"
_KEY_EVERY = 2
"""Readers of training data jump about: they decode from the last key frame on."""

_QUALITY = 23


class VideoWriter:
    """Writes pictures [H, W, 3] of one size as they come; a context manager.

    An odd edge gets its last pixels twice, as the codec wants even ones.
    """

    def __init__(self, file: Path, frames_per_second: int) -> None:
        """Begins a video.

        Raises:
            UserError: PyAV is not installed.
        """
        require_extra("writing videos", "dataset", "av")
        import av

        self._av: Any = av
        self._container: Any = av.open(str(file), "w")
        self._rate = frames_per_second
        self._stream: Any = None
        self.count = 0

    def add(self, given: NDArray[np.uint8]) -> None:
        """The next picture."""
        picture = np.pad(given, [(0, side % 2) for side in given.shape[:2]] + [(0, 0)], mode="edge")
        if self._stream is None:
            self._stream = self._container.add_stream(_ENCODER, rate=self._rate)
            self._stream.height, self._stream.width = picture.shape[:2]
            self._stream.pix_fmt = PIXELS
            self._stream.options = {"g": str(_KEY_EVERY), "crf": str(_QUALITY), "preset": "veryfast"}
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        frame.pts = self.count
        self._container.mux(self._stream.encode(frame))
        self.count += 1

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None and kind is None:
            self._container.mux(self._stream.encode(None))
        self._container.close()


def write_mp4(file: Path, pictures: Iterable[NDArray[np.uint8]], frames_per_second: int) -> int:
    """Writes pictures [H, W, 3] of one size.

    Returns:
        How many there were.

    Raises:
        UserError: PyAV is not installed.
    """
    with VideoWriter(file, frames_per_second) as writer:
        for picture in pictures:
            writer.add(picture)
    return writer.count
