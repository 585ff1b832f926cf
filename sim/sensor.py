"""A camera's flaws, as data: blur, white balance, exposure, gamma, vignette, noise, JPEG.

`sim.raster.exposure` has them happen to a picture.
"""

from __future__ import annotations

from dataclasses import dataclass

LOSSLESS = 100.0


@dataclass(frozen=True)
class Sensor:
    """A camera's flaws; the defaults are none.

    Attributes:
        blur_px: Standard deviation of the blur of focus, pixels.
        motion_px: Length of the blur of motion, pixels.
        motion_deg: Its direction, from the image's right upwards.
        exposure_stops: Of light, 1 doubles it.
        least_brightness: Mean of what a screen is told, 0 to 1, up to which the camera opens by itself, by four stops
            at most; 0: it never does.
        red_gain: Factor of the red light.
        blue_gain: Factor of the blue light.
        saturation: Factor of colourfulness.
        gamma: Power of what a screen is told, 0 to 1.
        vignette: Share of light that is missing in the corners.
        noise_levels: Standard deviation of the noise added to every value, of 255 levels.
        jpeg_quality: 5 to 100, which is lossless here.
    """

    blur_px: float = 0.0
    motion_px: float = 0.0
    motion_deg: float = 0.0
    exposure_stops: float = 0.0
    least_brightness: float = 0.0
    red_gain: float = 1.0
    blue_gain: float = 1.0
    saturation: float = 1.0
    gamma: float = 1.0
    vignette: float = 0.0
    noise_levels: float = 0.0
    jpeg_quality: float = LOSSLESS
