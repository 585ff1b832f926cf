"""An environment that counts, to prove that steps arrive once, in order, and with resets where they belong."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from sim.config import SimConfig
from sim.seeds import training_seed

SHORTEST_EPISODE = 3
LONGEST_EPISODE = 12

_STATE_NAMES = ("episode_index", "step_in_episode", "step_count")
_HIGHEST = 1e6
_COUNT_BYTES = 8


def decode_count(image: NDArray[np.uint8]) -> int:
    """Return the environment's step count, which the first bytes of its images [H, W, 3] or [K, H, W, 3] hold."""
    return int.from_bytes(np.ascontiguousarray(image).reshape(-1)[:_COUNT_BYTES].tobytes(), "little")


class CountingEnv(gym.Env[dict[str, Any], NDArray[np.float32]]):
    """Counts its steps in state, image and reward. Actions change nothing.

    `state` is [episode index, step in the episode, observations so far in this environment], the image's first eight
    bytes are the last of these (little endian), the reward is the step in the episode, and `is_success` says whether
    that is even. The episode's length, 3 to 12 steps, depends on its seed, unless `config.episode_steps` gives one.

    With a camera that is `late_steps` late the image is that of so many steps ago, or of the episode's first moment
    until then, and `info["state_at_exposure"]` is the state of that step.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 - Gymnasium declares it so

    def __init__(
        self,
        config: SimConfig | None = None,
        domain: str = "train",
        views: int | None = None,
        render_mode: str | None = None,
        late_steps: int = 0,
    ) -> None:
        """Build the environment; see `sim.environment.PandaEnv` for the arguments."""
        self.config = config or SimConfig()
        self.views = self.config.views if views is None else views
        self.render_mode = render_mode
        self.state_names = _STATE_NAMES
        self._domain = domain
        self._late_steps = late_steps
        size = self.config.image_size
        self._shape = (size, size, 3) if self.views == 1 else (self.views, size, size, 3)
        parts: dict[str, spaces.Space[Any]] = {"state": spaces.Box(0.0, _HIGHEST, (3,), np.float32)}
        if self.views:
            parts["image"] = spaces.Box(0, 255, self._shape, np.uint8)
        self.observation_space = spaces.Dict(parts)
        self.action_space = spaces.Box(-1.0, 1.0, (3,), np.float32)
        self.episode_steps = self.config.episode_steps
        self._episode = -1
        self._step = 0
        self._count = -1
        self._length = LONGEST_EPISODE

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Start the next episode; the count of observations goes on."""
        super().reset(seed=seed)
        episode_seed = training_seed(self.np_random) if seed is None else seed
        drawn = int(np.random.default_rng(episode_seed).integers(SHORTEST_EPISODE, LONGEST_EPISODE + 1))
        self._length = self.episode_steps or drawn
        self._episode += 1
        self._step = 0
        self._count += 1
        info = {
            "seed": episode_seed,
            "domain": (options or {}).get("domain", self._domain),
            "randomisation": {"length": self._length},
            "renderer": "counting",
            "is_success": True,
        }
        return self._observe(), info | self._exposure()

    def step(self, action: NDArray[np.float32]) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Count one step."""
        self._step += 1
        self._count += 1
        info = {"is_success": self._step % 2 == 0, **self._exposure()}
        return self._observe(), float(self._step), False, self._step >= self._length, info

    def render(self) -> NDArray[np.uint8] | None:
        """Return the image of the present count."""
        size = self.config.image_size
        return None if self.render_mode is None else _picture(self._count, (size, size, 3))

    def _observe(self) -> dict[str, Any]:
        observation: dict[str, Any] = {"state": self._state(0)}
        if self.views:
            observation["image"] = _picture(self._count - self._late(), self._shape)
        return observation

    def _exposure(self) -> dict[str, Any]:
        return {"state_at_exposure": self._state(self._late())} if self.views else {}

    def _late(self) -> int:
        return min(self._late_steps, self._step)

    def _state(self, steps_ago: int) -> NDArray[np.float32]:
        return np.array([self._episode, self._step - steps_ago, self._count - steps_ago], np.float32)


def _picture(count: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    image = np.zeros(shape, np.uint8)
    image.reshape(-1)[:_COUNT_BYTES] = np.frombuffer(count.to_bytes(_COUNT_BYTES, "little"), np.uint8)
    return image
