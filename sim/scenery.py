"""What a picture shows, as data: meshes in parts, materials, textures, lights, a camera. No engine, no renderer.

Conventions are those of `sim.engine`: metres, the world's z axis up, quaternions (x, y, z, w). Colours are RGB in 0 to
1 as a screen shows them, not linear in light. A `Scenery` is built once and holds everything that may ever be seen; a
`Look` says how one view of it is painted, lit and furnished.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sim.engine import Quaternion, Vector
from sim.meshes import Mesh

Picture = NDArray[np.uint8]
"""A texture [S, S, 3]; S is a power of two."""

LARGEST_TEXTURE_PX = 1024


@dataclass(frozen=True)
class Pose:
    """Where something is.

    Attributes:
        position: Metres.
        orientation: Quaternion (x, y, z, w).
    """

    position: Vector = (0.0, 0.0, 0.0)
    orientation: Quaternion = (0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Part:
    """Triangles that share one material.

    Attributes:
        mesh: In the frame of the item.
        slot: Which material of a `Look` it gets; several parts may share one.
        two_sided: Whether its back is seen too, as of a sheet; closed shapes need none.
    """

    mesh: Mesh
    slot: str
    two_sided: bool = False


@dataclass(frozen=True)
class Board:
    """A level board.

    Attributes:
        middle: Of its lower side, in the frame of its item, which is not turned, metres.
        half_extents: Half of its width along x and y, metres.
        is_round: Whether it is a disc; then both are its radius.
    """

    middle: Vector
    half_extents: tuple[float, float]
    is_round: bool = False


@dataclass(frozen=True)
class Item:
    """A rigid thing: one link of a robot, a cube, a wall, a mug.

    Attributes:
        name: Its own, in its scenery.
        parts: What it consists of.
        casts_shadow: Whether it keeps the lamp's light from others; what lies below all else need not.
        caster: A closed mesh that casts its shadow, coarser than its parts; None: these.
        board: What keeps the lamp's light from all below it, wherever that is, as a table's top does; None: nothing.
    """

    name: str
    parts: tuple[Part, ...]
    casts_shadow: bool = True
    caster: Mesh | None = None
    board: Board | None = None


@dataclass(frozen=True)
class Scenery:
    """Everything that may be seen.

    Attributes:
        items: All of them.
        moving: Names of the items that the engine moves, in the order in which `Renderer.place` is told their poses.
            Another item is seen where, and only where, a `Look` places it.
        textures: By the name that a material gives.
        middle: Of the ball within which shadows fall, metres.
        radius_m: Of that ball.

    Raises:
        ValueError: Two items have one name, `moving` names no item, or a texture is not a square of a power of two.
    """

    items: tuple[Item, ...]
    moving: tuple[str, ...] = ()
    textures: Mapping[str, Picture] = field(default_factory=dict)
    middle: Vector = (0.45, 0.0, 0.1)
    radius_m: float = 0.62

    def __post_init__(self) -> None:
        names = [item.name for item in self.items]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"{names.count(name)} items are named {name!r}, allowed: one")
        for name in self.moving:
            if name not in names:
                raise ValueError(f"moving names {name!r}, allowed: {', '.join(names)}")
        for name, picture in self.textures.items():
            edge = picture.shape[0]
            if picture.shape != (edge, edge, 3) or edge & (edge - 1) or not 1 <= edge <= LARGEST_TEXTURE_PX:
                raise ValueError(
                    f"texture {name!r} is {picture.shape}, allowed: [S, S, 3], S a power of two to {LARGEST_TEXTURE_PX}"
                )

    @property
    def slots(self) -> tuple[str, ...]:
        """The material slots of all parts, each once, in the order of the parts."""
        return tuple(dict.fromkeys(part.slot for item in self.items for part in item.parts))

    def check(self, look: Look) -> None:
        """Refuse a look that is not one of this scenery.

        Raises:
            ValueError: It leaves a slot without material, names a texture or an item that is not here or that moves, or
                places two items with boards.
        """
        for slot in self.slots:
            if slot not in look.materials:
                raise ValueError(f"slot {slot!r} has no material, given: {', '.join(look.materials)}")
            texture = look.materials[slot].texture
            if texture is not None and texture not in self.textures:
                raise ValueError(f"slot {slot!r} has texture {texture!r}, allowed: {', '.join(self.textures)}")
        names = [item.name for item in self.items if item.name not in self.moving]
        for name in look.placed:
            if name not in names:
                raise ValueError(f"item {name!r} is placed, allowed: {', '.join(names)}")
        boards = [item.name for item in self.items if item.board is not None and item.name in look.placed]
        if len(boards) > 1:
            raise ValueError(f"{', '.join(boards)} are placed, allowed: one item with a board")


@dataclass(frozen=True)
class Material:
    """How a surface looks.

    Attributes:
        colour: RGB, which multiplies the texture.
        texture: Of the scenery; None: plain.
        gloss: Strength of its highlights: 0 is chalk, 1 a light's own specular strength.
        scale: How much larger than its mesh says the texture is drawn.
        turn_deg: By how much the texture is turned on its mesh.
    """

    colour: Vector
    texture: str | None = None
    gloss: float = 1.0
    scale: float = 1.0
    turn_deg: float = 0.0


@dataclass(frozen=True)
class Lamp:
    """A second light, which casts no shadow.

    Attributes:
        direction: From the scene towards the lamp, any length.
        colour: RGB, 1 is white.
        strength: Share of its light, as `Light.diffuse`.
    """

    direction: Vector
    colour: Vector
    strength: float


@dataclass(frozen=True)
class Light:
    """One directional light over an even one, and perhaps a second lamp.

    A surface that faces the light shows its colour times `ambient + diffuse`, one in its shadow times `ambient`.

    Attributes:
        direction: From the scene towards the light, any length.
        colour: RGB, 1 is white.
        ambient: Share of even light.
        diffuse: Share of directional light.
        specular: Strength of highlights.
        shadows: Whether the directional light casts shadows.
        spread: How far the edge of a shadow reaches to either side, metres, for each metre between what casts it and
            where it falls: half of the lamp's width as a share of its distance. The rasteriser draws edges up to
            3.5 texels of its shadow map to either side, 0.034 m across the light in a scenery of the usual radius, but
            for those of a board.
        sky: Colour of the even light that falls from above.
        ground: Colour of the even light that comes from below.
        second: A lamp beside the light.
    """

    direction: Vector
    colour: Vector
    ambient: float
    diffuse: float
    specular: float
    shadows: bool
    spread: float = 0.0
    sky: Vector = (1.0, 1.0, 1.0)
    ground: Vector = (1.0, 1.0, 1.0)
    second: Lamp | None = None


@dataclass(frozen=True)
class CameraPose:
    """Where a pinhole camera stands and how it looks.

    Attributes:
        eye: Position, metres.
        aim: A point on its axis, metres.
        field_of_view_deg: Full angle between upper and lower edge, when the axis meets the image's middle.
        roll_deg: Turn about its axis, clockwise seen from behind: upright things lean to the left in the image.
        principal_point: Where the axis meets the image: shares of its width from the left and its height from the top.
    """

    eye: Vector
    aim: Vector
    field_of_view_deg: float
    roll_deg: float = 0.0
    principal_point: tuple[float, float] = (0.5, 0.5)


@dataclass(frozen=True)
class Camera:
    """A camera and the size of its image, pixels; pixels are square."""

    pose: CameraPose
    width_px: int
    height_px: int


@dataclass(frozen=True, eq=False)
class Look:
    """How one view of a scenery is painted, lit and furnished. Make one per episode and view, and hand it over again.

    Attributes:
        materials: For every slot of the scenery.
        light: What shines.
        placed: Poses of items that no engine moves; who is neither moved nor placed is not seen.
        backdrop: Colour of where nothing is, RGB.
    """

    materials: Mapping[str, Material]
    light: Light
    placed: Mapping[str, Pose] = field(default_factory=dict)
    backdrop: Vector = (1.0, 1.0, 1.0)
