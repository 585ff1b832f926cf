"""What draws pictures, in words that belong to no engine: an engine tells poses, a renderer draws them.

A renderer is built for one `Scenery`. It is told once per physical state where the moving items are, and then asked for
any number of pictures of that state:

    renderer = RasterRenderer(scenery)
    renderer.place(engine.poses(frames))          # once per state
    image = renderer.render(look, camera)         # once per view
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from sim.engine import Image
from sim.scenery import Camera, Look

NOTHING = -1
"""What a segmentation holds where nothing is seen."""


class Renderer(Protocol):
    """Draws one scenery. The same state, look and camera give the same image, to the bit, in every process."""

    @property
    def name(self) -> str:
        """What makes the pictures, stored beside the data."""

    def place(self, poses: NDArray[np.float64]) -> None:
        """Say where the scenery's `moving` items are, in their order: position (metres) and quaternion, [N, 7]."""

    def render(self, look: Look, camera: Camera) -> Image:
        """Return a colour image [H, W, 3], the caller's own.

        Raises:
            ValueError: The look leaves a slot without material, or names a texture or item that the scenery lacks.
        """

    def segment(self, look: Look, camera: Camera) -> NDArray[np.int32]:
        """Return which item each pixel's middle shows, as its index in the scenery; `NOTHING` for none, [H, W]."""

    def depth(self, look: Look, camera: Camera) -> NDArray[np.float32]:
        """Return how far along the camera's axis each pixel's middle sees, metres, infinite for nothing, [H, W]."""

    def close(self) -> None:
        """Free the renderer. It must not be used afterwards."""
