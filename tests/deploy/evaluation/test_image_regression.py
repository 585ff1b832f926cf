"""The check that one image carries the answer."""

import numpy as np
import pytest
import torch

from deploy.evaluation.image_regression import main, median_errors_m, photograph, train


def test_errors_are_distances_per_thing() -> None:
    names = ["gripper_x_m", "gripper_y_m", "goal_x_m"]
    truth = np.zeros((3, 3), np.float32)
    predicted = np.array([[3, 4, 1], [0, 0, 2], [6, 8, 9]], np.float32)
    assert median_errors_m(predicted, truth, names) == {"gripper": 5.0, "goal": 2.0}


def test_images_come_with_the_positions_that_they_show() -> None:
    images, positions, names = photograph("push", "held_out", 7, seed=0)
    assert images.shape == (7, 64, 64, 3)
    assert names == ["gripper_x_m", "gripper_y_m", "gripper_z_m", "cube_x_m", "cube_y_m", "goal_x_m", "goal_y_m"]
    assert positions.shape == (7, 7)
    assert len({tuple(row[-2:]) for row in positions}) == 3, "three frames of each episode"


def test_the_network_learns_by_heart_what_it_is_shown() -> None:
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 255, (8, 32, 32, 3)).astype(np.uint8))
    targets = torch.from_numpy(rng.standard_normal((8, 2)).astype(np.float32))
    net = train(images, targets, updates=300, seed=0)
    with torch.no_grad():
        assert float((net(images) - targets).abs().mean()) < 0.3


def test_one_line_per_domain_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    main(["reach", "--frames", "12", "--updates", "3", "--test-frames", "6"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" images")[0] for line in lines] == ["reach, unseen train", "reach, unseen held_out"]
    assert all("goal" in line and "gripper" in line for line in lines)
