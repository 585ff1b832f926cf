"""Does one image carry the answer? Reads positions of gripper, goal and cube from single images, without any policy.

    python -m deploy.evaluation.image_regression reach

A small convolutional network is trained on randomised training worlds and asked about worlds that it has not seen,
of both visual domains. Where its median error for goal or cube is above 2 cm, no distillation can do better: look
at camera, framing and randomisation first.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from learner.config import Stem, StudentConfig
from learner.devices import choose_dtype
from learner.networks import ImageEncoder
from learner.optimiser import Optimiser
from sim import TASKS, RandomisationConfig, SimConfig, TimingConfig, make_env
from sim.seeds import evaluation_seed, training_seed

_FRAMES_PER_EPISODE = 3
_BATCH = 128
_LEARNING_RATE = 1.5e-3
_EMBED = 256


def photograph(
    task: str, domain: str, frames: int, seed: int, *, unseen: bool = False
) -> tuple[NDArray[np.uint8], NDArray[np.float32], list[str]]:
    """Return images [N, H, W, 3], positions in metres [N, P], and the positions' names, from many short episodes.

    With `unseen` none of them is one that is trained on, whatever the seeds.
    """
    # A late image would show another position than the state tells.
    config = SimConfig(randomisation=RandomisationConfig(timing=TimingConfig(enabled=False)))
    env: Any = make_env(task, config, domain=domain, views=1)
    rng = np.random.default_rng(seed)
    # Heights of things that lie on the table are no question.
    asked = [
        index
        for index, name in enumerate(env.state_names)
        if name.endswith("_m")
        and "_from_" not in name
        and not name.startswith("finger")
        and not (name.endswith("_z_m") and "gripper" not in name)
    ]
    images, positions = [], []
    for frame in range(frames):
        if frame % _FRAMES_PER_EPISODE == 0:
            episode_seed = evaluation_seed(seed, frame) if unseen else training_seed(rng)
            observation, _ = env.reset(seed=episode_seed)
        else:
            observation = env.step(rng.uniform(env.action_space.low, env.action_space.high))[0]
        images.append(observation["image"])
        positions.append(observation["state"][asked])
    names = [env.state_names[index] for index in asked]
    env.close()
    return np.stack(images), np.stack(positions), names


class PositionNet(nn.Module):
    """The student's image encoder and one linear layer: images [B, H, W, C] uint8 to positions [B, P].

    Positions are in standard deviations from the mean.
    """

    def __init__(self, image_shape: Sequence[int], outputs: int, stem: Stem) -> None:
        super().__init__()
        self.encoder = ImageEncoder(image_shape, StudentConfig().channels, _EMBED, stem)
        self.output = nn.Linear(_EMBED, outputs)

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        positions: Tensor = self.output(self.encoder(images))
        return positions


def train(images: Tensor, targets: Tensor, updates: int, seed: int, stem: Stem = "patches") -> PositionNet:
    """Fit the network; the learning rate falls to zero."""
    torch.manual_seed(seed)
    net = PositionNet(images.shape[1:], targets.shape[-1], stem)
    optimiser = Optimiser(net, _LEARNING_RATE, gradient_norm=100.0)
    dtype = choose_dtype("auto", images.device)
    for update in range(updates):
        for group in optimiser.adam.param_groups:
            group["lr"] = _LEARNING_RATE * (1.0 - update / updates)
        rows = torch.randint(len(images), (_BATCH,))
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            predicted = net(images[rows])
        optimiser.backward(nn.functional.smooth_l1_loss(predicted.float(), targets[rows]))
        optimiser.step()
    return net


def median_errors_m(
    predicted: NDArray[np.float32], truth: NDArray[np.float32], names: Sequence[str]
) -> dict[str, float]:
    """Return the median distance in metres between two sets of positions [N, P], for gripper, goal and cube each."""
    things = dict.fromkeys(name.split("_")[0] for name in names)
    errors = {}
    for thing in things:
        columns = [index for index, name in enumerate(names) if name.startswith(thing)]
        distances = np.linalg.norm((predicted - truth)[:, columns], axis=1)
        errors[thing] = float(np.median(distances))
    return errors


def main(arguments: Sequence[str] | None = None) -> None:
    """Photograph, train, and print one line per domain."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.evaluation.image_regression", description=__doc__.splitlines()[0]
    )
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--frames", type=int, default=24_000, help="training images (default 24000)")
    parser.add_argument("--updates", type=int, default=3000, help="updates of 128 images (default 3000)")
    parser.add_argument("--test-frames", type=int, default=1500, help="test images per domain (default 1500)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stem", choices=get_args(Stem), default="patches", help="learner.student.stem (patches)")
    given = parser.parse_args(arguments)
    images, positions, names = photograph(given.task, "train", given.frames, given.seed)
    mean, deviation = positions.mean(axis=0), positions.std(axis=0) + 1e-6
    net = train(
        torch.from_numpy(images),
        torch.from_numpy((positions - mean) / deviation),
        given.updates,
        given.seed,
        given.stem,
    )
    for domain in ("train", "held_out"):
        images, truth, _ = photograph(given.task, domain, given.test_frames, given.seed, unseen=True)
        with torch.no_grad():
            predicted = net(torch.from_numpy(images)).numpy() * deviation + mean
        errors = median_errors_m(predicted, truth, names)
        print(
            f"{given.task}, unseen {domain} images:", *(f"{key} {100 * value:.1f} cm" for key, value in errors.items())
        )


if __name__ == "__main__":
    main()
