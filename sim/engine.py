"""What a simulator must offer to the rest of this package, in words that belong to none of them.

Conventions: metres, radians, seconds, kilograms, newtons; the world's z axis points up; quaternions are (x, y, z, w);
colours are RGB in 0 to 1. Bodies, links, joints and textures are integers that only the engine which issued them
understands; link -1 is a body's base.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NewType, Protocol

import numpy as np
from numpy.typing import NDArray

Body = NewType("Body", int)
Texture = NewType("Texture", int)
Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]
Image = NDArray[np.uint8]

BASE = -1


@dataclass(frozen=True)
class CameraPose:
    """A pinhole camera without roll, with a square image.

    Attributes:
        eye: Position, metres.
        aim: The point in the middle of the image, metres.
        field_of_view_deg: Full angle between opposite edges.
    """

    eye: Vector
    aim: Vector
    field_of_view_deg: float


@dataclass(frozen=True)
class Light:
    """One directional light over an even one.

    Attributes:
        direction: From the scene towards the light, any length.
        colour: RGB, 1 is white.
        ambient: Share of even light.
        diffuse: Share of directional light.
        specular: Strength of highlights.
        shadows: Whether the directional light casts shadows.
    """

    direction: Vector
    colour: Vector
    ambient: float
    diffuse: float
    specular: float
    shadows: bool


@dataclass(frozen=True)
class Motion:
    """Where a body or link is and how it moves, in world coordinates.

    Attributes:
        position: Metres.
        orientation: Quaternion (x, y, z, w).
        velocity: Metres per second.
        angular_velocity: Radians per second.
    """

    position: Vector
    orientation: Quaternion
    velocity: Vector
    angular_velocity: Vector


class Engine(Protocol):
    """A physics engine with a renderer. One instance holds one world that is built once and restored per episode."""

    @property
    def renderer(self) -> str:
        """Name of what makes the pictures, stored beside the data."""

    def load_robot(self, description: Path) -> Body:
        """Load a URDF file with a fixed base at the world's origin."""

    def add_body(
        self,
        *,
        visual: Path | None = None,
        collision_half_extents: Vector | None = None,
        position: Vector = (0.0, 0.0, 0.0),
        mass: float = 0.0,
    ) -> Body:
        """Add a body: a visual mesh (OBJ), a collision box (half edge lengths, metres) or both; mass 0 never moves."""

    def load_texture(self, path: Path) -> Texture:
        """Load a PNG image as a texture, which lives as long as the engine."""

    def joints(self, body: Body) -> dict[str, int]:
        """Return the joints of a robot by name."""

    def links(self, body: Body) -> dict[str, int]:
        """Return the links of a robot by name."""

    def set_joints(self, body: Body, joints: Sequence[int], positions: Sequence[float]) -> None:
        """Put joints (radians or metres) in place at rest, without physics."""

    def joint_positions(self, body: Body, joints: Sequence[int]) -> list[float]:
        """Return joint positions (radians or metres)."""

    def drive_joints(
        self,
        body: Body,
        joints: Sequence[int],
        targets: Sequence[float],
        gains: Sequence[float],
        forces: Sequence[float],
    ) -> None:
        """Set position motors: targets (radians or metres), gain (share of the error per step), limits (N m or N)."""

    def set_pose(self, body: Body, position: Vector, orientation: Quaternion = (0.0, 0.0, 0.0, 1.0)) -> None:
        """Put a body in place at rest."""

    def motion(self, body: Body, link: int = BASE) -> Motion:
        """Return pose and velocity of a body's centre or of a link's frame."""

    def set_dynamics(
        self,
        body: Body,
        link: int = BASE,
        *,
        mass: float | None = None,
        friction: float | None = None,
        joint_damping: float | None = None,
    ) -> None:
        """Change mass (kg), friction coefficient, or damping of the joint above the link (N m s / rad)."""

    def mass(self, body: Body, link: int = BASE) -> float:
        """Return the mass of a body or link, kilograms."""

    def paint(self, body: Body, link: int, colour: Vector, texture: Texture | None) -> None:
        """Give a body or link a colour, and a texture that the colour multiplies (None: plain)."""

    def step(self) -> None:
        """Advance physics by one step."""

    def save(self) -> None:
        """Remember the present state as the one that `restore` goes back to."""

    def restore(self) -> None:
        """Go back to the saved state: the same future follows from it every time."""

    def render(self, camera: CameraPose, light: Light, size: int) -> Image:
        """Return a colour image, [size, size, 3]."""

    def segment(self, camera: CameraPose, size: int) -> NDArray[np.int32]:
        """Return for every pixel which body it shows, -1 for none, [size, size]."""

    def close(self) -> None:
        """Free the engine, which being dropped does as well. It must not be used afterwards."""
