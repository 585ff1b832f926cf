"""Where the camera is, from pictures of the robot at known joints: the silhouettes drawn are laid over those seen.

Seven numbers are fitted: the camera's place, how it is turned, its focal length. What is compared is blurred, first
much and then less, so that a start some centimetres and degrees off is drawn to where it belongs.

The robot is where a picture differs from one without the arm, or where somebody has painted a mask.

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


def unlike(pictures: NDArray[np.uint8], background: NDArray[np.uint8]) -> Mask:
    """What differs from a picture without the arm, [N, S, S, 3] and [S, S, 3] to [N, S, S] of 0 and 1.

    A camera that opens by itself makes a picture brighter as a whole: it is matched first. The noise is told by how
    much most pixels differ.
    """
    behind = background.astype(np.float32)
    seen = []
    for picture in pictures.astype(np.float32):
        gain = np.median((picture + 1.0) / (behind + 1.0), axis=(0, 1))
        apart = np.abs(picture - gain * behind).max(-1)
        noise = 1.4826 * float(np.median(apart))
        differs = apart > max(_LEAST_LEVELS, _NOISE_FACTOR * noise)
        seen.append(ndimage.binary_closing(ndimage.binary_opening(differs)))
    return np.stack(seen).astype(np.float32)


def align(renderer: RobotSilhouettes, seen: Mask, postures: Sequence[Posture], start: View) -> Fit:
    """The view whose silhouettes lie best over those that were seen.

    Args:
        renderer: draws silhouettes.
        seen: [N, S, S], the robot's silhouettes.
        postures: N.
        start: some centimetres and degrees off.
    """
    view = start
    for blur in _BLURS_PX:
        compared = _Comparison(renderer, seen, postures, view, blur)
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
    return _judged(renderer, seen, postures, view)


class _Comparison:
    """Silhouettes seen and drawn, blurred alike, for views about one."""

    def __init__(
        self,
        renderer: RobotSilhouettes,
        seen: Mask,
        postures: Sequence[Posture],
        about: View,
        blur: float,
    ) -> None:
        self._renderer, self._postures, self._about = renderer, postures, about
        self._size = seen.shape[-1]
        self._sigma = blur * self._size / SIZE
        self._stride = max(1, int(self._sigma / 2))
        self._wanted = _blurred(seen, self._sigma)

    def residual(self, fitted: Matrix) -> Matrix:
        """Of the view that is `moved` by `fitted` [7]; a number for some pixels of each picture."""
        drawn = _drawn(self._renderer, self._postures, moved(self._about, fitted), self._size)
        apart = _blurred(drawn, self._sigma) - self._wanted
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


def _blurred(masks: Mask, sigma: float) -> Mask:
    blurred: Mask = ndimage.gaussian_filter(masks, (0.0, sigma, sigma))
    return blurred


def _judged(renderer: RobotSilhouettes, seen: Mask, postures: Sequence[Posture], view: View) -> Fit:
    drawn = _drawn(renderer, postures, view, seen.shape[-1])
    overlaps, apart = [], []
    for one, other in zip(seen > 0.5, drawn > 0.5, strict=True):
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
