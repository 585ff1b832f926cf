"""`Exposure`: what a sensor makes of a picture, whoever drew it."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from sim.engine import Image
from sim.raster.arrays import Floats
from sim.raster.compiling import load
from sim.sensor import LOSSLESS, Sensor

# Luma of ITU-R BT.601, from which colourfulness is reckoned.
_LUMA = np.array([0.299, 0.587, 0.114])
# Steps of the curve per level.
_FINE = 4
_NOISE_STARTS = 1 << 18
_PERFECT = Sensor()
# How much a camera can open up at most: four stops, as a factor of what a screen is told.
_MOST_OPENED = 4.0


class Exposure:
    """Applies sensors to pictures of one size, without allocating anything but the image."""

    def __init__(self, height: int, width: int, *, quiet: bool = False) -> None:
        """Make the scratch for pictures [height, width, 3], and compile the kernels where nobody has."""
        self._kernels = load(quiet)
        self._values, self._scratch = np.zeros((2, height, width, 3), np.float32)
        self._rows = self._values.reshape(height, -1), self._scratch.reshape(height, -1)
        rows, columns = -(-height // 16) * 16, -(-width // 16) * 16
        self._luma = np.zeros((rows, columns), np.float32)
        self._blue, self._red = np.zeros((2, rows // 2, columns // 2), np.float32)
        self._noise = noise_bank(height * width * 3)
        down, across = ((2 * np.arange(count) + 1) / count - 1 for count in (height, width))
        self._from_middle = (down[:, None] ** 2 + across**2) / 2
        self._opened_up = np.zeros((3, 3), np.float32)
        self._sensor: Sensor | None = None

    def expose(self, picture: Image, sensor: Sensor, rng: np.random.Generator) -> Image:
        """Return what a sensor makes of a picture [H, W, 3]; `rng` gives the noise.

        A sensor without flaws gives back the picture itself.
        """
        if sensor == _PERFECT:
            return picture
        if sensor != self._sensor:
            self._prepare(sensor)
        kernels, values = self._kernels, self._values
        kernels.take_in(picture, values)
        if sensor.blur_px > 0:
            kernels.soften(*self._rows, self._weights)
        if sensor.motion_px > 0:
            kernels.smear(values, self._scratch, 2 + round(sensor.motion_px), *self._motion)
        start = int(rng.integers(_NOISE_STARTS)) if sensor.noise_levels > 0 else 0
        np.multiply(self._mixed, self._opened(picture, sensor), out=self._opened_up)
        kernels.tone(values, self._opened_up, self._shade, self._curve, self._noise, start, float(sensor.noise_levels))
        if sensor.jpeg_quality < LOSSLESS:
            kernels.compress(values, self._luma, self._blue, self._red, cosines(), *self._steps)
        image = np.empty(picture.shape, np.uint8)
        kernels.give_out(values, image)
        return image

    def _opened(self, picture: Image, sensor: Sensor) -> float:
        """Return the factor by which the camera brightens a dark picture by itself."""
        if sensor.least_brightness <= 0:
            return 1.0
        told: float = self._kernels.brightness(picture) * 2.0 ** (sensor.exposure_stops / 2)
        return min(max(1.0, sensor.least_brightness / max(told, 1e-3)), _MOST_OPENED)

    def _prepare(self, sensor: Sensor) -> None:
        """Work out what is the same for all pictures of a sensor: it stays for an episode."""
        radius = max(1, round(2 * sensor.blur_px))
        weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / max(sensor.blur_px, 1e-3)) ** 2)
        self._weights = (weights / weights.sum()).astype(np.float32)
        direction = math.radians(sensor.motion_deg)
        self._motion = sensor.motion_px * math.cos(direction), -sensor.motion_px * math.sin(direction)
        # Gains are of light, whose square root is what a screen is told.
        light = 2.0**sensor.exposure_stops * np.array([sensor.red_gain, 1.0, sensor.blue_gain])
        grey = np.outer(np.ones(3), _LUMA)
        self._mixed = ((grey + sensor.saturation * (np.eye(3) - grey)) * np.sqrt(light)).astype(np.float32)
        self._shade = np.sqrt(1 - sensor.vignette * self._from_middle).astype(np.float32)
        self._curve = (255 * np.linspace(0, 1, 255 * _FINE + 1) ** sensor.gamma).astype(np.float32)
        self._steps = quantisation(sensor.jpeg_quality, chroma=False), quantisation(sensor.jpeg_quality, chroma=True)
        self._sensor = sensor


@lru_cache(maxsize=2)
def noise_bank(size: int) -> Floats:
    """Return normal noise to cut frames from at random places: drawing a frame's noise anew takes ten times longer."""
    return np.random.default_rng(0).standard_normal(_NOISE_STARTS + size, np.float32)


@lru_cache(maxsize=1)
def cosines() -> Floats:
    """Return the matrix of the discrete cosine transform, [8, 8]."""
    k, n = np.arange(8)[:, None], np.arange(8)
    scale = np.where(k == 0, math.sqrt(1 / 8), math.sqrt(2 / 8))
    return (scale * np.cos(np.pi * (2 * n + 1) * k / 16)).astype(np.float32)


# Steps of quality 50 (ITU-T T.81, tables K.1 and K.2).
_LUMA_STEPS = (
    *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56),
    *(14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA_STEPS = (17, 18, 24, 47, 18, 21, 26, 66, 24, 26, 56, 99, 47, 66, 99, 99)


def quantisation(quality: float, *, chroma: bool) -> Floats:
    """Return the steps to which a quality rounds, scaled as libjpeg does, [8, 8]."""
    table = np.full((8, 8), 99.0)
    if chroma:
        table[:4, :4] = np.reshape(_CHROMA_STEPS, (4, 4))
    else:
        table[:] = np.reshape(_LUMA_STEPS, (8, 8))
    scale = 5000 / quality if quality < 50 else 200 - 2 * quality
    return np.clip(np.floor((table * scale + 50) / 100), 1, 255).astype(np.float32)
