"""Pictures of the other world: MuJoCo's own OpenGL renderer, behind `sim.renderer`.

Edges, lights, highlights and shadows are another program's. It cannot show all that a `Look` says of these: the even
light has one colour, the mean of sky's and ground's; a second lamp has no highlights; edges of shadows are hard. Where
things are, camera, roll and principal point, materials and textures are exactly what was asked for.

OpenGL needs no screen and no GPU: `MUJOCO_GL` says how it is reached ("osmesa", "egl" or "glfw"); else it is OSMesa
where that is installed, and EGL where it is not.
"""

from __future__ import annotations

import atexit
import ctypes.util
import hashlib
import importlib
import math
import os
import weakref
from typing import Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from sim.engine import Image, Vector
from sim.meshes import Mesh, join
from sim.renderer import NOTHING
from sim.scenery import Camera, Lamp, Light, Look, Material, Part, Scenery

_WAYS = {"osmesa": "OSMesa", "egl": "EGL", "glfw": "glfw"}
_NEAR_M = 0.05
_FAR_M = 12.0
_LAMP_M = 2.0
_SAMPLES = 4
_SHADOW_PX = 1024
# Half the edge of the square in which shadows fall, as a multiple of the scenery's ball: a table is larger.
_SHADOW_REACH = 1.6
# OpenGL's exponent is 128 times as large, and as ours then.
_SHININESS = 0.25
_SHOWN, _HIDDEN = 0, 5
# A mesh's texture coordinates, neither scaled nor turned.
_AS_IT_IS = (1.0, 0.0)
_SKY, _SKY_PX = "/sky", 2
_GL_PX = 16


class MujocoRenderer:
    """Implements `sim.renderer.Renderer`. An instance belongs to one thread.

    Renderers of one scenery share a studio: its meshes and textures are given to OpenGL once.
    """

    name = "mujoco-opengl"

    def __init__(self, scenery: Scenery) -> None:
        """Compile a scenery.

        Raises:
            OSError: There is no OpenGL here, in one line.
        """
        self._scenery = scenery
        self._studio = _studio_of(scenery)
        self._poses = np.tile((0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0), (len(scenery.moving), 1))

    def place(self, poses: NDArray[np.float64]) -> None:
        """See `Renderer.place`.

        Raises:
            ValueError: A pose is not finite, as when a simulation has blown up.
        """
        if not np.isfinite(poses).all():
            lost = [name for name, pose in zip(self._scenery.moving, poses, strict=True) if not np.isfinite(pose).all()]
            raise ValueError(f"the pose of {', '.join(lost)} is not finite")
        self._poses[:] = poses

    def render(self, look: Look, camera: Camera) -> Image:
        """See `Renderer.render`."""
        self._scenery.check(look)
        self._studio.arrange(self._poses, look)
        return self._studio.draw(camera)

    def segment(self, look: Look, camera: Camera) -> NDArray[np.int32]:
        """See `Renderer.segment`."""
        return self._measure(look, camera)[0]

    def depth(self, look: Look, camera: Camera) -> NDArray[np.float32]:
        """See `Renderer.depth`."""
        return self._measure(look, camera)[1]

    def _measure(self, look: Look, camera: Camera) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        self._scenery.check(look)
        self._studio.arrange(self._poses, look)
        return self._studio.measure(camera)

    def close(self) -> None:
        """See `Renderer.close`."""
        vars(self).pop("_studio", None)


def _studio_of(scenery: Scenery) -> _Studio:
    """Return the studio for all sceneries with this content."""
    content = hashlib.sha256(repr((scenery.moving, scenery.middle, scenery.radius_m)).encode())
    for item in scenery.items:
        for part in item.parts:
            content.update(repr((item.name, item.casts_shadow, part.slot, part.two_sided)).encode())
            for array in (part.mesh.vertices, part.mesh.normals, part.mesh.texture_coordinates, part.mesh.triangles):
                content.update(array.tobytes())
    for name, picture in scenery.textures.items():
        content.update(name.encode() + picture.tobytes())
    key = content.hexdigest()
    studio = _studios.get(key)
    if studio is None:
        studio = _studios[key] = _Studio(scenery)
    return studio


class _Studio:
    """A scenery as a MuJoCo model in which nothing moves by itself, and OpenGL's copy of it."""

    def __init__(self, scenery: Scenery) -> None:
        self._gl = _open_gl()
        self._gl.make_current()
        self._scenery = scenery
        self._model: Any = _model_of(scenery)
        self._data: Any = mujoco.MjData(self._model)
        self._context: Any = mujoco.MjrContext(self._model, mujoco.mjtFontScale.mjFONTSCALE_50)
        self.free = weakref.finalize(self, _free, self._gl, self._context)
        self.free.atexit = False  # see `_free_all`
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZERONEAR
        self._scene: Any = mujoco.MjvScene(self._model, maxgeom=self._model.ngeom + 1)
        self._option: Any = mujoco.MjvOption()
        self._option.geomgroup[_HIDDEN] = 0
        self._look: Look | None = None
        self._textures = {None: -1} | {name: self._model.tex(name).id for name in scenery.textures}
        self._mocaps, self._geoms, self._item_of = {}, {}, np.zeros(self._model.ngeom, np.int32)
        for index, item in enumerate(scenery.items):
            self._mocaps[item.name] = int(self._model.body_mocapid[self._model.body(item.name).id])
            self._geoms[item.name] = [self._model.geom(f"{item.name}/{k}").id for k in range(len(item.parts))]
            self._item_of[self._geoms[item.name]] = index
        self._moving = [self._mocaps[name] for name in scenery.moving]
        self._mappings: dict[int, tuple[float, float]] = {}

    def arrange(self, poses: NDArray[np.float64], look: Look) -> None:
        """Put everything in place, and furnish, paint and light it unless the last look was the same.

        Args:
            poses: Of the moving items, [N, 7].
            look: Of the scenery.
        """
        self._gl.make_current()
        self._data.mocap_pos[self._moving] = poses[:, :3]
        self._data.mocap_quat[self._moving] = poses[:, [6, 3, 4, 5]]
        if self._look is not look:
            self._furnish(look)
            self._paint(look)
            self._light(look.light)
            self._colour_backdrop(look.backdrop)
            self._look = look
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_comPos(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)

    def _furnish(self, look: Look) -> None:
        for item in self._scenery.items:
            if item.name in self._scenery.moving:
                continue
            pose = look.placed.get(item.name)
            self._model.geom_group[self._geoms[item.name]] = _HIDDEN if pose is None else _SHOWN
            if pose is not None:
                x, y, z, w = pose.orientation
                self._data.mocap_pos[self._mocaps[item.name]] = pose.position
                self._data.mocap_quat[self._mocaps[item.name]] = w, x, y, z

    def _paint(self, look: Look) -> None:
        roles = mujoco.mjtTextureRole.mjNTEXROLE
        for slot in self._scenery.slots:
            material, number = look.materials[slot], self._model.mat(slot).id
            self._model.mat_rgba[number, :3] = material.colour
            self._model.mat_specular[number] = material.gloss
            self._context.mat_texid[roles * number + mujoco.mjtTextureRole.mjTEXROLE_RGB] = self._textures[
                material.texture
            ]
        for item in self._scenery.items:
            for geom, part in zip(self._geoms[item.name], item.parts, strict=True):
                material = look.materials[part.slot]
                if material.texture is not None:
                    self._map(int(self._model.geom_dataid[geom]), part.mesh, material)

    def _map(self, mesh: int, shape: Mesh, material: Material) -> None:
        """Scale and turn the texture on a mesh: OpenGL takes the mesh's own texture coordinates."""
        turn = math.radians(material.turn_deg)
        mapping = math.cos(turn) / material.scale, math.sin(turn) / material.scale
        if self._mappings.get(mesh, _AS_IT_IS) == mapping:
            return
        across, along = mapping
        u, v = shape.texture_coordinates.T
        mapped = np.stack([across * u + along * v, across * v - along * u], axis=1)
        first, count = self._model.mesh_texcoordadr[mesh], self._model.mesh_texcoordnum[mesh]
        self._model.mesh_texcoord[first : first + count] = mapped[np.arange(count) % len(mapped)]
        mujoco.mjr_uploadMesh(self._model, self._context, mesh)
        self._mappings[mesh] = mapping

    def _light(self, light: Light) -> None:
        model, headlight = self._model, self._model.vis.headlight
        even = (np.array(light.sky) + np.array(light.ground)) / 2
        headlight.ambient = light.ambient * even
        second = light.second or Lamp((0.0, 0.0, 1.0), (0.0, 0.0, 0.0), 0.0)
        for number, direction, colour, strength in (
            (0, light.direction, light.colour, light.diffuse),
            (1, second.direction, second.colour, second.strength),
        ):
            towards = np.array(direction) / np.linalg.norm(direction)
            model.light_dir[number] = -towards
            model.light_pos[number] = np.array(self._scenery.middle) + _LAMP_M * towards
            model.light_diffuse[number] = _beside(light.ambient, strength, colour)
        model.light_specular[0] = light.specular * np.array(light.colour)
        model.light_castshadow[0] = light.shadows
        model.light_active[1] = light.second is not None

    def _colour_backdrop(self, colour: Vector) -> None:
        sky = self._model.tex(_SKY).id
        first = self._model.tex_adr[sky]
        texels = self._model.tex_width[sky] * self._model.tex_height[sky]
        values = np.tile(np.round(255 * np.array(colour)).astype(np.uint8), texels)
        if not np.array_equal(self._model.tex_data[first : first + len(values)], values):
            self._model.tex_data[first : first + len(values)] = values
            mujoco.mjr_uploadTexture(self._model, self._context, sky)

    def draw(self, camera: Camera) -> Image:
        """Return a picture, [H, W, 3]."""
        return self._picture(camera, measured=False)[0]

    def measure(self, camera: Camera) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return what each pixel shows, as `Renderer.segment` and `Renderer.depth` do."""
        colours, depth = self._picture(camera, measured=True)
        seen = colours.astype(np.int32) @ np.array([1, 256, 65536], np.int32) - 1
        shown = [geom.objid for geom in self._scene.geoms[: self._scene.ngeom]]
        items = np.append(self._item_of[shown], np.int32(NOTHING))[seen]
        metres = _NEAR_M / (1.0 - depth.astype(np.float64) * (1.0 - _NEAR_M / _FAR_M))
        return items, np.where(seen < 0, np.inf, metres).astype(np.float32)

    def _picture(self, camera: Camera, *, measured: bool) -> tuple[Image, NDArray[np.float32]]:
        """Return colours [H, W, 3], or with `measured` the numbers of what is seen as such, and depths [H, W]."""
        scene, context, width, height = self._scene, self._context, camera.width_px, camera.height_px
        if width > context.offWidth or height > context.offHeight:
            larger = max(width, context.offWidth), max(height, context.offHeight)
            mujoco.mjr_resizeOffscreen(*larger, context)
        every = mujoco.mjtCatBit.mjCAT_ALL
        mujoco.mjv_updateScene(self._model, self._data, self._option, None, mujoco.MjvCamera(), every, scene)
        for geom in scene.geoms[: scene.ngeom]:
            if not self._scenery.items[self._item_of[geom.objid]].casts_shadow:
                geom.category = mujoco.mjtCatBit.mjCAT_DECOR  # which casts none
        for own in scene.camera:
            _aim(own, camera)
        for flag, on in _FLAGS.items():
            scene.flags[flag] = on
        scene.flags[mujoco.mjtRndFlag.mjRND_SEGMENT] = scene.flags[mujoco.mjtRndFlag.mjRND_IDCOLOR] = measured
        area = mujoco.MjrRect(0, 0, width, height)
        mujoco.mjr_render(area, scene, context)
        colours, depth = np.empty((height, width, 3), np.uint8), np.empty((height, width), np.float32)
        mujoco.mjr_readPixels(colours, depth if measured else None, area, context)
        return np.ascontiguousarray(colours[::-1]), depth[::-1]


_FLAGS = {
    mujoco.mjtRndFlag.mjRND_SHADOW: True,
    mujoco.mjtRndFlag.mjRND_SKYBOX: True,
    mujoco.mjtRndFlag.mjRND_CULL_FACE: True,
    mujoco.mjtRndFlag.mjRND_REFLECTION: False,
    mujoco.mjtRndFlag.mjRND_FOG: False,
    mujoco.mjtRndFlag.mjRND_HAZE: False,
}
_studios: weakref.WeakValueDictionary[str, _Studio] = weakref.WeakValueDictionary()


def _free(gl: Any, context: Any) -> None:
    gl.make_current()  # what is freed is that of the current context, whoever's it is
    context.free()
    gl.free()


def _free_all() -> None:
    """Free every studio; at the end of the process, before OpenGL itself goes."""
    for studio in list(_studios.values()):
        studio.free()


def _beside(even: float, strength: float, colour: Vector) -> NDArray[np.float64]:
    """Return a lamp's RGB such that a white surface which faces it shows what `Light` says; OpenGL adds to the even."""
    whole = (even + strength) ** 2 - even**2
    return np.asarray(np.sqrt(even**2 + whole * np.square(colour)) - even)


def _aim(own: Any, camera: Camera) -> None:
    """Turn a camera of MuJoCo's into one of a picture."""
    pose = camera.pose
    forward = np.subtract(pose.aim, pose.eye)
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    roll = math.radians(pose.roll_deg)
    own.pos, own.forward = pose.eye, forward
    own.up = math.cos(roll) * np.cross(right, forward) + math.sin(roll) * right
    height = 2 * _NEAR_M * math.tan(math.radians(pose.field_of_view_deg) / 2)
    width = height * camera.width_px / camera.height_px
    own.frustum_near, own.frustum_far = _NEAR_M, _FAR_M
    own.frustum_width = width / 2
    own.frustum_center = width * (0.5 - pose.principal_point[0])
    own.frustum_top = height * pose.principal_point[1]
    own.frustum_bottom = own.frustum_top - height


def _model_of(scenery: Scenery) -> Any:
    """Compile a scenery: one place per item, one mesh per part, one material per slot."""
    spec: Any = mujoco.MjSpec()
    spec.stat.extent = 1.0  # the unit of the lengths that follow
    spec.visual.map.znear, spec.visual.map.zfar = _NEAR_M, _FAR_M
    spec.visual.map.shadowclip = _SHADOW_REACH * scenery.radius_m
    spec.visual.quality.shadowsize, spec.visual.quality.offsamples = _SHADOW_PX, _SAMPLES
    spec.visual.headlight.diffuse = spec.visual.headlight.specular = (0.0, 0.0, 0.0)
    for name in ("key", "second"):
        lamp = spec.worldbody.add_light(name=name, type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL)
        lamp.ambient = lamp.specular = (0.0, 0.0, 0.0)
        lamp.castshadow = False
    sky = mujoco.mjtTexture.mjTEXTURE_SKYBOX
    _add_texture(spec, _SKY, np.full((6 * _SKY_PX, _SKY_PX, 3), 255, np.uint8), sky)
    for name, picture in scenery.textures.items():
        _add_texture(spec, name, picture[::-1], mujoco.mjtTexture.mjTEXTURE_2D)
    for slot in scenery.slots:
        spec.add_material(name=slot, shininess=_SHININESS)
    for item in scenery.items:
        body = spec.worldbody.add_body(name=item.name, mocap=True)
        for k, part in enumerate(item.parts):
            name = f"{item.name}/{k}"
            _add_mesh(spec, name, part)
            geom = body.add_geom(name=name, type=mujoco.mjtGeom.mjGEOM_MESH, meshname=name, material=part.slot)
            geom.contype = geom.conaffinity = 0
            geom.group = _SHOWN
    return spec.compile()


def _add_texture(spec: Any, name: str, picture: NDArray[np.uint8], kind: Any) -> None:
    height, width, channels = picture.shape
    texture = spec.add_texture(name=name, type=kind, height=height, width=width, nchannel=channels)
    texture.data = picture.tobytes()


def _add_mesh(spec: Any, name: str, part: Part) -> None:
    mesh = part.mesh
    if part.two_sided:
        back = Mesh(mesh.vertices, -mesh.normals, mesh.texture_coordinates, mesh.triangles[:, ::-1])
        mesh = join([mesh, back])
    spec.add_mesh(
        name=name,
        uservert=mesh.vertices.ravel(),
        usernormal=mesh.normals.ravel(),
        usertexcoord=mesh.texture_coordinates.ravel(),
        userface=mesh.triangles.ravel(),
        inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL,  # flat ones have no volume
    )


def _open_gl() -> Any:
    """Return an OpenGL context that needs no screen.

    Raises:
        OSError: There is none here.
        ValueError: `MUJOCO_GL` names none.
    """
    named = os.environ.get("MUJOCO_GL", "").lower()
    if named and named not in _WAYS:
        raise ValueError(f"MUJOCO_GL is {named!r}, allowed: {', '.join(_WAYS)}")
    there = [way for way, library in _WAYS.items() if way != "glfw" and ctypes.util.find_library(library)]
    for way in [named] if named else there[:1]:
        try:
            context = importlib.import_module(f"mujoco.{way}").GLContext(_GL_PX, _GL_PX)
        except (ImportError, AttributeError, RuntimeError) as error:
            reason = f"{way} does not work here ({error})"
            break
        atexit.register(_free_all)  # after the first context has registered that OpenGL goes, so that it comes before
        return context
    else:
        reason = "neither OSMesa nor EGL is installed"
    raise OSError(f"MuJoCo cannot draw: {reason}; apt-get install libosmesa6 or libegl1, or set MUJOCO_GL")
