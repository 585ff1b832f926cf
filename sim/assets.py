"""The files that an engine loads, made once per machine: the Panda with light meshes, the scene's shapes, textures.

They lie in `$TWIST_CACHE`, else `$XDG_CACHE_HOME/twist`, else `~/.cache/twist`. A directory there appears complete or
not at all, so any number of processes may need it first at the same time.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pybullet_data

from sim import meshes, textures

GOAL_RADIUS_M = 0.04
DISC_RADIUS_M = 0.05
MAT_RADIUS_M = 0.08
CUBE_HALF_EDGE_M = 0.025
TABLE_HALF_EXTENTS_M = (0.30, 0.34, 0.02)
TABLE_CENTRE_M = (0.50, 0.0, -0.02)
FLOOR_HEIGHT_M = -0.60

_TRIANGLES = {"hand": 220, "finger": 90, "link6": 200, "link7": 150}
_TRIANGLES_OF_OTHER_LINKS = 160

# Boxes instead of the stock convex hulls: hand and fingers are all that can touch anything in the workspace.
_COLLISION_BOXES = {
    "panda_hand": ("0 0 0.03", "0.04 0.20 0.07"),
    "panda_leftfinger": ("0 0.008 0.027", "0.020 0.016 0.054"),
    "panda_rightfinger": ("0 -0.008 0.027", "0.020 0.016 0.054"),
}


def cache_directory() -> Path:
    """Return the directory for files that can be made again."""
    if named := os.environ.get("TWIST_CACHE"):
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "twist"


def assets_directory() -> Path:
    """Return the directory with `panda.urdf`, the scene's `*.obj` and `textures/*.png`; make it when it is missing.

    Raises:
        OSError: The cache directory cannot be written; the message names `TWIST_CACHE`.
    """
    source = Path(pybullet_data.getDataPath()) / "franka_panda"
    recipe = b"".join(Path(module.__file__).read_bytes() for module in (meshes, textures) if module.__file__)
    recipe += Path(__file__).read_bytes() + (source / "panda.urdf").read_bytes()
    target = cache_directory() / f"sim-assets-{hashlib.sha256(recipe).hexdigest()[:12]}"
    if target.is_dir():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".making-", dir=target.parent))
    except OSError as error:
        reason = f"cannot write to {target.parent} ({error.strerror}): set TWIST_CACHE to another directory"
        raise OSError(reason) from error
    try:
        print(f"Making light meshes and textures in {target} (once, about a second)", file=sys.stderr, flush=True)
        _make(source, scratch)
        try:
            scratch.rename(target)
        except OSError:
            if not target.is_dir():  # another process may have been first, and then its files serve as well
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


def _make(source: Path, target: Path) -> None:
    target.chmod(0o755)
    _make_panda(source, target)
    for name, mesh in scene_meshes().items():
        mesh.write(target / f"{name}.obj")
    (target / "textures").mkdir()
    for domain in textures.FAMILIES:
        for name in textures.texture_names(domain):
            textures.write_png(target / "textures" / f"{name}.png", textures.make_texture(name))


def scene_meshes() -> dict[str, meshes.Mesh]:
    """Return the scene's shapes by name, each in the coordinates of the body that shows it."""
    x, y, z = TABLE_HALF_EXTENTS_M
    return {
        "table": meshes.grid(np.array([-x, -y, z]), np.array([2 * x, 0, 0]), np.array([0, 2 * y, 0]), 8, 3.0),
        "floor": _floor(),
        "background": meshes.wall(0.9, -0.6, 0.2, 185.0, 360.0, 6, 4.0),
        "ball": meshes.join([meshes.ball(GOAL_RADIUS_M), _mat()]),
        "disc": meshes.disc(DISC_RADIUS_M),
        "cube": meshes.cube(CUBE_HALF_EDGE_M),
    }


def _mat() -> meshes.Mesh:
    """Return the mat that the goal's ball lies on: what one still sees of the goal when the hand is before the ball."""
    mat = meshes.disc(MAT_RADIUS_M)
    return replace(mat, vertices=mat.vertices - np.array([0.0, 0.0, GOAL_RADIUS_M - 0.001], mat.vertices.dtype))


def _floor() -> meshes.Mesh:
    """Return the floor without what the table hides from every camera: drawing that would take time."""
    rectangles = [(-0.9, -0.9, -0.2, 0.3), (0.55, -0.9, 0.95, 0.3), (-0.2, -0.15, 0.55, 0.3)]
    return meshes.join(
        [
            meshes.grid(np.array([x0, y0, 0]), np.array([x1 - x0, 0, 0]), np.array([0, y1 - y0, 0]), 2, 2.0)
            for x0, y0, x1, y1 in rectangles
        ]
    )


def _make_panda(source: Path, target: Path) -> None:
    """Write `panda.urdf`: the stock robot with decimated visual meshes and three collision boxes."""
    description = (source / "panda.urdf").read_text()
    description = re.sub(r"<collision>.*?</collision>", "", description, flags=re.DOTALL)
    for link, (centre, size) in _COLLISION_BOXES.items():
        box = f'<collision><origin xyz="{centre}"/><geometry><box size="{size}"/></geometry></collision>'
        description = re.sub(rf'(<link name="{link}">)', rf"\1{box}", description)
    for name in sorted(set(re.findall(r"package://([^\"]+)", description))):
        path = source / name
        most = _TRIANGLES.get(path.stem, _TRIANGLES_OF_OTHER_LINKS)
        meshes.decimate(*meshes.read_obj(path), most).write(target / path.name)
        description = description.replace(f"package://{name}", path.name)
    (target / "panda.urdf").write_text(description)
