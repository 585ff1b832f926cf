"""A camera over the bench: draws the simulated room with its robot as another robot's joints are."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

import sim
from deploy.runs.policy_source import find_policy


class BenchCamera:
    """Implements `deploy.robot.runtime.cameras.Camera`."""

    def __init__(self, task: str, joints: Callable[[], np.ndarray], seed: int = 0) -> None:
        config = find_policy(f"pretrained/{task}").config.sim
        self._world: Any = sim.make_env(task, config).unwrapped
        self._world.reset(seed=seed)
        self.joints, self.stalled = joints, False
        self._noise = np.random.default_rng(seed)
        self._picture = self._draw()

    @property
    def goal(self) -> np.ndarray:
        return np.array(self._world.task._goal)

    def latest(self) -> tuple[np.ndarray, float]:
        if not self.stalled:
            self._picture = self._draw()
        return self._picture

    def close(self) -> None:
        self._world.close()

    def _draw(self) -> tuple[np.ndarray, float]:
        stamp, world, robot = time.monotonic(), self._world, self._world.scene.robot
        world.engine.set_joints(robot.body, robot._joints, [*self.joints().tolist(), 0.0, 0.0])
        world.renderer.place(world.scene.poses())
        picture = world.renderer.render(world.looks[0], world.camera())
        return world._sensors[0].expose(picture, world.draw.visual[0].sensor, self._noise), stamp
