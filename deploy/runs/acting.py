"""The networks of a trained policy, read into memory and checked: evaluating it and exporting it begin here."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from deploy.errors import UserError, user_errors
from deploy.runs.policy_source import PolicySource
from deploy.settings.specification import stream_spec
from learner import checkpoint
from learner.acting import ActingPolicy, acting_policy
from learner.behaviour import Critic
from learner.methods.twist import TwistPolicy
from learner.weight_shapes import acting_shapes, require_shapes
from replay.schema import StreamSpec


def load_policy(source: PolicySource) -> ActingPolicy:
    """The networks of a run's latest checkpoint, or of a packed policy, ready to act.

    Raises:
        UserError: the run has no checkpoint yet, or it is corrupt, or of other worlds or networks than its settings.
    """
    found, config = source.newest_checkpoint(), source.config
    learner = found.learner()
    try:
        spec = StreamSpec.from_json(learner.get("spec", ""))
    except ValueError as error:
        raise UserError(f"{found.path}: what its networks see and do cannot be read: {error}") from error
    with user_errors():
        # How chunks were cut to learn from is no matter to who acts.
        chunks: dict[str, Any] = {
            "views": spec.views,
            "chunk_length": spec.chunk_length,
            "episode_steps": spec.episode_steps,
        }
        replace(stream_spec(config), **chunks).require_equal(spec, str(found.path))
        require_shapes(found.path / checkpoint.WEIGHTS, acting_shapes(spec, config.learner))
        policy = acting_policy(spec, config.learner, seed=config.seed)
        weights = checkpoint.read_weights(found.path)
        for name, array in weights.items():
            if not np.isfinite(array).all():
                raise UserError(f"{found.path / checkpoint.WEIGHTS}: {name} is not finite")
        checkpoint.load_acting(policy, weights, learner)
    return policy


def load_critic(source: PolicySource, networks: TwistPolicy) -> Critic | None:
    """The critic of a run's latest checkpoint; None where the weights have none, as those of a packed policy.

    Args:
        source: of the policy.
        networks: `load_policy`'s.

    Raises:
        UserError: it is of other sizes than the run's settings.
    """
    found = source.newest_checkpoint()
    weights = checkpoint.read_weights(found.path)
    if not any(name.startswith("critic/") for name in weights):
        return None
    critic = Critic(networks.teacher.rssm.feat_size, networks.config)
    with user_errors():
        checkpoint.load_modules({"critic": critic}, weights)
    return critic
