"""A student from the beginning for a teacher that has learned: the state with which its learner's run begins.

    of the taught state   teacher, policy, critic and their moments, as they are
    new                   the student and its average, their moments, the generators

The teacher's counts are kept and the student's begin at 0. Images may be others than the taught learner's: what the
two must have in common are states, actions and the sizes of the latent.
"""

from __future__ import annotations

from dataclasses import asdict, replace

from learner import checkpoint, format_2
from learner.checkpoint import Arrays, LearnerState
from learner.config import LearnerConfig
from learner.learner import Learner
from replay.schema import StreamSpec

TEACHING = ("teacher", "policy", "critic", "span")
"""Modules that a student finds ready."""

_AVERAGE = "student_average/"


def with_new_student(
    taught: LearnerState, spec: StreamSpec, config: LearnerConfig, seed: int, *, continued: bool = False
) -> LearnerState:
    """The state of a learner that has a taught one's teacher, and a student that has made no update.

    Args:
        taught: of a learner whose teacher is to be kept.
        spec: of the observations to come.
        config: of the learner to come; its method has a student for such a teacher.
        seed: of the student's first weights and of all draws.
        continued: whether the student begins as the taught one's averaged student, the one that acts; its optimiser
            begins anew all the same.

    Raises:
        ValueError: the taught state is of another format, or its networks are of other sizes; the message names the
            first that is.
    """
    checkpoint.check_document(taught.document, None)
    # Nothing is computed here but first weights: wherever the learner's process has its device, this one may have none.
    here = replace(config, device="cpu", student=replace(config.student, device="auto"))
    learner = Learner(spec, here, seed)
    teacher_updates = int(taught.document["teacher_updates"])
    weights, moments = taught.weights, taught.training
    if taught.document["format"] == format_2.FORMAT:
        weights = format_2.upgraded_weights(weights, teacher_updates, int(taught.document["student_updates"]))
        moments = format_2.upgraded_training(moments, learner.modules)
    checkpoint.load_modules({name: learner.modules[name] for name in TEACHING}, weights)
    if continued:
        average = {key.removeprefix(_AVERAGE): array for key, array in weights.items() if key.startswith(_AVERAGE)}
        for name in ("student", "student_average"):
            checkpoint.load_modules({name: learner.modules[name]}, _named(name, average))
    else:
        for part in learner.parts:
            part.begin()
    begun = checkpoint.capture(learner)
    kept = {key: array for key, array in moments.items() if key.partition("/")[0] in TEACHING}
    told = {"config": asdict(config), "teacher_updates": teacher_updates, "student_updates": 0}
    told |= {checkpoint.BEGUN: [part.name for part in learner.method.following]}
    return replace(begun, training={**begun.training, **kept}, document={**begun.document, **told})


def _named(module: str, arrays: Arrays) -> Arrays:
    return {f"{module}/{name}": array for name, array in arrays.items()}
