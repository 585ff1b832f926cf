"""Pictures as an MP4. No other module imports PyAV."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deploy.process.extras import require_extra

if TYPE_CHECKING:
    import av.container

CODEC = "h264"
PIXELS = "yuv420p"
_ENCODER = "libx264"
_KEY_EVERY = 2
"""Readers of training data jump about: they decode from the last key frame on."""

_QUALITY = 23


def write_mp4(file: Path, pictures: Iterable[NDArray[np.uint8]], frames_per_second: int) -> int:
    """Writes pictures [H, W, 3] of one size; an odd edge gets its last pixels twice, as the codec wants even ones.

    Returns:
        How many there were.

    Raises:
        UserError: PyAV is not installed.
    """
    require_extra("writing videos", "dataset", "av")
    import av

    count = 0
    with av.open(str(file), "w") as container:
        stream = None
        for given in pictures:
            picture = np.pad(given, [(0, side % 2) for side in given.shape[:2]] + [(0, 0)], mode="edge")
            if stream is None:
                stream = container.add_stream(_ENCODER, rate=frames_per_second)
                stream.height, stream.width = picture.shape[:2]
                stream.pix_fmt = PIXELS
                stream.options = {"g": str(_KEY_EVERY), "crf": str(_QUALITY), "preset": "veryfast"}
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts = count
            _mux(container, stream, frame)
            count += 1
        if stream is not None:
            _mux(container, stream, None)
    return count


def _mux(container: av.container.OutputContainer, stream: av.VideoStream, frame: av.VideoFrame | None) -> None:
    for packet in stream.encode(frame):
        container.mux(packet)
