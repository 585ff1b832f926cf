"""A simulated world as a robot: the drivers `sim` and `mujoco`. Its clock runs only while the loop waits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import sim
from deploy.errors import user_errors
from deploy.robot.runtime.arm import Observation, Target
from deploy.robot.runtime.contract import Contract
from deploy.robot.runtime.kinematics import joints_at
from deploy.robot.runtime.meaning import action_between
from deploy.settings.config import RunConfig
from sim.config import World
from sim.seeds import evaluation_seed


class SimArm:
    """Implements `deploy.robot.runtime.arm.Robot`.

    Episode k has the seed that it has in `twist eval` with the same seed, so that both run the same episodes. What is
    commanded becomes the action that leads there, as the environment takes nothing else; delays of camera and action
    are the environment's own.
    """

    def __init__(
        self, config: RunConfig, contract: Contract, *, domain: str, seed: int, world: World | None = None
    ) -> None:
        """Builds the world.

        Args:
            config: of the run.
            contract: of the bundle.
            domain: visual domain, see `sim.domains`.
            seed: of the evaluation.
            world: whose physics and pictures; None: what the run was trained in.

        Raises:
            UserError: the world needs what is not installed here.
        """
        worlds = config.evaluated_sim if world is None else config.evaluated_sim.in_world(world)
        with user_errors():
            self._world = sim.make_env(config.task, worlds, domain=domain, views=1)
        self._terms, self._seed, self._domain = contract.action, seed, domain
        self._episode = 0
        self._now = 0.0
        self._about: Mapping[str, Any] = {}
        self.clock = self
        self.real = False

    @property
    def about(self) -> Mapping[str, Any]:
        """See `Robot.about`."""
        return self._about

    def now(self) -> float:
        """See `Clock.now`."""
        return self._now

    def wait_until(self, moment: float) -> None:
        """See `Clock.wait_until`: the world goes on, a control step at a time."""
        while self._now + 0.5 * self._terms.period_s < moment:
            self._advance()
            self._now += self._terms.period_s

    def connect(self, go_on: Callable[[], bool]) -> None:
        """See `Robot.connect`: the next episode."""
        seed = evaluation_seed(self._seed, self._episode)
        self._episode += 1
        observation, info = self._world.reset(seed=seed, options={"domain": self._domain})
        self._about = {"seed": seed, "domain": self._domain, "randomisation": info["randomisation"]}
        self._image, self._facts = observation["image"], self._told(observation, info, 0.0)
        gripper = self._world.unwrapped.scene.robot.state()  # type: ignore[attr-defined]
        self._at = self._wanted = Target(gripper.position, gripper.opening)

    def observe(self) -> Observation:
        """See `Robot.observe`. The camera's delay is in the picture, so that its stamp is the time of its arrival."""
        gripper = self._world.unwrapped.scene.robot.state()  # type: ignore[attr-defined]
        place, told = gripper.position, self._at
        return Observation(
            self._image, self._now, joints_at(place), self._now, gripper.opening, gripper.velocity, told, self._facts
        )

    def command(self, target: Target, deadline: float) -> None:
        """See `Robot.command`."""
        self._wanted = target

    def hold(self) -> None:
        """See `Robot.hold`."""
        self._wanted = self._at

    def close(self) -> None:
        """See `Robot.close`."""
        self._world.close()

    def _advance(self) -> None:
        action = action_between(self._terms, self._at, self._wanted)
        observation, reward, _, _, info = self._world.step(action)
        self._at = self._wanted
        self._image, self._facts = observation["image"], self._told(observation, info, float(reward))

    @staticmethod
    def _told(observation: Mapping[str, Any], info: Mapping[str, Any], reward: float) -> Mapping[str, Any]:
        state = np.asarray(observation["state"]).tolist()
        return {"success": bool(info["is_success"]), "reward": reward, "true_state": state}
