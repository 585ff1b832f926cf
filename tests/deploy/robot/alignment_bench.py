"""A simulated bench with a camera whose place is known: what an alignment finds is judged against it."""

from __future__ import annotations

from typing import Any

import numpy as np

import sim
from deploy.robot.alignment import Posture, moved
from deploy.robot.runtime.kinematics import joints_at
from deploy.robot.silhouettes import View, level_axes
from sim.backends import make_exposure
from sim.scenery import Camera
from sim.tasks import TASKS

UNITS_M = UNITS_RAD = 0.01
"""Of `alignment.moved`."""


def offset(rng: np.random.Generator, length: float) -> np.ndarray:
    direction = rng.standard_normal(3)
    return length * direction / np.linalg.norm(direction)


def drawn_view(rng: np.random.Generator, task: str = "reach") -> View:
    """Somewhere about the task's camera: up to 5 cm, 2 degrees of roll and a degree of field of view off."""
    pose = TASKS[task].camera
    eye = np.array(pose.eye) + offset(rng, rng.uniform(0, 0.05))
    aim = np.array(pose.aim) + offset(rng, rng.uniform(0, 0.012))
    level = View(eye, level_axes(aim - eye), pose.field_of_view_deg + rng.uniform(-1, 1))
    return moved(level, np.array([0, 0, 0, 0, 0, np.radians(rng.uniform(-2, 2)) / UNITS_RAD, 0]))


def off(view: View, rng: np.random.Generator, metres: float, degrees: float) -> View:
    """The same camera, so far off and turned by so much about some axis."""
    fitted = np.zeros(7)
    fitted[:3] = offset(rng, metres) / UNITS_M
    fitted[3:6] = offset(rng, np.radians(degrees)) / UNITS_RAD
    return moved(view, fitted)


def errors(found: View, truth: View) -> tuple[float, float]:
    """Distance in metres and angle in degrees between two cameras."""
    cosine = (np.trace(found.axes @ truth.axes.T) - 1) / 2
    angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    return float(np.linalg.norm(found.eye - truth.eye)), float(angle)


def postures(rng: np.random.Generator, count: int) -> list[Posture]:
    """As a hand guides the arm: where the camera sees it, and turned in each joint."""
    found = []
    for _ in range(count):
        place = rng.uniform((0.4, -0.15, 0.05), (0.58, 0.15, 0.22))
        joints = np.array(joints_at((float(place[0]), float(place[1]), float(place[2])))) + rng.uniform(-0.08, 0.08, 7)
        found.append(Posture(tuple(joints.tolist()), float(rng.uniform(0, 0.08))))
    return found


AWAY = (Posture((2.4, -1.2, 0.0, -2.6, 0.0, 1.6, 0.8), 0.0), Posture((-2.4, -1.2, 0.0, -2.6, 0.0, 1.6, 0.8), 0.0))
"""Behind the base, to its left and to its right: out of every camera's sight."""


class AlignmentBench:
    """A room in a drawn look, photographed by any camera; a context manager."""

    def __init__(self, seed: int, task: str = "reach") -> None:
        self._world: Any = sim.make_env(task, sim.SimConfig()).unwrapped
        self._world.reset(seed=seed)
        self._rng = np.random.default_rng(seed)

    def photograph(self, view: View, posture: Posture, size: int) -> np.ndarray:
        """[size, size, 3] uint8."""
        world = self._world
        world.scene.robot.set_posture(posture.joints, posture.opening)
        world.renderer.place(world.scene.poses())
        picture = world.renderer.render(world.looks[0], Camera(view.pose, size, size))
        return make_exposure(size, quiet=True).expose(picture, world.draw.visual[0].sensor, self._rng)

    def __enter__(self) -> AlignmentBench:
        return self

    def __exit__(self, *error: object) -> None:
        self._world.close()
