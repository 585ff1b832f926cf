"""The camera: where it stands, where a point appears in its image, and what its sensor does to the picture."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sim.engine import Image, Vector
from sim.scenery import Camera, CameraPose

# In front of the robot and to its left, so that height and distance of the gripper look different, and as close as the
# workspace allows: `tests/sim/test_sim_framing.py` proves that nothing leaves the image.
NOMINAL_CAMERA = CameraPose(eye=(0.914, 0.737, 0.804), aim=(0.493, 0.007, 0.097), field_of_view_deg=29.4)

# From the robot's left and nearer, for a gripper that stays at the table: a cube is six pixels wide there and not four,
# and seldom behind hand or fingers.
TABLE_CAMERA = CameraPose(eye=(0.5, 0.857, 0.907), aim=(0.5, 0.03, 0.08), field_of_view_deg=20.0)


@dataclass(frozen=True)
class Sensor:
    """What happens between lens and pixels.

    Attributes:
        noise_levels: Standard deviation of the noise added to every value, of 255 levels.
        blur_px: Standard deviation of the blur, pixels.
        gain: Factor of each colour channel.
        offset_levels: Added to each colour channel, of 255 levels.
    """

    noise_levels: float = 0.0
    blur_px: float = 0.0
    gain: Vector = (1.0, 1.0, 1.0)
    offset_levels: Vector = (0.0, 0.0, 0.0)

    def expose(self, picture: Image, rng: np.random.Generator) -> Image:
        """Return what the sensor makes of a picture [H, W, 3]; `rng` gives the noise."""
        if self == _PERFECT:
            return picture
        values = picture.astype(np.float32)
        if self.blur_px > 0:
            values = _blur(_blur(values, self.blur_px, 0), self.blur_px, 1)
        values *= np.asarray(self.gain, np.float32)
        values += np.asarray(self.offset_levels, np.float32)
        if self.noise_levels > 0:
            bank = _noise_bank(values.size)
            start = int(rng.integers(_NOISE_STARTS))
            values += np.float32(self.noise_levels) * bank[start : start + values.size].reshape(values.shape)
        np.clip(values, 0.0, 255.0, out=values)
        return np.asarray(values + np.float32(0.5)).astype(np.uint8)


_PERFECT = Sensor()
_NOISE_STARTS = 1 << 18


@lru_cache(maxsize=2)
def _noise_bank(size: int) -> NDArray[np.float32]:
    """Return normal noise to cut frames from at random places: drawing a frame's noise anew takes ten times longer."""
    return np.random.default_rng(0).standard_normal(_NOISE_STARTS + size, np.float32)


def _blur(values: NDArray[np.float32], deviation_px: float, axis: int) -> NDArray[np.float32]:
    """Blur [H, W, 3] along one axis with a Gaussian cut off at two deviations; edges repeat their last pixel."""
    radius = max(1, round(2 * deviation_px))
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / deviation_px) ** 2)
    weights = (weights / weights.sum()).astype(np.float32)
    rows = np.moveaxis(values, axis, 0)
    blurred = weights[radius] * rows
    for distance in range(1, radius + 1):
        weight = weights[radius + distance]
        blurred[distance:] += weight * rows[:-distance]
        blurred[:distance] += weight * rows[:1]
        blurred[:-distance] += weight * rows[distance:]
        blurred[-distance:] += weight * rows[-1:]
    return np.moveaxis(blurred, 0, axis)


def project(camera: Camera, point: Vector) -> tuple[float, float]:
    """Return the column and row (pixels, from the upper left corner) at which a camera sees a point (metres)."""
    pose = camera.pose
    eye, aim = np.array(pose.eye), np.array(pose.aim)
    forward = (aim - eye) / np.linalg.norm(aim - eye)
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    roll = np.radians(pose.roll_deg)
    offset = np.array(point) - eye
    across, along = offset @ right, offset @ down
    across, along = np.cos(roll) * across + np.sin(roll) * along, np.cos(roll) * along - np.sin(roll) * across
    scale = (camera.height_px / 2) / np.tan(np.radians(pose.field_of_view_deg) / 2) / (offset @ forward)
    middle = pose.principal_point[0] * camera.width_px, pose.principal_point[1] * camera.height_px
    return float(middle[0] + scale * across), float(middle[1] + scale * along)
