"""An untrained policy of the smallest networks, to be made into a graph."""

from __future__ import annotations

import torch

from learner.config import LearnerConfig, RSSMConfig, StudentConfig
from learner.methods.twist import TwistPolicy
from replay.schema import StreamSpec

SPEC = StreamSpec(
    state_names=("gripper_x_m", "gripper_y_m", "goal_x_m"),
    state_low=(-1.0, -1.0, 0.0),
    state_high=(1.0, 1.0, 0.5),
    image_shape=(16, 16, 3),
    views=1,
    action_dim=2,
    chunk_length=5,
)


def untrained(proprioception: tuple[str, ...]) -> TwistPolicy:
    """With the given names beside the image."""
    torch.manual_seed(0)
    sizes = RSSMConfig(deter=16, hidden=16, groups=3, classes=4)
    student = StudentConfig(channels=(4, 8))
    return TwistPolicy(SPEC, LearnerConfig(rssm=sizes, student=student, proprioception=proprioception))
