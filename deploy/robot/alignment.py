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

SIZE = 256
"""Pixels along an edge of pictures, and in which silhouettes are compared at last."""

_LEVELS = (
    (32, 4.0, "linear"),
    (64, 4.0, "linear"),
    (128, 4.0, "soft_l1"),
    (256, 4.0, "soft_l1"),
    (256, 2.0, "soft_l1"),
)
"""One after another: pixels along an edge, blur in these pixels, and how much large differences count. Once silhouettes
nearly lie on each other, what still differs much is no matter of the camera."""

_STEPS = np.array([0.01, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01])
"""Metres along and radians about the camera's axes, and of the focal length's logarithm: one unit of what is fitted."""

_DIFFERENCE = 0.3
"""Of a unit, by which a slope is told: a third of a pixel or more."""

_EVALUATIONS = 15

# Of 255 levels: what differs by less is like the background, whatever the noise; what is darker has no colour.
_LEAST_LEVELS = 8.0
_DARK = 8.0
_NOISE_FACTOR = 4.0
# Most that a shadow's factors of the channels differ.
_EVEN = 0.12


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


@dataclass(frozen=True)
class Seen:
    """Where the robot is in pictures.

    Attributes:
        robot: [N, S, S] 0 to 1.
        counts: [N, S, S] 0 or 1; 0 where nobody can tell.
    """

    robot: Mask
    counts: Mask

    def smaller(self, size: int) -> Seen:
        """The same in pictures of at most `size` pixels along an edge, whole ones of which make one."""
        block = max(1, self.robot.shape[-1] // size)
        if block == 1:
            return self
        robot, counts = (x.reshape(len(x), size, block, size, block) for x in (self.robot, self.counts))
        return Seen(robot.mean(axis=(2, 4), dtype=np.float32), counts.min(axis=(2, 4)))

    @classmethod
    def everywhere(cls, robot: Mask) -> Seen:
        """What somebody has painted, who could tell it of every pixel."""
        return cls(robot, np.ones_like(robot))


def unlike(pictures: NDArray[np.uint8], backgrounds: NDArray[np.uint8]) -> Seen:
    """What differs from pictures without the arm; [N, S, S, 3] and [M, S, S, 3].

    Of these the brightest counts at each pixel: where the arm is out of sight its shadow may still be seen.

    A camera that opens by itself makes a picture brighter as a whole: it is matched first. The noise is told by how
    much most pixels differ. What is darker by the same factor in all channels may be the arm's shadow or a grey part of
    it: that does not count.
    """
    behind = _smooth(backgrounds.max(axis=0))
    robot, counts = [], []
    for picture in map(_smooth, pictures):
        gain = np.median((picture + _DARK) / (behind + _DARK), axis=(0, 1))
        expected = gain * behind
        apart = np.abs(picture - expected).max(-1)
        noise = 1.4826 * float(np.median(apart))
        differs = apart > max(_LEAST_LEVELS, _NOISE_FACTOR * noise)
        share = (picture + _DARK) / (expected + _DARK)
        even = np.ptp(share, axis=-1) < _EVEN + 2.0 * noise / (expected.min(-1) + _DARK)
        shade = differs & even & (share.mean(-1) < 1.0)
        # Blur carries a contour outwards: it is where half of the step next to it is.
        step = apart > 0.5 * ndimage.maximum_filter(apart, 5)
        robot.append(ndimage.binary_opening(differs & ~shade & (step | ndimage.binary_erosion(differs, iterations=2))))
        counts.append(~ndimage.binary_dilation(shade))
    return Seen(np.stack(robot).astype(np.float32), np.stack(counts).astype(np.float32))


def _smooth(picture: NDArray[np.uint8]) -> Mask:
    smoothed: Mask = ndimage.gaussian_filter(picture.astype(np.float32), (0.7, 0.7, 0.0))
    return smoothed


def align(renderer: RobotSilhouettes, seen: Seen, postures: Sequence[Posture], start: View) -> Fit:
    """The view whose silhouettes lie best over those that were seen.

    Args:
        renderer: draws silhouettes.
        seen: the robot's silhouettes.
        postures: N.
        start: some centimetres and degrees off.
    """
    view = start
    for size, blur, loss in _LEVELS:
        compared = _Comparison(renderer, seen.smaller(size), postures, view, blur)
        found = optimize.least_squares(
            compared.residual,
            np.zeros(len(_STEPS)),
            compared.slopes,
            loss=loss,
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
        seen: Seen,
        postures: Sequence[Posture],
        about: View,
        blur: float,
    ) -> None:
        self._renderer, self._postures, self._about = renderer, postures, about
        self._seen, self._size, self._sigma = seen, seen.robot.shape[-1], blur
        self._stride = max(1, int(self._sigma / 2))

    def residual(self, fitted: Matrix) -> Matrix:
        """Of the view that is `moved` by `fitted` [7]; a number for some pixels of each picture."""
        drawn = _drawn(self._renderer, self._postures, moved(self._about, fitted), self._size)
        apart = _blurred((drawn - self._seen.robot) * self._seen.counts, self._sigma)
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


def _judged(renderer: RobotSilhouettes, seen: Seen, postures: Sequence[Posture], view: View) -> Fit:
    size = seen.robot.shape[-1]
    drawn = _drawn(renderer, postures, view, size)
    overlaps, apart = [], []
    for one, other, counts in zip(seen.robot > 0.5, drawn > 0.5, seen.counts > 0.5, strict=True):
        overlaps.append((one & other & counts).sum() / max(1, ((one | other) & counts).sum()))
        apart.append(_contour_distances(one, other))
    pixels = float(np.median(np.concatenate(apart))) * SIZE / size
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
