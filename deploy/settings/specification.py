"""The bridge from the simulator to replay and learner: what a task's environments emit, as one value."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

import sim
from actors.spaces import action_bounds
from deploy.settings.config import RunConfig
from replay.schema import StreamSpec


def stream_spec(config: RunConfig) -> StreamSpec:
    """Asks the task's environment what it emits.

    Raises:
        ValueError: a setting names what is not in its state.
    """
    world = sim.make_env(config.task, config.sim)
    try:
        spec = spec_of(world, config.sim.views, config.replay.chunk_length)
    finally:
        world.close()
    try:
        spec.columns(config.learner.proprioception)
    except ValueError as error:
        raise ValueError(f"learner.proprioception: {error}") from error
    return spec


def spec_of(world: gym.Env[Any, Any], views: int, chunk_length: int) -> StreamSpec:
    """The spec of an environment with `state` and `image` observations.

    Args:
        world: its `state_names` name what `state` holds; `episode_steps`, if it has them, are those of every episode.
        views: images of one step.
        chunk_length: most rows of a chunk, see `fitted_chunk_length`.

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
    episode_steps = int(getattr(world.unwrapped, "episode_steps", 0))
    names: tuple[str, ...] = world.unwrapped.state_names  # type: ignore[attr-defined]
    return StreamSpec(
        state_names=names,
        state_low=tuple(state.low.tolist()),
        state_high=tuple(state.high.tolist()),
        image_shape=(height, width, channels),
        views=views,
        action_dim=len(low),
        chunk_length=fitted_chunk_length(chunk_length, episode_steps),
        action_low=low,
        action_high=high,
        episode_steps=episode_steps,
    )


def fitted_chunk_length(most: int, episode_steps: int) -> int:
    """The rows of a chunk that hold whole episodes with the least padding, at most `most`.

    Chunks end with an episode where all episodes are of one length, so that the rows by which a chunk is longer than
    its episodes would be padding in every batch. As many whole episodes as fit make a chunk; one that is longer than a
    chunk is cut into as few parts as possible, all about as long.

    Args:
        most: `replay.chunk_length`.
        episode_steps: of every episode; 0: they differ, or it is not known.
    """
    if episode_steps == 0:
        return most
    rows = episode_steps + 1
    if rows <= most:
        return most // rows * rows
    return -(-rows // -(-rows // most))
