"""The oracle: the teacher alone, which acts from the simulator's state; no policy of images is expected to pass it."""

from __future__ import annotations

from collections.abc import Sequence

from learner.acting import LatentPolicy
from learner.methods.part import Ground, Part
from learner.methods.teaching import TeacherPart


def build(ground: Ground) -> Sequence[Part]:
    """See `learner.methods.part.Build`."""
    return (TeacherPart(ground),)


acting = LatentPolicy
