"""The bridge from the simulator to replay and learner: what a task's environments emit, as one value."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

import sim
from actors.spaces import action_bounds
from deploy.settings.config import RunConfig
from replay.schema import StreamSpec


def stream_spec(config: RunConfig) -> StreamSpec:
    """Asks the task's environment what it emits."""
    world = sim.make_env(config.task, config.sim)
    try:
        return spec_of(world, config.sim.views, config.replay.chunk_length)
    finally:
        world.close()


def spec_of(world: gym.Env[Any, Any], views: int, chunk_length: int) -> StreamSpec:
    """The spec of an environment with `state` and `image` observations.

    Raises:
        ValueError: its spaces are none that can be learned from.
    """
    spaces = world.observation_space
    if not isinstance(spaces, gym.spaces.Dict) or not isinstance(spaces.spaces.get("state"), gym.spaces.Box):
        raise ValueError(f"observation space {spaces}: it must be a Dict with a Box called state")
    image, state = spaces.spaces.get("image"), spaces["state"]
    assert isinstance(state, gym.spaces.Box)
    if image is None or image.shape is None or len(image.shape) < 3:
        raise ValueError(f"observation space {spaces}: it must have an image [H, W, C] or [K, H, W, C]")
    height, width, channels = image.shape[-3:]
    low, high = action_bounds(world.action_space)
    names: tuple[str, ...] = world.unwrapped.state_names  # type: ignore[attr-defined]
    return StreamSpec(
        state_names=names,
        state_low=tuple(state.low.tolist()),
        state_high=tuple(state.high.tolist()),
        image_shape=(height, width, channels),
        views=views,
        action_dim=len(low),
        chunk_length=chunk_length,
        action_low=low,
        action_high=high,
    )
