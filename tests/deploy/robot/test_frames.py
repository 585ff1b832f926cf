"""A picture that the policy may not act on is refused in one line, and leaves the latent state as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deploy.robot.runtime import FrameError, Policy, load
from deploy.robot.runtime.contract import Camera, read_contract
from deploy.robot.runtime.frames import require_channel_order
from deploy.robot.runtime.golden import read_trace
from deploy.runs.policy_source import PRETRAINED, find_policy


@pytest.fixture
def policy(made: Path) -> Policy:
    return load(made)


@pytest.fixture(scope="module")
def own(made: Path) -> np.ndarray:
    """What the robot measured at a step of the golden trace."""
    measured: np.ndarray = read_trace(made)["proprioception"][0]
    return measured


@pytest.fixture(scope="module")
def picture(made: Path) -> np.ndarray:
    """One by whose colours the order can be told."""
    camera = read_contract(made).camera
    return next(image for image in read_trace(made)["image"] if looks_swapped(image[..., ::-1], camera))


def looks_swapped(image: np.ndarray, camera: Camera) -> bool:
    try:
        require_channel_order(image, camera)
    except FrameError:
        return True
    return False


WRONG: list[tuple[str, Any, str]] = [
    ("a list", lambda p: p.tolist(), "image is a list; allowed is a numpy array"),
    (
        "float",
        lambda p: p / np.float32(255),
        r"image is float32; allowed is uint8 \[48, 48, 3\] \(HWC, RGB,",
    ),
    ("not finite", lambda p: np.full(p.shape, np.nan), "image is float64 and not finite"),
    ("larger", lambda p: np.zeros((96, 96, 3), np.uint8), r"image has shape \[96, 96, 3\]; allowed is uint8"),
    ("channels first", lambda p: p.transpose(2, 0, 1), "its channels come first"),
    ("grey", lambda p: p[..., :1], r"image has shape \[48, 48, 1\]"),
    ("black", np.zeros_like, "it is black, or scaled to 0 to 1"),
    ("BGR", lambda p: p[..., ::-1], "image looks like BGR: goal would have"),
]


@pytest.mark.parametrize(("change", "message"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_a_wrong_picture_is_refused(
    policy: Policy, picture: np.ndarray, change: Any, message: str, own: np.ndarray
) -> None:
    with pytest.raises(FrameError, match=message) as refusal:
        policy.select_action(change(picture), own)
    assert "\n" not in str(refusal.value)


def test_what_was_refused_leaves_no_trace(made: Path, own: np.ndarray) -> None:
    images, refused, untouched = read_trace(made)["image"][:4], load(made), load(made)
    for image in images:
        with pytest.raises(FrameError):
            refused.select_action(np.zeros_like(image), own)
        assert np.array_equal(refused.select_action(image, own), untouched.select_action(image, own))


@pytest.mark.parametrize(("age", "allowed"), [(0.0, True), (0.2, True), (0.24, False), (-0.5, False), (1e9, False)])
def test_a_frame_may_be_as_old_as_in_training(
    policy: Policy, picture: np.ndarray, age: float, allowed: bool, own: np.ndarray
) -> None:
    if allowed:
        policy.select_action(picture, own, stamp=10.0, now=10.0 + age)
    else:
        with pytest.raises(FrameError, match="ms old; allowed are 0 to 230 ms, as in training"):
            policy.select_action(picture, own, stamp=10.0, now=10.0 + age)


def test_a_frame_may_come_again_as_often_as_in_training(policy: Policy, picture: np.ndarray, own: np.ndarray) -> None:
    for _ in range(3):
        policy.select_action(picture, own, stamp=10.0, now=10.0)
    with pytest.raises(FrameError, match="the same frame came 3 times again; allowed are 2"):
        policy.select_action(picture, own, stamp=10.0, now=10.0)
    policy.reset()
    policy.select_action(picture, own, stamp=10.0, now=10.0)


def test_a_frozen_picture_with_fresh_stamps_is_noticed_once_the_arm_moves(
    policy: Policy, picture: np.ndarray, own: np.ndarray
) -> None:
    for tick in range(20):
        policy.step(picture, own, stamp=float(tick), now=float(tick), moved_m=0.0)
    with pytest.raises(FrameError, match="the picture has not changed for 21 frames while the arm moved"):
        for tick in range(20, 24):
            policy.step(picture, own, stamp=float(tick), now=float(tick), moved_m=0.02)


@pytest.mark.parametrize("task", PRETRAINED)
def test_normal_pictures_of_both_domains_pass_and_swapped_ones_do_not(task: str) -> None:
    """The order is told by the colours of goal and cube; where other things have them, too, it cannot be told."""
    import sim
    from deploy.robot.terms import camera_of

    config = find_policy(f"pretrained/{task}").config.sim
    camera = camera_of(task, config)
    world, noticed = sim.make_env(task, config), 0
    for seed in range(60):
        image = world.reset(seed=seed, options={"domain": ("train", "held_out")[seed % 2]})[0]["image"]
        require_channel_order(image, camera)
        noticed += looks_swapped(image[..., ::-1], camera)
    world.close()
    assert noticed >= 40


def test_a_table_of_the_colour_that_a_mark_would_have_in_bgr_passes() -> None:
    from deploy.robot.terms import camera_of
    from sim.config import SimConfig

    camera, image = camera_of("reach", SimConfig()), np.full((64, 64, 3), (10, 20, 200), np.uint8)
    image[30:34, 30:34] = (200, 10, 10)
    require_channel_order(image, camera)
    image[30:34, 30:34] = (90, 90, 90)
    with pytest.raises(FrameError, match="image looks like BGR: goal would have"):
        require_channel_order(image, camera)


def test_the_model_goes_on_from_what_was_done(made: Path, own: np.ndarray) -> None:
    images, told, alone = read_trace(made)["image"][:2], load(made), load(made)
    for policy in (told, alone):
        policy.select_action(images[0], own)
    told.executed(np.array([1.0, -1.0, 1.0]))
    assert not np.array_equal(told.select_action(images[1], own), alone.select_action(images[1], own))
