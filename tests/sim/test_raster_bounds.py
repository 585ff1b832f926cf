"""What compiled code reads and writes lies within its arrays, whatever it is given: a wrong index ends the process.

So each case runs in a process of its own, once as it is shipped and once with numba's own checks of every index.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

START = """
import sys; sys.path.insert(0, "tests/sim")
from dataclasses import replace
import numpy as np
from raster_worlds import FROM_ABOVE, LAMP, at, box_on_a_floor, look, square, task_views
from sim.raster.renderer import RasterRenderer
from sim.scenery import Camera, CameraPose
np.seterr(all="ignore")
soft = look(replace(LAMP, spread=0.1))
"""

CASES = {
    # What is interpolated over a triangle seen from its edge may be anything.
    "planes that are no numbers": """
renderer = RasterRenderer(box_on_a_floor()); renderer.place(at(0.5, 0.0, 0.05))
for value in (0.0, np.nan, np.inf, -np.inf, 1e30, -1e30):
    for drawn in (look(LAMP), soft):
        renderer.render(drawn, square())
        canvas = renderer._canvas(square(), 2)
        canvas.planes[:, :9] = value
        canvas.values[:] = value
        paint = renderer._prepare(drawn, square()).paint
        canvas.known[:] = 1
        renderer._kernels.shade(renderer._packed.geometry, renderer._world, canvas, paint)
        canvas.linear[:] = value
        image = np.empty((64, 64, 3), np.uint8)
        renderer._kernels.develop(canvas.linear, image.reshape(-1))
""",
    "poses beyond all bounds": """
for value in (1e6, 1e20, -1e20, 1e38, -1e38, 1e300):
    for axis in range(7):
        renderer = RasterRenderer(box_on_a_floor()); pose = at(0.5, 0.0, 0.05); pose[0, axis] = value
        renderer.place(pose); renderer.render(soft, square()); renderer.segment(soft, square())
renderer.place(np.zeros((1, 7))); renderer.render(soft, square())
""",
    "things behind, around and beside the camera": """
scenery, views = task_views("push", 12); renderer = RasterRenderer(scenery); rng = np.random.default_rng(0)
for poses, drawn, camera in views * 12:
    renderer.place(poses)
    eye, aim = rng.uniform((0, -0.6, -0.3), (1, 0.6, 1.0)), rng.uniform((0, -0.3, 0), (0.8, 0.3, 0.6))
    point = tuple(rng.uniform(-0.5, 1.5, 2))
    pose = CameraPose(tuple(eye), tuple(aim), float(rng.choice([5, 60, 150])), float(rng.uniform(-180, 180)), point)
    lit = replace(drawn, light=replace(LAMP, spread=float(rng.choice([0, 0.05, 0.5]))))
    camera = Camera(pose, *(int(pixels) for pixels in rng.integers(1, 90, 2)))
    renderer.render(lit, camera); renderer.segment(lit, camera); renderer.depth(lit, camera)
""",
    "images of every size": """
renderer = RasterRenderer(box_on_a_floor()); renderer.place(at(0.5, 0.0, 0.05))
for width in (*range(1, 20), 63, 64, 65, 127):
    for height in (1, 2, 7, 8, 9, 64, 101):
        assert renderer.render(soft, Camera(FROM_ABOVE, width, height)).shape == (height, width, 3)
""",
    "sensors of every size": """
from sim.raster.exposure import Exposure
from sim.sensor import Sensor
rng = np.random.default_rng(0)
for height in (*range(1, 20), 48, 65):
    for width in (1, 2, 5, 15, 16, 17, 64):
        picture = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
        for blur, motion in ((0.3, 0.0), (3.0, 18.0)):
            flaws = Sensor(blur, motion, 30.0, 6.0, 5.0, 0.2, 2.0, 3.0, 1.0, 100.0, 5.0)
            assert Exposure(height, width).expose(picture, flaws, rng).shape == picture.shape
""",
}


@pytest.mark.parametrize(
    "checks", [False, pytest.param(True, marks=pytest.mark.long)], ids=["as shipped", "every index checked"]
)
@pytest.mark.parametrize("case", CASES)
def test_nothing_is_read_or_written_beyond_its_array(case: str, checks: bool) -> None:
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1" if checks else "0"}
    command = [sys.executable, "-c", START + CASES[case]]
    done = subprocess.run(command, check=False, cwd=ROOT, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()[-600:]
