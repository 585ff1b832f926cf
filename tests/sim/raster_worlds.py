"""Small sceneries and looks for the tests of renderers, and the scene of a task in any pose."""

from dataclasses import replace
from typing import Any

import numpy as np

from sim import SimConfig, VisualConfig, make_env
from sim.looks import look_of
from sim.meshes import ball, cube, rectangle
from sim.scenery import Camera, CameraPose, Item, Light, Look, Material, Part, Pose, Scenery
from sim.visual import draw_visual

EVEN = Light((0.0, 0.0, 1.0), (1.0, 1.0, 1.0), ambient=1.0, diffuse=0.0, specular=0.0, shadows=False)
LAMP = Light((0.3, 0.2, 1.0), (1.0, 1.0, 1.0), ambient=0.4, diffuse=0.6, specular=0.0, shadows=True)
FROM_ABOVE = CameraPose((0.45, -0.7, 0.8), (0.45, 0.0, 0.0), 40.0)


def floor(half: float = 0.5) -> Item:
    mesh = rectangle(np.array([-half, -half, 0.0]), np.array([2 * half, 0, 0]), np.array([0, 2 * half, 0]))
    return Item("floor", (Part(mesh, "floor"),), casts_shadow=False)


def box_on_a_floor(**more: Any) -> Scenery:
    """A floor about (0.45, 0), a box that moves and a ball that stays."""
    return Scenery(
        (floor(), Item("box", (Part(cube(0.05), "box"),)), Item("ball", (Part(ball(0.05, 24), "ball"),))),
        moving=("box",),
        **more,
    )


def look(light: Light = EVEN, **materials: Material) -> Look:
    plain = {"floor": Material((0.5, 0.5, 0.5)), "box": Material((1.0, 0.0, 0.0)), "ball": Material((0.0, 0.0, 1.0))}
    placed = {"floor": Pose((0.45, 0.0, 0.0)), "ball": Pose((0.25, 0.1, 0.05))}
    return Look({**plain, **materials}, light, placed)


def at(x: float, y: float, z: float) -> Any:
    """One pose of one moving item, without a turn."""
    return np.array([[x, y, z, 0.0, 0.0, 0.0, 1.0]])


def square(pose: CameraPose = FROM_ABOVE, size: int = 64) -> Camera:
    return Camera(pose, size, size)


def task_views(task: str, count: int) -> Any:
    """Poses, looks and cameras of a task: gripper, cube and camera elsewhere each time, as (scenery, [(...)])."""
    env: Any = make_env(task, SimConfig(), views=0)
    rng = np.random.default_rng(count)
    views = []
    for seed in range(count):
        env.reset(seed=seed, options={"domain": ("train", "held_out")[seed % 2]})
        for _ in range(int(rng.integers(1, 5))):
            env.step(rng.uniform(-1, 1, env.action_space.shape).astype(np.float32))
        draw = draw_visual(VisualConfig(), "held_out", seed, 0, env.task.camera, env.task.objects)
        turn, shift = rng.uniform(-8, 8), rng.uniform(-0.05, 0.05, 2)
        pose = replace(draw.camera, roll_deg=turn, principal_point=(0.5 + shift[0], 0.5 + shift[1]))
        width, height = (int(pixels) for pixels in rng.integers(56, 112, 2))
        views.append((env.scene.poses(), look_of(draw, env.scenery), Camera(pose, width, height)))
    env.close()
    return env.scenery, views
