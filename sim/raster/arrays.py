"""What the kernels work on: a few groups of arrays, laid out once, so that no picture allocates any.

Letters of shapes: V vertices, T triangles, P parts, F frames (one per item of the scenery), M materials (one per slot),
N texels, H x W samples (twice the image's pixels each way), S x S texels of the shadow map.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Integers = NDArray[np.int32]
Bytes = NDArray[np.uint8]

# Columns of `Geometry.parts` and `Casters.parts`.
FIRST_TRIANGLE, LAST_TRIANGLE, FIRST_VERTEX, LAST_VERTEX, FRAME, TWO_SIDED = range(6)
PART_COLUMNS = 6

# Columns of `Canvas.planes`: three numbers per corner, then which side is seen.
SIDE = 9
PLANE_COLUMNS = 10

# Columns of `Canvas.values`: what a triangle gets of the lights where one normal serves it, see `shading.light_up`, and
# how many texels of a texture of one texel's width there are to a pixel, times the cube of the distance.
LIT, DENSITY = 0, 5
VALUE_COLUMNS = 6

# Rows of `Paint.lights`.
TOWARDS, HALF_WAY, KEY, SKY, GROUND, SECOND_TOWARDS, SECOND = range(7)
LIGHT_ROWS = 7

# Entries of `Paint.penumbra`: whether there are shadows, how many texels of the map an edge reaches to either side for
# each unit of depth between what casts it and where it falls, the same in metres, and how far from its surface,
# outwards (metres) and towards the light (depth), a point is when it asks.
SHADOWS, REACH_TEXELS, REACH_M, OUTWARDS, TOWARDS_LIGHT = range(5)
PENUMBRA_ENTRIES = 5

# Rows of `Paint.board`: what leads from a place in the shadow map to where the light comes through the board's plane
# (metres from its middle) and to how near to the light that is; half its width, half its depth, whether it is round.
BOARD_X, BOARD_Y, BOARD_DEPTH, BOARD_SIZE = range(4)
BOARD_ROWS = 4

# The shadow map holds depths as whole numbers: sums of those are the same in whatever order a processor forms them.
DEPTHS_PER_M = 16_384
SHADOW_PX = 128


class Geometry(NamedTuple):
    """What never changes: meshes in the frames of their items, and textures.

    Attributes:
        vertices: Metres, [V, 3].
        normals: Unit length, [V, 3].
        uv: Texture coordinates, [V, 2].
        triangles: Indices of vertices, [T, 3].
        material_of: Of each triangle, [T].
        part_of: Of each triangle, [T].
        parts: First and last triangle and vertex, frame, whether it has two sides, [P, 6].
        even: Whether one normal serves the whole triangle, [T].
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
    even: Bytes
    spheres: Floats
    texels: Floats


class Casters(NamedTuple):
    """What keeps the lamp's light from others: meshes in the frames of their items, coarser than what is seen.

    Attributes:
        vertices: Metres, [V, 3].
        triangles: Indices of vertices, [T, 3].
        parts: As `Geometry.parts`, [P, 6].
        spheres: Middle and radius of a ball around each part, [P, 4].
    """

    vertices: Floats
    triangles: Integers
    parts: Integers
    spheres: Floats


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
        penumbra: See the names of its entries, [5].
        board: See the names of its rows, [4, 3].
        backdrop: Linear RGB, [3].
        still: Shadow map of what no engine moves, [S, S].
    """

    colours: Floats
    textures: Integers
    mapping: Floats
    lights: Floats
    shadow: Floats
    penumbra: Floats
    board: Floats
    backdrop: Floats
    still: Integers


class Canvas(NamedTuple):
    """Scratch for pictures of one size.

    Attributes:
        near: 1 / distance of what each sample shows, [H, W].
        seen: Which triangle that is, -1 for none, [H, W].
        screen: Column, row (samples) and 1 / distance of each vertex; 0 for one behind the camera, [V, 3].
        planes: Per triangle and corner a, b, c: a x + b y + c is the corner's share over the distance at the sample
            (x, y), so that their sum is 1 / distance and no clipping is needed; then 1, or -1 where the back is seen,
            [T, 10].
        values: What is the same all over a triangle, [T, 6].
        known: Whether `values` of a triangle are written, [T].
        shadow: Depths towards the light, larger is nearer to it, [S, S].
        nearest: The largest of each window of it, at the window's first texel, [S, S].
        farthest: The smallest of the same, [S, S].
        spot: Column, row and depth in the shadow map of each vertex of what casts shadows, [V, 3].
        carried: What leads from one item's frame to the shadow map, [3, 4].
        linear: Linear RGB of each pixel, flat, [H / 2 * W / 2 * 3].
    """

    near: Floats
    seen: Integers
    screen: Floats
    planes: Floats
    values: Floats
    known: Bytes
    shadow: Integers
    nearest: Integers
    farthest: Integers
    spot: Floats
    carried: Floats
    linear: Floats
