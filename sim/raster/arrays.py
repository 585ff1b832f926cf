"""What the kernels work on: a few groups of arrays, laid out once, so that no picture allocates any.

Letters of shapes: V vertices, T triangles, P parts, F frames (one per item of the scenery), M materials (one per slot),
N texels, H x W samples (twice the image's pixels each way).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Integers = NDArray[np.int32]
Bytes = NDArray[np.uint8]

# Columns of `Geometry.parts`.
FIRST_TRIANGLE, LAST_TRIANGLE, FIRST_VERTEX, LAST_VERTEX, FRAME, CASTS, TWO_SIDED = range(7)
PART_COLUMNS = 7

# Columns of `Canvas.planes`: three numbers per corner, then which side is seen.
SIDE = 9
PLANE_COLUMNS = 10

# Columns of `Canvas.values`: planes (a, b, c) of what varies over a triangle, divided by the distance ...
INVERSE, SPOT, UV, NORMAL = 0, 3, 12, 18
# ... then, where the triangle is flat, what it gets of the lights, see `shading.light_up` ...
LIT = 27
# ... and how many texels of a texture of one texel's width there are to a pixel, times the cube of the distance.
DENSITY = 32
VALUE_COLUMNS = 33

# Rows of `Paint.lights`.
TOWARDS, HALF_WAY, KEY, SKY, GROUND, SECOND_TOWARDS, SECOND = range(7)
LIGHT_ROWS = 7

# Entries of `Paint.penumbra`: how many texels of the shadow map per axis a point asks (0: no shadows), the window that
# lies among them (texels), and how far from its surface, outwards and towards the light (metres), a point is when it
# asks.
TEXELS, WIDTH, OUTWARDS, TOWARDS_LIGHT = range(4)
PENUMBRA_ENTRIES = 4


class Geometry(NamedTuple):
    """What never changes: meshes in the frames of their items, and textures.

    Attributes:
        vertices: Metres, [V, 3].
        normals: Unit length, [V, 3].
        uv: Texture coordinates, [V, 2].
        triangles: Indices of vertices, [T, 3].
        material_of: Of each triangle, [T].
        part_of: Of each triangle, [T].
        parts: First and last triangle and vertex, frame, whether it casts a shadow, whether it has two sides, [P, 7].
        spheres: Middle and radius of a ball around each part, [P, 4].
        texels: Linear light, all levels of all textures one after another, [N, 3].
    """

    vertices: Floats
    normals: Floats
    uv: Floats
    triangles: Integers
    material_of: Integers
    part_of: Integers
    parts: Integers
    spheres: Floats
    texels: Floats


class World(NamedTuple):
    """Where everything is at present.

    Attributes:
        poses: Position and quaternion of each frame, [F, 7].
        shown: 1 where the frame is in the picture, [F].
        vertices: Metres, [V, 3].
        normals: [V, 3].
        spheres: Around each part, [P, 4].
    """

    poses: Floats
    shown: Bytes
    vertices: Floats
    normals: Floats
    spheres: Floats


class Paint(NamedTuple):
    """A `Look` as arrays.

    Attributes:
        colours: Linear RGB and gloss of each material, [M, 4].
        textures: Where each material's texture begins in `texels`, and its width (0: plain), [M, 2].
        mapping: What leads from a mesh's texture coordinates to the texture's, by rows, [M, 4].
        lights: See `shading.light_up`, [7, 3].
        shadow: World to texels of the shadow map and to metres towards the light, [3, 4].
        penumbra: See the names of its entries, [4].
        backdrop: Linear RGB, [3].
    """

    colours: Floats
    textures: Integers
    mapping: Floats
    lights: Floats
    shadow: Floats
    penumbra: Floats
    backdrop: Floats


class Canvas(NamedTuple):
    """Scratch for pictures of one size.

    Attributes:
        near: 1 / distance of what each sample shows, [H, W].
        seen: Which triangle that is, -1 for none, [H, W].
        screen: Column, row (samples) and 1 / distance of each vertex; 0 for one behind the camera, [V, 3].
        planes: Per triangle and corner a, b, c: a x + b y + c is the corner's share over the distance at the sample
            (x, y), so that their sum is 1 / distance and no clipping is needed; then 1, or -1 where the back is seen,
            [T, 10].
        values: What shading interpolates, [T, 33].
        flat: 1 for triangles in sight, 2 if one normal serves all of it, [T].
        shadow: Metres towards the light, larger is nearer to it, [S, S].
        spot: Column, row and metres in the shadow map of each vertex of what casts shadows, [V, 3].
        linear: Linear RGB of each pixel, [H / 2, W / 2, 3].
    """

    near: Floats
    seen: Integers
    screen: Floats
    planes: Floats
    values: Floats
    flat: Bytes
    shadow: Floats
    spot: Floats
    linear: Floats
