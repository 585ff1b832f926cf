"""Cameras: something that always has the newest picture, and says when it was exposed.

`open_camera` knows two kinds: `opencv:NUMBER` (or a file or URL that OpenCV reads), and `MODULE:FUNCTION`, a function
of yours that takes the contract's camera and gives an object with `latest()` and `close()`.
"""

from __future__ import annotations

import importlib
import threading
import time
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .contract import Camera as CameraTerms
from .refusals import UsageError

Picture = tuple[NDArray[np.uint8], float]
"""[H, W, 3] RGB, and when it was exposed on the machine's monotonic clock (`arm.SystemClock`)."""


_FAILED_S = 0.02


class Camera(Protocol):
    """A camera that is on."""

    def latest(self) -> Picture:
        """The newest picture, at once; the same one again where no other has come."""

    def close(self) -> None:
        """Turns it off."""


def open_camera(name: str, terms: CameraTerms, latency_s: float | None = None) -> Camera:
    """The camera of that name.

    Args:
        name: see the module's docstring.
        terms: of the contract.
        latency_s: from a picture's exposure to its arrival, of `opencv:`; a camera of yours says itself when.

    Raises:
        UsageError: there is none.
    """
    kind, colon, rest = name.partition(":")
    if not colon or not rest:
        raise UsageError(f"--camera is {name!r}; allowed are opencv:NUMBER and MODULE:FUNCTION")
    if kind == "opencv":
        return OpenCVCamera(rest, terms, latency_s or 0.0)
    if latency_s is not None:
        raise UsageError(f"--camera-latency is {latency_s}; allowed it is with opencv:NUMBER alone: {name} says when")
    try:
        make = getattr(importlib.import_module(kind), rest)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"--camera is {name!r}: {error}") from error
    made: Camera = make(terms)
    return made


class OpenCVCamera:
    """A camera that OpenCV reads, in a thread of its own, cut to the square in its middle and made smaller.

    OpenCV says when a picture has arrived: exposed it was `latency_s` earlier, which somebody has to have measured.
    """

    def __init__(self, source: str, terms: CameraTerms, latency_s: float) -> None:
        """Opens it and waits for its first picture.

        Raises:
            UsageError: OpenCV is not installed, or the camera gives nothing.
        """
        try:
            import cv2
        except ImportError as error:
            raise UsageError("--camera opencv needs OpenCV: pip install opencv-python-headless") from error
        self._cv2: Any = cv2
        self._device = cv2.VideoCapture(int(source) if source.isdigit() else source)
        self._device.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        self._size = (terms.width, terms.height)
        self._latency_s = latency_s
        self._picture: Picture | None = None
        self._closed = False
        first = self._read()
        if first is None:
            self._device.release()
            raise UsageError(f"--camera opencv:{source}: gives no picture")
        self._picture = first
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def latest(self) -> Picture:
        """See `Camera.latest`."""
        assert self._picture is not None
        return self._picture

    def close(self) -> None:
        """See `Camera.close`."""
        self._closed = True
        self._thread.join(1.0)
        self._device.release()

    def _follow(self) -> None:
        while not self._closed:
            picture = self._read()
            if picture is not None:
                self._picture = picture
            else:
                # One that is unplugged fails at once, again and again.
                time.sleep(_FAILED_S)

    def _read(self) -> Picture | None:
        given, frame = self._device.read()
        stamp = time.monotonic() - self._latency_s
        if not given:
            return None
        side = min(frame.shape[:2])
        top, left = (frame.shape[0] - side) // 2, (frame.shape[1] - side) // 2
        square = frame[top : top + side, left : left + side]
        small = self._cv2.resize(square, self._size, interpolation=self._cv2.INTER_AREA)
        return np.ascontiguousarray(small[..., ::-1]), stamp
