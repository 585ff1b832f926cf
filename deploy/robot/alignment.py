"""Where the camera is, from pictures of the robot at known joints: the silhouettes drawn are laid over those seen.

Seven numbers are fitted: the camera's place, how it is turned, its focal length. What is compared is blurred, first
much and then less, so that a start some centimetres and degrees off is drawn to where it belongs.

What counts of a picture is what moves: where it differs from the median of all pictures. Where the robot is in half of
them or more, that median is the robot; the same is done to the silhouettes drawn, so that both say the same of it.

Shapes: N pictures, S pixels along an edge of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize
from scipy.spatial.transform import Rotation

from deploy.robot.silhouettes import Mask, Matrix, RobotSilhouettes, View

SIZE = 128
"""Pixels along an edge in which silhouettes are compared."""

_BLURS_PX = (16.0, 8.0, 4.0, 2.0, 1.0)
_ROBUST_BELOW_PX = 6.0
"""Once silhouettes nearly lie on each other, what still differs much is no matter of the camera."""

_STEPS = np.array([0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01])
"""Metres along and radians about the camera's axes, and of the focal length's logarithm: one unit of what is fitted."""

_DIFFERENCE = 0.3
"""Of a unit, by which a slope is told: a third of a pixel or more."""

_EVALUATIONS = 15

_LEAST_LEVELS = 10.0
_NOISE_FACTOR = 5.0


@dataclass(frozen=True)
class Posture:
    """The robot in one picture: seven angles in radians, and the fingers' opening in metres."""

    joints: tuple[float, ...]
    opening: float


@dataclass(frozen=True)
class Fit:
    """What was found.

    Attributes:
        view: the camera.
        overlap: intersection over union of silhouettes seen and drawn, the mean over the pictures.
        apart_px: median distance of the contours, in pixels of `SIZE`.
        drawn: [N, S, S] silhouettes of that view.
    """

    view: View
    overlap: float
    apart_px: float
    drawn: Mask


def moving_parts(pictures: NDArray[np.uint8]) -> Mask:
    """What differs from the median picture, [N, S, S, 3] to [N, S, S] of 0 and 1.

    The noise is told by how much pictures differ where nothing moves. Shadows on what lies behind are darker by the
    same factor in all channels, and are left out as far as that holds.
    """
    values = pictures.astype(np.float32)
    median = np.median(values, axis=0)
    apart = np.abs(values - median).max(-1)
    noise = 1.4826 * float(np.median(apart))
    seen = apart > max(_LEAST_LEVELS, _NOISE_FACTOR * noise)
    cleaned = [ndimage.binary_closing(ndimage.binary_opening(each)) for each in seen]
    return np.stack(cleaned).astype(np.float32)


def align(
    renderer: RobotSilhouettes, seen: Mask, postures: Sequence[Posture], start: View, *, moving: bool = True
) -> Fit:
    """The view whose silhouettes lie best over those that were seen.

    Args:
        renderer: draws silhouettes.
        seen: [N, S, S], the robot's silhouettes, or those of what moved.
        postures: N.
        start: some centimetres and degrees off.
        moving: whether `seen` is of `moving_parts`; else the robot is seen everywhere.
    """
    view = start
    for blur in _BLURS_PX:
        compared = _Comparison(renderer, seen, postures, view, blur, moving)
        found = optimize.least_squares(
            compared.residual,
            np.zeros(len(_STEPS)),
            compared.slopes,
            loss="soft_l1" if blur < _ROBUST_BELOW_PX else "linear",
            f_scale=0.1,
            max_nfev=_EVALUATIONS,
            xtol=1e-3,
        )
        view = moved(view, found.x)
    return _judged(renderer, seen, postures, view, moving)


class _Comparison:
    """Silhouettes seen and drawn, blurred alike, for views about one."""

    def __init__(
        self,
        renderer: RobotSilhouettes,
        seen: Mask,
        postures: Sequence[Posture],
        about: View,
        blur: float,
        moving: bool,
    ) -> None:
        self._renderer, self._postures, self._about = renderer, postures, about
        self._size = seen.shape[-1]
        self._sigma = blur * self._size / SIZE
        self._stride = max(1, int(self._sigma / 2))
        self._moving = moving
        self._wanted = _blurred(seen, self._sigma)

    def residual(self, fitted: Matrix) -> Matrix:
        """Of the view that is `moved` by `fitted` [7]; a number for some pixels of each picture."""
        drawn = _drawn(self._renderer, self._postures, moved(self._about, fitted), self._size)
        apart = _blurred(_compared(drawn, self._moving), self._sigma) - self._wanted
        numbers: Matrix = apart[:, :: self._stride, :: self._stride].astype(np.float64).ravel()
        return numbers

    def slopes(self, fitted: Matrix) -> Matrix:
        """[numbers, 7]: by differences far enough apart to move contours by pixels."""
        columns = []
        for step in _DIFFERENCE * np.eye(len(_STEPS)):
            columns.append((self.residual(fitted + step) - self.residual(fitted - step)) / (2 * _DIFFERENCE))
        return np.stack(columns, axis=1)


def moved(view: View, fitted: Matrix) -> View:
    """A view after a move in its own axes: [7] in units of `_STEPS`."""
    by = fitted * _STEPS
    turn = Rotation.from_rotvec(by[3:6] @ view.axes).as_matrix()
    focal = 1.0 / np.tan(np.radians(view.field_of_view_deg) / 2)
    angle = 2 * np.degrees(np.arctan(1.0 / (focal * np.exp(by[6]))))
    return View(view.eye + by[:3] @ view.axes, view.axes @ turn.T, float(angle))


def _drawn(renderer: RobotSilhouettes, postures: Sequence[Posture], view: View, size: int) -> Mask:
    return np.stack([renderer.draw(each.joints, each.opening, view, size) for each in postures])


def _compared(drawn: Mask, moving: bool) -> Mask:
    """[N, S, S] silhouettes as they are, or where each differs from their median."""
    differs: Mask = np.abs(drawn - np.median(drawn, axis=0)) if moving else drawn
    return differs


def _blurred(masks: Mask, sigma: float) -> Mask:
    blurred: Mask = ndimage.gaussian_filter(masks, (0.0, sigma, sigma))
    return blurred


def _judged(renderer: RobotSilhouettes, seen: Mask, postures: Sequence[Posture], view: View, moving: bool) -> Fit:
    drawn = _drawn(renderer, postures, view, seen.shape[-1])
    overlaps, apart = [], []
    for one, other in zip(seen > 0.5, _compared(drawn, moving) > 0.5, strict=True):
        overlaps.append((one & other).sum() / max(1, (one | other).sum()))
        apart.append(_contour_distances(one, other))
    pixels = float(np.median(np.concatenate(apart))) * SIZE / seen.shape[-1]
    return Fit(view, float(np.mean(overlaps)), pixels, drawn)


def contour(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """[S, S], the mask's pixels with a neighbour outside."""
    inner: NDArray[np.bool_] = ndimage.binary_erosion(mask, border_value=1)
    return mask & ~inner


def _contour_distances(seen: NDArray[np.bool_], drawn: NDArray[np.bool_]) -> Matrix:
    """From each pixel of the contour seen to the contour drawn, pixels."""
    lines = contour(drawn)
    if not lines.any():
        return np.full(1, float(len(seen)))
    distances: Matrix = ndimage.distance_transform_edt(~lines)
    return distances[contour(seen)]
