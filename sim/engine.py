"""What a simulator must offer to the rest of this package, in words that belong to none of them.

Conventions: metres, radians, seconds, kilograms, newtons; the world's z axis points up; quaternions are (x, y, z, w).
Bodies, links and joints are integers that only the engine which issued them understands; link -1 is a body's base. An
engine draws nothing: it tells where things are (`Engine.poses`), and a `sim.renderer.Renderer` draws them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NewType, Protocol

import numpy as np
from numpy.typing import NDArray

Body = NewType("Body", int)
Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]
Image = NDArray[np.uint8]

BASE = -1

Frame = tuple[Body, int]
"""A body's link, or its base."""


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
    """A physics engine. One instance holds one world that is built once and restored per episode."""

    def load_robot(self, description: Path) -> Body:
        """Load a URDF file with a fixed base at the world's origin.

        Inertias are those of the file. A joint that mimics another one moves with it, also when a force acts on only
        one of the two; both are driven. A body's own links do not collide with each other.
        """

    def add_body(
        self,
        *,
        collision_half_extents: Vector | None = None,
        position: Vector = (0.0, 0.0, 0.0),
        mass: float = 0.0,
    ) -> Body:
        """Add a body: a collision box (half edge lengths, metres), or a mere place; mass 0 moves only by `set_pose`.

        Of mass 0 are the table, which stays, and goals, which are put elsewhere each episode. An engine that compiles
        its world when it is complete does so at `save`, or at the first step: nothing is added later.
        """

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
        forces: Sequence[float],
    ) -> None:
        """Say where motors have joints at the next step's end (radians or metres), with what force at most (N m or N).

        What a joint's speed must be for that is held through the whole step, also where an engine divides it; gravity
        and contacts count against the forces. Motors keep their targets until they are given others, also over
        `restore`. The targets are a way that the arm can go (`sim.actuator`): nothing below need smooth or limit them.
        """

    def set_pose(self, body: Body, position: Vector, orientation: Quaternion = (0.0, 0.0, 0.0, 1.0)) -> None:
        """Put a body in place at rest."""

    def motion(self, body: Body, link: int = BASE) -> Motion:
        """Return pose and velocity of a body's centre or of a link's frame; both are of the last step's end."""

    def poses(self, frames: tuple[Frame, ...]) -> NDArray[np.float64]:
        """Return position and quaternion of the frames in which bodies' and links' meshes are given, [N, 7]."""

    def set_dynamics(
        self,
        body: Body,
        link: int = BASE,
        *,
        mass: float | None = None,
        friction: float | None = None,
    ) -> None:
        """Change a body's mass (kg), with its inertia in proportion, or the friction of a body or link (coefficient).

        What two bodies' friction is together is the product of theirs. The scene calls this also while it is built, and
        what it sets then holds over whatever is added later.
        """

    def step(self) -> None:
        """Advance physics by one step."""

    def save(self) -> None:
        """Remember the present state as the one that `restore` goes back to."""

    def restore(self) -> None:
        """Go back to the saved state: the same future follows from it every time."""

    def close(self) -> None:
        """Free the engine, which being dropped does as well. It must not be used afterwards."""
