"""The methods: what is trained, and how it acts. One entry here and one file beside this one make a method.

A part that no other method has is named in `replay.shards.RUN_KEYS`, too. `CONTRIBUTING.md` says how to add a method.
Reading this loads no torch; a method's module is loaded when it is built.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from learner.methods.method import Driver, Method, PartOutline, SameAs, Sees

_TEACHER = PartOutline("teacher", "states")
_STUDENT = PartOutline("student", "pairs", follows=True)
_FROM_STATE = Driver("teacher", "state", imagines=True)
_FROM_IMAGES = Driver("student", "image", imagines=True)
_DREAMER = PartOutline("dreamer", "pairs")
_BLIND_DREAMER = Driver("dreamer", "image", imagines=False)
_IMAGES_ALONE: Mapping[str, tuple[Any, ...]] = {"actors.state_only_envs": (0,)}
# Whoever sees images needs memory, and learns it from whole episodes, as many as the student's batches have.
_WHOLE_EPISODES: Mapping[str, Any] = {
    "learner.sequence_length": 0,
    "learner.batch_size": SameAs("learner.student.batch_size"),
}
_STUDENT_ACTS = ("teacher", "policy", "student_average")

METHODS: Mapping[str, Method] = {
    method.name: method
    for method in (
        Method(
            "twist",
            "a student world model of images is distilled from the teacher's, with supervised vision; the default",
            parts=(_TEACHER, _STUDENT),
            drivers=(_FROM_STATE, _FROM_IMAGES),
            acts=_STUDENT_ACTS,
            home="learner.methods.twist",
            exports=True,
        ),
        Method(
            "twist_paper",
            "the paper's own terms alone: posterior, prior, deterministic state and imagination alignment",
            parts=(_TEACHER, _STUDENT),
            drivers=(_FROM_STATE, _FROM_IMAGES),
            acts=_STUDENT_ACTS,
            home="learner.methods.twist",
            settled={
                "learner.student.state_scale": (0.0,),
                "learner.student.action_scale": (0.0,),
                "learner.student.readout_scale": (0.0,),
                "learner.student.encoder_share": (1.0,),
                "learner.student.dynamics": ("teacher_init", "scratch"),
                "learner.student.posterior": ("image",),
                "learner.student.average_rate": (1.0,),
                "learner.student.shift_pixels": (0,),
                "actors.student_fraction": (0.0,),
            },
            suits={"learner.proprioception": ()},
        ),
        Method(
            "oracle",
            "the teacher alone, from the simulator's state",
            parts=(_TEACHER,),
            drivers=(_FROM_STATE,),
            acts=("teacher", "policy"),
            home="learner.methods.oracle",
        ),
        Method(
            "state_regression",
            "the state read off each image drives the teacher; nothing is distilled",
            parts=(_TEACHER, _STUDENT),
            drivers=(_FROM_STATE, _FROM_IMAGES),
            acts=_STUDENT_ACTS,
            home="learner.methods.state_regression",
            settled={"learner.student.readout_scale": (1.0,)},
        ),
        Method(
            "policy_distillation",
            "a recurrent policy of images learns the teacher's actions (DAgger); no world model is distilled",
            parts=(_TEACHER, _STUDENT),
            drivers=(_FROM_STATE, Driver("student", "image", imagines=False)),
            acts=_STUDENT_ACTS,
            home="learner.methods.policy_distillation",
            settled={"learner.student.action_scale": (1.0,), "learner.student.encoder_share": (1.0,)},
        ),
        Method(
            "dreamer_dr",
            "Dreamer: world model and behaviour on randomised images alone",
            parts=(_DREAMER,),
            drivers=(_BLIND_DREAMER,),
            acts=("model", "policy"),
            home="learner.methods.dreamer",
            settled=_IMAGES_ALONE,
            suits=_WHOLE_EPISODES,
        ),
        Method(
            "dreamer_no_dr",
            "Dreamer on images of worlds whose looks are not randomised, judged in worlds whose looks are",
            parts=(_DREAMER,),
            drivers=(_BLIND_DREAMER,),
            acts=("model", "policy"),
            home="learner.methods.dreamer",
            settled={
                **_IMAGES_ALONE,
                "sim.randomisation.visual.enabled": (False,),
                "evaluation.full_randomisation": (True,),
            },
            suits=_WHOLE_EPISODES,
        ),
        Method(
            "dreamer_state_recon",
            "Dreamer on randomised images, whose world model rebuilds the privileged state",
            parts=(_DREAMER,),
            drivers=(Driver("dreamer", "image", imagines=True),),
            acts=("model", "policy"),
            home="learner.methods.dreamer",
            settled=_IMAGES_ALONE,
            suits=_WHOLE_EPISODES,
        ),
        Method(
            "asymmetric_sac",
            "soft actor-critic without a world model: the critic sees the state, the actor randomised images",
            parts=(PartOutline("sac", "pairs"),),
            drivers=(Driver("sac", "image", imagines=False),),
            acts=("actor",),
            home="learner.methods.asymmetric_sac",
            settled=_IMAGES_ALONE,
            # An update every eight steps of the environments, of 256 rows out of sixteen episodes.
            suits={
                "learner.sequence_length": 16,
                "learner.batch_size": 16,
                "learner.teacher_samples_per_insert": 32.0,
            },
        ),
    )
}
"""Every method by its name, the default first."""

DRIVERS: Mapping[str, Driver] = {driver.name: driver for method in METHODS.values() for driver in method.drivers}
"""Every driver of every method by its name."""

PARTS: tuple[str, ...] = tuple(dict.fromkeys(part.name for method in METHODS.values() for part in method.parts))
"""Names of the parts of all methods."""

FOLLOWING: frozenset[str] = frozenset(part.name for method in METHODS.values() for part in method.following)
"""Of these, those that follow another."""


def sees(driver: str) -> Sees:
    """What a driver sees; one that no method here has sees images."""
    return DRIVERS[driver].sees if driver in DRIVERS else "image"


def home(method: Method) -> ModuleType:
    """The module with a method's networks and updates."""
    return importlib.import_module(method.home)


__all__ = [
    "DRIVERS",
    "FOLLOWING",
    "METHODS",
    "PARTS",
    "Driver",
    "Method",
    "PartOutline",
    "SameAs",
    "Sees",
    "home",
    "sees",
]
