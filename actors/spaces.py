"""An environment's spaces against what replay stores: what does not fit is refused in one line, before any step.

Observations are a Dict of `state` and, where the environment renders, `image`; actions are a bounded Box of one axis.
Shapes: S state, A action, K views, H W C image.
"""

from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt

from replay.schema import StreamSpec

Environment = gym.Env[Any, Any]
Image = npt.NDArray[np.uint8]


def action_bounds(space: gym.Space[Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The lower and the upper bounds of an action space, [A] each.

    Raises:
        ValueError: it is not a Box of one axis, of floating-point numbers and bounded on both sides.
    """
    wanted = "allowed is a Box of one axis, of floating-point numbers between finite bounds, low < high"
    if not isinstance(space, gym.spaces.Box) or len(space.shape) != 1 or not np.issubdtype(space.dtype, np.floating):
        raise ValueError(f"action space {_in_one_line(space)}: {wanted}")
    if not (np.isfinite(space.low).all() and np.isfinite(space.high).all() and (space.low < space.high).all()):
        raise ValueError(f"action space {_in_one_line(space)}, low {space.low}, high {space.high}: {wanted}")
    return tuple(space.low.tolist()), tuple(space.high.tolist())


def check_spaces(env: Environment, spec: StreamSpec) -> bool:
    """Compares an environment's spaces with the spec; gives whether it renders images.

    Raises:
        ValueError: naming the space that differs.
    """
    spaces = env.observation_space
    if not isinstance(spaces, gym.spaces.Dict) or "state" not in spaces.spaces:
        raise ValueError(
            f"observation space {_in_one_line(spaces)}: it must be a Dict with state and, where it renders, image"
        )
    if spaces["state"].shape != (spec.state_dim,):
        raise ValueError(f"state space of shape {spaces['state'].shape}: replay stores ({spec.state_dim},)")
    low, high = action_bounds(env.action_space)
    if len(low) != spec.action_dim:
        raise ValueError(f"action space of shape ({len(low)},): replay stores ({spec.action_dim},)")
    if (low, high) != (spec.action_low, spec.action_high):
        raise ValueError(
            f"action space from {list(low)} to {list(high)}: "
            f"the spec says from {list(spec.action_low)} to {list(spec.action_high)}"
        )
    renders = "image" in spaces.spaces
    if renders:
        with_views(np.zeros(spaces["image"].shape or (), np.uint8), spec)
    return renders


def with_views(image: Image, spec: StreamSpec) -> Image:
    """[H, W, C] or [K, H, W, C] to [K, H, W, C].

    Raises:
        ValueError: another shape than the spec's.
    """
    image = image[np.newaxis] if image.ndim == len(spec.image_shape) else image
    if image.shape != (spec.views, *spec.image_shape):
        raise ValueError(f"image of shape {image.shape}: replay stores {(spec.views, *spec.image_shape)}")
    return image


def _in_one_line(space: gym.Space[Any]) -> str:
    return " ".join(str(space).split())
