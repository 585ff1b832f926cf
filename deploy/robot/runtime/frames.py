"""The gate that every picture passes: size, type, range, channel order, age, repetition."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .contract import Camera, Contract
from .refusals import FrameError

_LEAST_MARK_PX = 8
"""So many pixels of a mark's colour make a mark: the cube has 16 and more."""

_COLOURED = 0.4
"""Saturation above which a colour may be a mark's: in pale pictures of dull light marks have little more."""

_BRIGHT = 50.0
"""The same of the largest channel, of 255 levels."""

_MOVED_M = 0.03
"""When the gripper's target has moved so far in all, a picture must have changed."""


class FrameGate:
    """Refuses what the policy may not act on; one for each policy, reset with it."""

    def __init__(self, contract: Contract) -> None:
        self._camera = contract.camera
        self._latency = contract.latency
        self.reset()

    def reset(self) -> None:
        """A new episode: nothing was seen yet."""
        self._last: NDArray[np.uint8] | None = None
        self._last_stamp: float | None = None
        self._repeats = 0
        self._moved_m = 0.0

    def check(self, image: Any, stamp: float | None, now: float | None, moved_m: float) -> NDArray[np.uint8]:
        """The picture, if the policy may act on it.

        Args:
            image: what the camera gave.
            stamp: when it was exposed, seconds of the caller's clock; None: not known.
            now: the same clock's time; None: not known.
            moved_m: how far the gripper's target has moved since the picture before, metres.

        Raises:
            FrameError: naming what is wrong and what is allowed.
        """
        picture = checked_picture(image, self._camera)
        if self._last is None:
            require_channel_order(picture, self._camera)
        if stamp is not None and now is not None:
            self._require_fresh(now - stamp)
        self._require_new(picture, stamp, moved_m)
        return picture

    def _require_fresh(self, age: float) -> None:
        oldest = self._latency.oldest_frame_s
        if not -1e-3 <= age <= oldest + 1e-9:
            raise FrameError(f"frame is {1e3 * age:.0f} ms old; allowed are 0 to {1e3 * oldest:.0f} ms, as in training")

    def _require_new(self, picture: NDArray[np.uint8], stamp: float | None, moved_m: float) -> None:
        again = stamp is not None and stamp == self._last_stamp
        equal = self._last is not None and np.array_equal(picture, self._last)
        self._repeats = self._repeats + 1 if again or equal else 0
        self._moved_m = self._moved_m + moved_m if again or equal else 0.0
        self._last, self._last_stamp = picture, stamp
        most = self._latency.most_repeats
        if self._repeats <= most:
            return
        if again:
            raise FrameError(f"the same frame came {self._repeats} times again; allowed are {most}, as in training")
        if self._moved_m > _MOVED_M:
            raise FrameError(
                f"the picture has not changed for {self._repeats} frames while the arm moved; allowed are {most}"
            )


def checked_picture(image: Any, camera: Camera) -> NDArray[np.uint8]:
    """A picture of the camera's size, type and range, contiguous.

    Raises:
        FrameError: it is not one.
    """
    shape = camera.shape
    wanted = f"uint8 {list(shape)} ({camera.layout}, {camera.channels}, 0 to 255)"
    if not isinstance(image, np.ndarray):
        raise FrameError(f"image is a {type(image).__name__}; allowed is a numpy array, {wanted}")
    if image.dtype != np.uint8:
        if np.issubdtype(image.dtype, np.floating) and not np.isfinite(image).all():
            raise FrameError(f"image is {image.dtype} and not finite; allowed is {wanted}")
        raise FrameError(f"image is {image.dtype}; allowed is {wanted}")
    if image.shape != shape:
        hint = "; its channels come first" if image.shape == (shape[2], *shape[:2]) else ""
        raise FrameError(f"image has shape {list(image.shape)}{hint}; allowed is {wanted}")
    if image.max() <= 1:
        raise FrameError(f"image has no value above {int(image.max())}: it is black, or scaled to 0 to 1; {wanted}")
    return np.ascontiguousarray(image)


def require_channel_order(image: NDArray[np.uint8], camera: Camera) -> None:
    """Refuses a picture in which the colours of known things appear only with red and blue exchanged.

    A table may have any colour, too: where a mark is seen as it should be, the picture passes, whatever else is in it.
    Where no mark is in sight, the order cannot be told.

    Raises:
        FrameError: the channels look swapped.
    """
    right = sum(_count(image, mark.hue_deg, mark.within_deg) for mark in camera.marks)
    swapped = sum(_count(image[..., ::-1], mark.hue_deg, mark.within_deg) for mark in camera.marks)
    if right < _LEAST_MARK_PX and swapped >= 2 * _LEAST_MARK_PX:
        names = " and ".join(mark.name for mark in camera.marks)
        raise FrameError(f"image looks like BGR: {names} would have their colours with red and blue exchanged")


def _count(image: NDArray[np.uint8], hue_deg: float, within_deg: float) -> int:
    """Pixels of a hue."""
    values = image.astype(np.float32)
    high, low = values.max(-1), values.min(-1)
    span = np.maximum(high - low, 1e-6)
    red, green, blue = values[..., 0], values[..., 1], values[..., 2]
    sector = np.where(
        high == red,
        (green - blue) / span,
        np.where(high == green, 2.0 + (blue - red) / span, 4.0 + (red - green) / span),
    )
    away = np.abs((60.0 * sector - hue_deg + 180.0) % 360.0 - 180.0)
    coloured = (span > _COLOURED * high) & (high > _BRIGHT)
    return int((coloured & (away <= within_deg)).sum())
