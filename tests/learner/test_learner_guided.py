"""A guided student begins as the teacher on what is read off each image, and what it learns is added to that."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_learner import SPEC, B, T, noise, same_bits, snapshot, tensors, tiny_batch, tiny_config, tiny_learner
from torch import Tensor

from learner.guided import GuidedRSSM
from learner.learner import Learner
from learner.methods.twist import TwistPolicy
from learner.rssm import Observed

GUIDED = {"posterior": "read", "dynamics": "tied", "refresh_updates": 1}


def filtered(learner: Learner, batch: dict[str, Tensor]) -> tuple[Observed, Observed]:
    """A batch's images as the student filters them, and what is read off each as the teacher does."""
    student, teacher = learner.student, learner.teacher
    embed = student.encoder(batch["image"][:, :, 0])
    measured = student.proprioception.of(batch["state"])
    rest = batch["action"], batch["is_first"], noise()
    return (
        student.observe(student.seen(embed, measured), *rest),
        teacher.rssm.observe(teacher.encoder(student.read(embed, measured)), *rest),
    )


@pytest.mark.parametrize("proprioception", [(), ("gripper_*",)])
@torch.no_grad()
def test_it_begins_as_the_teacher_on_what_is_read(proprioception: tuple[str, ...]) -> None:
    learner = tiny_learner(student=GUIDED, proprioception=proprioception)
    ours, theirs = filtered(learner, tensors(tiny_batch()))
    assert ours.post.shape[:2] == (B, T)
    for got, expected in ((ours.post, theirs.post), (ours.prior, theirs.prior)):
        torch.testing.assert_close(got, expected)
    torch.testing.assert_close(ours.latent.feat, theirs.latent.feat)


def test_updates_move_what_it_adds_and_nothing_that_is_the_teacher_s() -> None:
    learner = tiny_learner(student=GUIDED)
    rssm = learner.student.rssm
    assert isinstance(rssm, GuidedRSSM)
    guide, own = snapshot(rssm.guide), snapshot(rssm.post_out)
    learner.student_update(tiny_batch())
    assert same_bits(snapshot(rssm.guide), guide)
    assert not same_bits(snapshot(rssm.post_out), own)
    with torch.no_grad():
        ours, theirs = filtered(learner, tensors(tiny_batch()))
    assert not torch.allclose(ours.post, theirs.post)


def test_the_guide_follows_the_teacher() -> None:
    learner = tiny_learner(student=GUIDED)
    learner.teacher_update(tiny_batch(image=False))
    learner.student_update(tiny_batch())
    for student in (learner.student, learner.student_average):
        assert isinstance(student.rssm, GuidedRSSM)
        assert same_bits(snapshot(student.rssm.guide["encoder"]), snapshot(learner.teacher.encoder))
        assert same_bits(snapshot(student.rssm.guide["post_out"]), snapshot(learner.teacher.rssm.post_out))


def test_the_readout_learns_from_its_own_loss_alone() -> None:
    learner = tiny_learner(student={**GUIDED, "readout_scale": 0.0, "encoder_share": 1.0})
    before = snapshot(learner.student.readout)
    learner.student_update(tiny_batch())
    assert same_bits(snapshot(learner.student.readout), before)


def test_it_acts_from_images() -> None:
    learner = tiny_learner(student=GUIDED)
    flat, version = learner.publish()
    acting = TwistPolicy(SPEC, learner.config)
    acting.load(flat, version)
    batch = tiny_batch()
    first, images = np.ones(B, bool), np.ones(B, bool)
    action, _ = acting.step(acting.initial(B), batch["state"][:, 0], batch["image"][:, 0, 0], first, images, False)
    assert action.shape == (B, SPEC.action_dim)
    assert np.isfinite(action).all()


def test_without_the_teacher_s_recurrence_its_posterior_is_refused() -> None:
    with pytest.raises(ValueError, match="posterior is read and dynamics scratch: the teacher's posterior needs tied"):
        tiny_config(student={"posterior": "read", "dynamics": "scratch"})
