"""Single frames: the pool keeps the newest valid ones, and a shift moves the picture and repeats its edge."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_learner import SPEC, generator, same_bits, snapshot, tiny_batch, tiny_config, tiny_learner

from learner.config import StudentConfig
from learner.frames import FramePool, random_shift

CPU = torch.device("cpu")


Rows = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def numbered(first: int, rows: int, *, views: int = 1, padded: int = 0) -> Rows:
    """One sequence whose row k shows a picture of k's, for the state k and the measured -k; its last may be padding."""
    number = torch.arange(first, first + rows)
    image = number[None, :, None, None, None, None].expand(1, rows, views, 2, 2, 3).to(torch.uint8)
    state = number[None, :, None].float()
    return image, state, -state, (torch.arange(rows) < rows - padded)[None]


def make_pool(capacity: int) -> FramePool:
    return FramePool(capacity, (2, 2, 3), 1, 1, CPU)


def held(pool: FramePool) -> set[int]:
    """The numbers of the frames that a few hundred draws bring."""
    frames = pool.draw(500, generator())
    assert torch.equal(frames.image[:, 0, 0, 0].float(), frames.state[:, 0])  # each with its own
    assert torch.equal(frames.measured, -frames.state)
    return {int(x) for x in frames.state[:, 0]}


def test_the_pool_holds_the_newest_frames_and_draws_all_of_them() -> None:
    pool = make_pool(5)
    pool.add(*numbered(0, 3))
    assert held(pool) == {0, 1, 2}
    pool.add(*numbered(3, 3))
    assert held(pool) == {1, 2, 3, 4, 5}
    pool.add(*numbered(10, 9))
    assert held(pool) == {14, 15, 16, 17, 18}


def test_padding_never_enters_the_pool() -> None:
    pool = make_pool(50)
    pool.add(*numbered(0, 6, padded=2))
    assert held(pool) == {0, 1, 2, 3}


def test_each_view_is_a_frame_of_its_own() -> None:
    pool = make_pool(50)
    batch = numbered(0, 2, views=3)
    pool.add(*batch)
    assert held(pool) == {0, 1}


def test_a_shift_moves_the_picture_and_repeats_its_edge() -> None:
    """Against torch's own replicating padding, for every shift that was drawn."""
    image = torch.randint(0, 255, (40, 3, 6, 5, 2), dtype=torch.uint8, generator=generator())
    moved = random_shift(image, 2, generator())
    assert moved.shape == image.shape and moved.dtype == torch.uint8
    padded = torch.nn.functional.pad(image.movedim(-1, 2).float(), (2, 2, 2, 2, 0, 0), mode="replicate")
    padded = padded.movedim(2, -1).to(torch.uint8)
    seen = set()
    for ours, source in zip(moved, padded, strict=True):
        fits = {
            (down - 2, right - 2)
            for down in range(5)
            for right in range(5)
            if torch.equal(source[:, down : down + 6, right : right + 5], ours)
        }
        assert len(fits) == 1, "all frames of one sequence are moved alike"
        seen |= fits
    assert {down for down, _ in seen} == {right for _, right in seen} == {-2, -1, 0, 1, 2}


def test_a_shift_of_nothing_is_the_same_picture() -> None:
    image = torch.randint(0, 255, (2, 4, 4, 3), dtype=torch.uint8, generator=generator())
    assert torch.equal(random_shift(image, 0, generator()), image)


@pytest.mark.parametrize(("share", "moves"), [(0.0, False), (0.5, True)])
def test_the_other_terms_move_the_encoder_only_by_their_share(share: float, moves: bool) -> None:
    """The readout has a pull so small that it can be told from theirs."""
    norms = []
    for readout in (1e-9, 1.0):
        learner = tiny_learner(student={"encoder_share": share, "frames": 6, "readout_scale": readout})
        learner.student_update(tiny_batch())
        gradients = [x.grad for x in learner.student.encoder.parameters() if x.grad is not None]
        norms.append(torch.stack([x.norm() for x in gradients]).norm().item())
    assert (norms[0] > 1e-6) == moves
    assert norms[1] > 1e-3


def test_a_share_of_one_half_is_half_the_gradient() -> None:
    found = []
    for share in (1.0, 0.5):
        off = {"readout_scale": 0.0, "gradient_norm": 1e9}
        learner = tiny_learner(student=off | {"encoder_share": share})
        learner.student_update(tiny_batch())
        found.append([x.grad.clone() for x in learner.student.encoder.parameters() if x.grad is not None])
    for whole, half in zip(*found, strict=True):
        torch.testing.assert_close(half, 0.5 * whole, rtol=1e-4, atol=1e-7)


def test_an_encoder_that_nothing_trains_is_refused() -> None:
    with pytest.raises(ValueError, match="encoder_share and readout_scale are both 0"):
        StudentConfig(encoder_share=0.0, readout_scale=0.0)


def test_updates_with_frames_and_shifts_are_the_same_from_the_same_seed() -> None:
    results = []
    for _ in range(2):
        learner = tiny_learner(student={"frames": 6, "shift_pixels": 1, "encoder_share": 0.0})
        for seed in range(3):
            learner.student_update(tiny_batch(seed, views=2))
        results.append(snapshot(learner.student))
    assert same_bits(*results)


def test_the_readout_of_frames_learns_what_the_images_tell() -> None:
    """Every image is as bright as the state says; after some updates the readout's deviation says how well it knows."""
    config = {"frames": 16, "encoder_share": 0.0, "learning_rate": 3e-3}
    learner = tiny_learner(student=config)
    rng = np.random.default_rng(0)
    losses = []
    for seed in range(150):
        batch = tiny_batch(seed)
        state = rng.uniform(0.0, 0.5, batch["state"].shape).astype(np.float32)
        state[..., 0] = 4.0 * state[..., 1] - 1.0
        batch["state"] = batch["state_at_exposure"] = state
        shown = np.broadcast_to(
            (510 * state[..., 1]).astype(np.uint8)[..., None, None, None, None], batch["image"].shape
        )
        losses.append(learner.student_update({**batch, "image": shown.copy()})["loss_readout"].item())
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) - 1.0
    assert learner.student.readout_loss.mean_square.sqrt().max().item() < 0.3
    assert tiny_config().student.frames == 0 and SPEC.state_dim == 2
