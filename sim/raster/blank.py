"""Empty arrays of every group, so that their types and shapes are said in one place."""

from __future__ import annotations

import numpy as np

from sim.raster.arrays import (
    BOARD_ROWS,
    LIGHT_ROWS,
    PART_COLUMNS,
    PENUMBRA_ENTRIES,
    PLANE_COLUMNS,
    SHADOW_PX,
    VALUE_COLUMNS,
    Canvas,
    Casters,
    Geometry,
    Paint,
    World,
)


def blank_geometry(vertices: int, triangles: int, parts: int, texels: int) -> Geometry:
    """Return the arrays of so many vertices, triangles, parts and texels."""
    return Geometry(
        vertices=np.zeros((vertices, 3), np.float32),
        normals=np.zeros((vertices, 3), np.float32),
        uv=np.zeros((vertices, 2), np.float32),
        triangles=np.zeros((triangles, 3), np.int32),
        material_of=np.zeros(triangles, np.int32),
        part_of=np.zeros(triangles, np.int32),
        parts=np.zeros((parts, PART_COLUMNS), np.int32),
        even=np.zeros(triangles, np.uint8),
        spheres=np.zeros((parts, 4), np.float32),
        texels=np.zeros((texels, 3), np.float32),
    )


def blank_casters(vertices: int, triangles: int, parts: int) -> Casters:
    """Return the arrays of so many vertices, triangles and parts that cast shadows."""
    return Casters(
        vertices=np.zeros((vertices, 3), np.float32),
        triangles=np.zeros((triangles, 3), np.int32),
        parts=np.zeros((parts, PART_COLUMNS), np.int32),
        spheres=np.zeros((parts, 4), np.float32),
    )


def blank_world(geometry: Geometry, frames: int) -> World:
    """Return the arrays of a world in which nothing is shown."""
    poses = np.zeros((frames, 7), np.float32)
    poses[:, 6] = 1.0
    return World(
        poses=poses,
        shown=np.zeros(frames, np.uint8),
        vertices=np.zeros_like(geometry.vertices),
        normals=np.zeros_like(geometry.normals),
        spheres=np.zeros_like(geometry.spheres),
    )


def blank_paint(materials: int) -> Paint:
    """Return the arrays of a look without light."""
    return Paint(
        colours=np.zeros((materials, 4), np.float32),
        textures=np.zeros((materials, 2), np.int32),
        mapping=np.tile(np.array([1, 0, 0, 1], np.float32), (materials, 1)),
        lights=np.zeros((LIGHT_ROWS, 3), np.float32),
        shadow=np.zeros((3, 4), np.float32),
        penumbra=np.zeros(PENUMBRA_ENTRIES, np.float32),
        board=np.zeros((BOARD_ROWS, 3), np.float32),
        backdrop=np.zeros(3, np.float32),
        still=np.zeros((SHADOW_PX, SHADOW_PX), np.int32),
    )


def blank_canvas(geometry: Geometry, casters: Casters, height: int, width: int) -> Canvas:
    """Return scratch for pictures of so many samples."""
    vertices, triangles = len(geometry.vertices), len(geometry.triangles)
    return Canvas(
        near=np.zeros((height, width), np.float32),
        seen=np.zeros((height, width), np.int32),
        screen=np.zeros((vertices, 3), np.float32),
        planes=np.zeros((triangles, PLANE_COLUMNS), np.float32),
        values=np.zeros((triangles, VALUE_COLUMNS), np.float32),
        known=np.zeros(triangles, np.uint8),
        shadow=np.zeros((SHADOW_PX, SHADOW_PX), np.int32),
        nearest=np.zeros((SHADOW_PX, SHADOW_PX), np.int32),
        farthest=np.zeros((SHADOW_PX, SHADOW_PX), np.int32),
        spot=np.zeros((len(casters.vertices), 3), np.float32),
        carried=np.zeros((3, 4), np.float32),
        linear=np.zeros(height // 2 * (width // 2) * 3, np.float32),
    )
