"""PyBullet's own software renderer, behind `sim.renderer`: the reference that ours is held against.

It samples a pixel once, at its lower left corner. It knows one light, whose shadows have hard edges, and no second
lamp, no sky and no gloss of a material's own; what a `Look` says of these is left out. So are the scale and the turn of
a material's texture, a part's `two_sided`, and an item's `caster` and `board`: its parts cast the shadows.
"""

from __future__ import annotations

import math
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.bullet import bullet
from sim.engine import Image
from sim.renderer import NOTHING
from sim.scenery import Camera, Look, Part, Pose, Scenery
from sim.textures import write_png

_NEAR_M = 0.05
_FAR_M = 6.0
_LIGHT_DISTANCE_M = 4.0
# Where items are that are not seen.
_AWAY = Pose((0.0, 0.0, -100.0))
_PLAIN = -1


class BulletRenderer:
    """Implements `sim.renderer.Renderer` in a PyBullet world of its own, in which nothing moves by itself."""

    name = "pybullet-tiny"

    def __init__(self, scenery: Scenery) -> None:
        """Load a scenery."""
        self._scenery = scenery
        self._client = bullet.connect(bullet.DIRECT)
        if self._client < 0:
            raise RuntimeError("PyBullet refused a new world: too many worlds are open in this process")
        self._free = weakref.finalize(self, bullet.disconnect, self._client)
        self._free.atexit = False  # the process frees it anyway, and PyBullet may be gone by then
        self._bodies: dict[str, list[int]] = {}
        self._item_of: dict[int, int] = {-1: NOTHING}
        self._painted: dict[int, tuple[Any, ...]] = {}
        for index, item in enumerate(scenery.items):
            self._bodies[item.name] = [self._add(part) for part in item.parts]
            self._item_of.update(dict.fromkeys(self._bodies[item.name], index))
        self._textures = self._load_textures()
        self._placed: dict[str, Pose] = {}

    def _call(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        return function(*arguments, physicsClientId=self._client, **options)

    def _add(self, part: Part) -> int:
        mesh = part.mesh
        shape = self._call(
            bullet.createVisualShape,
            bullet.GEOM_MESH,
            vertices=mesh.vertices.tolist(),
            indices=mesh.triangles.ravel().tolist(),
            normals=mesh.normals.tolist(),
            uvs=mesh.texture_coordinates.tolist(),
        )
        return int(self._call(bullet.createMultiBody, 0.0, -1, shape, _AWAY.position))

    def _load_textures(self) -> dict[str | None, int]:
        """Load all textures: PyBullet reads them from files only, and forgets none that is loaded later."""
        textures: dict[str | None, int] = {None: _PLAIN}
        with tempfile.TemporaryDirectory(prefix="twist-textures-") as directory:
            for number, (name, picture) in enumerate(self._scenery.textures.items()):
                path = Path(directory) / f"{number}.png"
                write_png(path, picture)
                textures[name] = self._call(bullet.loadTexture, str(path))
        return textures

    def place(self, poses: NDArray[np.float64]) -> None:
        """See `Renderer.place`."""
        for name, pose in zip(self._scenery.moving, poses.tolist(), strict=True):
            self._put(name, pose[:3], pose[3:])

    def _put(self, name: str, position: Any, orientation: Any) -> None:
        for body in self._bodies[name]:
            self._call(bullet.resetBasePositionAndOrientation, body, position, orientation)

    def _furnish(self, look: Look) -> None:
        self._scenery.check(look)
        for name in self._bodies:
            pose = look.placed.get(name, _AWAY)
            if name not in self._scenery.moving and self._placed.get(name) != pose:
                self._put(name, pose.position, pose.orientation)
                self._placed[name] = pose
        for item in self._scenery.items:
            for body, part in zip(self._bodies[item.name], item.parts, strict=True):
                material = look.materials[part.slot]
                paint = ((*material.colour, 1.0), self._textures[material.texture])
                if self._painted.get(body) != paint:
                    self._call(bullet.changeVisualShape, body, -1, rgbaColor=paint[0], textureUniqueId=paint[1])
                    self._painted[body] = paint

    def render(self, look: Look, camera: Camera) -> Image:
        """See `Renderer.render`."""
        light = look.light
        backdrop_shows = tuple(look.backdrop) != (1.0, 1.0, 1.0)
        _, _, colours, _, bodies = self._photograph(
            look,
            camera,
            lightDirection=light.direction,
            lightColor=light.colour,
            lightDistance=_LIGHT_DISTANCE_M,
            shadow=int(light.shadows),
            lightAmbientCoeff=light.ambient,
            lightDiffuseCoeff=light.diffuse,
            lightSpecularCoeff=light.specular,
            flags=0 if backdrop_shows else bullet.ER_NO_SEGMENTATION_MASK,
        )
        shape = (camera.height_px, camera.width_px)
        image = np.ascontiguousarray(np.asarray(colours, np.uint8).reshape(*shape, 4)[..., :3])
        if backdrop_shows:
            image[np.asarray(bodies).reshape(shape) < 0] = np.round(255 * np.array(look.backdrop)).astype(np.uint8)
        return image

    def segment(self, look: Look, camera: Camera) -> NDArray[np.int32]:
        """See `Renderer.segment`."""
        bodies = np.asarray(self._photograph(look, camera)[4], np.int32)
        known, index = np.unique(bodies, return_inverse=True)
        items = np.array([self._item_of[body] for body in known.tolist()], np.int32)
        return items[index].reshape(camera.height_px, camera.width_px)

    def depth(self, look: Look, camera: Camera) -> NDArray[np.float32]:
        """See `Renderer.depth`."""
        _, _, _, buffer, bodies = self._photograph(look, camera)
        metres = _FAR_M * _NEAR_M / (_FAR_M - (_FAR_M - _NEAR_M) * np.asarray(buffer, np.float64))
        metres = np.where(np.asarray(bodies).reshape(metres.shape) < 0, np.inf, metres)
        return metres.reshape(camera.height_px, camera.width_px).astype(np.float32)

    def _photograph(self, look: Look, camera: Camera, **options: Any) -> Any:
        self._furnish(look)
        view, projection = _matrices(camera)
        return self._call(
            bullet.getCameraImage,
            camera.width_px,
            camera.height_px,
            view,
            projection,
            renderer=bullet.ER_TINY_RENDERER,
            **options,
        )

    def close(self) -> None:
        """See `Renderer.close`."""
        self._free()
        self._client = -1


def _matrices(camera: Camera) -> tuple[Any, Any]:
    pose = camera.pose
    forward = np.subtract(pose.aim, pose.eye)
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    roll = math.radians(pose.roll_deg)
    up = math.cos(roll) * np.cross(right, forward) + math.sin(roll) * right
    view = bullet.computeViewMatrix(pose.eye, pose.aim, up.tolist())
    half = _NEAR_M * math.tan(math.radians(pose.field_of_view_deg) / 2)
    width = 2 * half * camera.width_px / camera.height_px
    left, top = -pose.principal_point[0] * width, pose.principal_point[1] * 2 * half
    projection = bullet.computeProjectionMatrix(left, left + width, top - 2 * half, top, _NEAR_M, _FAR_M)
    return view, projection
