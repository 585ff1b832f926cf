"""What is made once per machine: the Panda's description for an engine, its light meshes for a renderer.

They lie in `$TWIST_CACHE`, else `$XDG_CACHE_HOME/twist`, else `~/.cache/twist`. A directory there appears complete or
not at all, so any number of processes may need it first at the same time.
"""

from __future__ import annotations

import functools
import hashlib
import math
import os
import re
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import fast_simplification
import numpy as np
import pybullet_data
import scipy

from sim import light_meshes, meshes, panda_parts

GOAL_RADIUS_M = 0.04
DISC_RADIUS_M = 0.05
MAT_RADIUS_M = 0.08
CUBE_HALF_EDGE_M = 0.025
TABLE_HALF_EXTENTS_M = (0.30, 0.34, 0.02)
TABLE_CENTRE_M = (0.50, 0.0, -0.02)

STOCK_PANDA = Path(pybullet_data.getDataPath()) / "franka_panda"

# Boxes instead of the stock convex hulls: hand and fingers are all that can touch anything in the workspace.
_COLLISION_BOXES = {
    "panda_hand": ("0 0 0.03", "0.04 0.20 0.07"),
    "panda_leftfinger": ("0 0.008 0.027", "0.020 0.016 0.054"),
    "panda_rightfinger": ("0 -0.008 0.027", "0.020 0.016 0.054"),
}
# An engine computes each of these at every step, and there is nothing in them but a place.
_MERE_FRAMES = ("panda_link8", "panda_grasptarget")
_HAND_JOINT = (
    '<joint name="panda_hand_joint" type="fixed"><parent link="panda_link7"/><child link="panda_hand"/>'
    f'<origin rpy="0 0 {-math.pi / 4}" xyz="0 0 0.107"/></joint>'
)


def cache_directory() -> Path:
    """Return the directory for files that can be made again."""
    if named := os.environ.get("TWIST_CACHE"):
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "twist"


def assets_directory() -> Path:
    """Return the directory with `panda.urdf` and the meshes that it names; make it when it is missing.

    Raises:
        OSError: The cache directory cannot be written; the message names `TWIST_CACHE`.
    """
    target = cache_directory() / f"sim-assets-{_recipe(STOCK_PANDA)}"
    if target.is_dir():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".making-", dir=target.parent))
    except OSError as error:
        reason = f"cannot write to {target.parent} ({error.strerror}): set TWIST_CACHE to another directory"
        raise OSError(reason) from error
    try:
        print(f"Making light meshes in {target} (once, a few seconds)", file=sys.stderr, flush=True)
        scratch.chmod(0o755)
        _make_panda(STOCK_PANDA, scratch)
        try:
            scratch.rename(target)
        except OSError:
            if not target.is_dir():  # another process may have been first, and then its files serve as well
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


@functools.cache
def _recipe(stock: Path) -> str:
    """Return a name for everything that the files depend on: sources, stock meshes with their materials, versions."""
    recipe = hashlib.sha256()
    modules = (light_meshes, meshes, panda_parts)
    sources = [Path(module.__file__) for module in modules if module.__file__]
    shapes = sorted(path for path in (stock / "meshes").rglob("*") if path.suffix in (".obj", ".mtl"))
    for path in (*sources, Path(__file__), stock / "panda.urdf", *shapes):
        recipe.update(path.name.encode() + path.read_bytes())
    recipe.update(repr((fast_simplification.__version__, scipy.__version__, np.__version__)).encode())
    return recipe.hexdigest()[:12]


def scene_meshes() -> dict[str, meshes.Mesh]:
    """Return the shapes of goals and cube by name, each in the coordinates of the body that shows it."""
    return {
        "ball": meshes.join([meshes.ball(GOAL_RADIUS_M), _mat()]),
        "disc": meshes.disc(DISC_RADIUS_M),
        "cube": meshes.cube(CUBE_HALF_EDGE_M),
    }


def _mat() -> meshes.Mesh:
    """Return the mat that the goal's ball lies on: what one still sees of the goal when the hand is before the ball."""
    mat = meshes.disc(MAT_RADIUS_M)
    return replace(mat, vertices=mat.vertices - np.array([0.0, 0.0, GOAL_RADIUS_M - 0.001], mat.vertices.dtype))


def _make_panda(source: Path, target: Path) -> None:
    """Write `panda.urdf`: the stock robot with light visual meshes, three collision boxes, and no links of no mass."""
    description = (source / "panda.urdf").read_text()
    for name in _MERE_FRAMES:
        description = re.sub(rf'<link name="{name}">.*?</link>', "", description, flags=re.DOTALL)
    for name in ("panda_joint8", "panda_hand_joint", "panda_grasptarget_hand"):
        description = re.sub(rf'<joint name="{name}".*?</joint>', "", description, flags=re.DOTALL)
    description = description.replace("</robot>", f"{_HAND_JOINT}</robot>")
    description = re.sub(r"<collision>.*?</collision>", "", description, flags=re.DOTALL)
    for link, (centre, size) in _COLLISION_BOXES.items():
        box = f'<collision><origin xyz="{centre}"/><geometry><box size="{size}"/></geometry></collision>'
        description = re.sub(rf'(<link name="{link}">)', rf"\1{box}", description)
    names = panda_parts.visual_meshes(description)
    panda_parts.make_parts(source, target, names)
    for name in names:
        description = description.replace(f"package://{name}", Path(name).name)
    (target / "panda.urdf").write_text(description)
