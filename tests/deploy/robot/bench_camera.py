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
        self.size, self.joints, self.stalled = config.image_size, joints, False
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
        stamp, robot, visual = time.monotonic(), self._world.scene.robot, self._world.draw.visual[0]
        self._world.engine.set_joints(robot.body, robot._joints, [*self.joints().tolist(), 0.0, 0.0])
        self._world.scene.paint(visual.surfaces)
        picture = self._world.engine.render(visual.camera, visual.light, self.size)
        return visual.sensor.expose(picture, self._noise), stamp
