"""The bridge from the simulator to replay and learner: what a task's environments emit, as one value."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

import sim
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
    """The spec of an environment with `state` and `image` observations."""
    spaces = world.observation_space
    assert isinstance(spaces, gym.spaces.Dict)
    state, image, action = spaces["state"], spaces["image"], world.action_space
    assert isinstance(state, gym.spaces.Box)
    assert isinstance(action, gym.spaces.Box)
    assert image.shape is not None
    height, width, channels = image.shape[-3:]
    names: tuple[str, ...] = world.unwrapped.state_names  # type: ignore[attr-defined]
    return StreamSpec(
        state_names=names,
        state_low=tuple(state.low.tolist()),
        state_high=tuple(state.high.tolist()),
        image_shape=(height, width, channels),
        views=views,
        action_dim=action.shape[0],
        chunk_length=chunk_length,
    )
