"""The learner: a teacher's world model of the state, its policy, a student of images distilled from it; and its rivals.

    config     every setting                            process    samplers, limiters and loops around a `Learner`:
    rssm       the recurrent state-space model                     what a learner's process runs
    teacher    world model of the privileged state      acting     the networks that act: in actors, evaluations, robots
    behaviour  policy and critic, in imagination        learner    a method's parts and optimisers; one call an update
    student    world model of images, distilled         loops      the parts' loops side by side
    methods    what is trained and how it acts: TWIST, the paper's own form of it, its rivals

It needs torch, numpy and Redis alone, and the small wheels zstandard, safetensors and pydantic. What others use is
named here and imported when it is asked for, so that whoever reads settings loads no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from learner.acting import ActingPolicy, acting_policy
    from learner.checkpoint import LearnerState
    from learner.config import LearnerConfig
    from learner.learner import Learner
    from learner.process import LearnerPlan, LearnerProcess, LearnerStatus

_HOMES = {
    "ActingPolicy": "acting",
    "acting_policy": "acting",
    "Learner": "learner",
    "LearnerConfig": "config",
    "LearnerPlan": "process",
    "LearnerProcess": "process",
    "LearnerState": "checkpoint",
    "LearnerStatus": "process",
}

__all__ = [
    "ActingPolicy",
    "Learner",
    "LearnerConfig",
    "LearnerPlan",
    "LearnerProcess",
    "LearnerState",
    "LearnerStatus",
    "acting_policy",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
