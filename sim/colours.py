"""Colours as a screen shows them (RGB, 0 to 1): how different two look, and what lamps of a temperature give."""

from __future__ import annotations

import colorsys

import numpy as np

from sim.engine import Vector

# OKLab (Björn Ottosson, 2020, bottlosson.github.io/posts/oklab): linear RGB to cone responses, their roots to L, a, b.
_TO_CONES = np.array([[0.4122, 0.5363, 0.0514], [0.2119, 0.6807, 0.1074], [0.0883, 0.2817, 0.6300]])
_TO_LAB = np.array([[0.2105, 0.7936, -0.0041], [1.9780, -2.4286, 0.4506], [0.0259, 0.7828, -0.8087]])

# What a camera that is balanced for daylight shows of white paper under lamps of these temperatures (kelvin). It lies
# between the lamp's own colour and white, for cameras balance themselves a good part of the way.
_LAMPS = {2000.0: (1.0, 0.78, 0.52), 2700.0: (1.0, 0.87, 0.70), 5500.0: (1.0, 1.0, 1.0), 10000.0: (0.86, 0.93, 1.0)}


def from_hsv(hue_deg: float, saturation: float, value: float) -> Vector:
    """Return a colour by its hue (degrees), saturation and value (0 to 1)."""
    return colorsys.hsv_to_rgb(hue_deg % 360.0 / 360.0, saturation, value)


def difference(one: Vector, other: Vector) -> float:
    """Return how different two colours look: their distance in OKLab, 0 for equal ones, 1 for black and white."""
    first, second = (
        _TO_LAB @ np.cbrt(_TO_CONES @ np.square(np.asarray(colour, np.float64))) for colour in (one, other)
    )
    return float(np.linalg.norm(first - second))


def of_lamp(temperature_k: float) -> Vector:
    """Return the colour of a lamp's light, from candles' (2,000 K) to a clear sky's (10,000 K)."""
    mired = [1e6 / kelvin for kelvin in _LAMPS]
    order = np.argsort(mired)
    channels = np.array(list(_LAMPS.values())).T
    red, green, blue = (
        float(np.interp(1e6 / temperature_k, np.array(mired)[order], channel[order])) for channel in channels
    )
    return red, green, blue
