"""A student is fitted to a recording: what is frozen stays, the gripper is found better, and a reserved part judges."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from deploy.cli import main
from deploy.errors import UserError
from deploy.robot import adapting
from deploy.robot.adapting import RobotEpisode
from deploy.robot.runtime.contract import read_contract
from deploy.robot.runtime.recording import read_recording
from deploy.runs.acting import load_policy
from deploy.runs.policy_source import find_policy
from learner.acting import ActingPolicy
from learner.adaptation import AdaptationConfig, fitted_modules

STEPS = 16


@pytest.fixture(scope="module")
def recording(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("adapting") / "r"
    given = ["--episodes", "4", "--seed", "21", "--no-surprise-stop", "--record", str(path)]
    assert main(["run", str(made), "--robot", "sim", *given]) == 0
    return path


@pytest.fixture(scope="module")
def episodes(made: Path, recording: Path) -> list[RobotEpisode]:
    return [adapting.robot_episode(read_contract(made), each) for each in read_recording(recording).episodes()]


@pytest.fixture
def networks() -> ActingPolicy:
    return load_policy(find_policy("pretrained/reach"))


def test_actions_are_those_that_led_to_each_picture(recording: Path, episodes: list[RobotEpisode]) -> None:
    recorded = next(iter(read_recording(recording).episodes()))
    chosen = np.array([tick["action"] for tick in recorded.ticks])
    assert np.array_equal(episodes[0].actions[0], np.zeros(3))
    inside = np.abs(chosen[:-1]).max(-1) < 1
    assert episodes[0].actions[1:][inside] == pytest.approx(chosen[:-1][inside], abs=2e-3)
    assert episodes[0].gripper_m.shape == episodes[0].gripper_at_exposure_m.shape == (STEPS, 3)


def test_of_a_late_picture_the_gripper_is_where_it_was_then(made: Path, recording: Path) -> None:
    recorded, contract = next(iter(read_recording(recording).episodes())), read_contract(made)
    late = replace(recorded, ticks=[{**tick, "age_s": 0.05} for tick in recorded.ticks])
    found = adapting.robot_episode(contract, late)
    halfway = (found.gripper_m[4] + found.gripper_m[5]) / 2
    assert found.gripper_at_exposure_m[5] == pytest.approx(halfway)


def test_what_is_fitted_moves_and_nothing_else_does(networks: ActingPolicy, episodes: list[RobotEpisode]) -> None:
    """And pictures of another tint are understood better for it."""
    tinted = [replace(each, images=(each.images * [1.0, 0.6, 0.5] + 20).astype(np.uint8)) for each in episodes]
    learned, reserved = adapting.split(tinted, Path("r"))
    assert (len(learned), len(reserved)) == (3, 1)
    config = find_policy("pretrained/reach").config
    fitted = {parameter.data_ptr() for parameter in fitted_modules(networks.student).parameters()}
    before = {name: (value.data_ptr() in fitted, value.clone()) for name, value in _values(networks).items()}
    judged = adapting.judge(networks, reserved)
    simulated = list(adapting.simulated_episodes(networks, config, 2))
    list(adapting.fit(networks, config, learned, simulated, AdaptationConfig(updates=25, batch_size=2)))
    after = _values(networks)
    assert all(torch.equal(value, after[name]) == (not moves) for name, (moves, value) in before.items())
    assert adapting.judge(networks, reserved).believed_mm < judged.believed_mm


def _values(networks: ActingPolicy) -> dict[str, torch.Tensor]:
    return {
        f"{index}/{name}": parameter.data
        for index, module in enumerate(networks.modules)
        for name, parameter in module.named_parameters()
    }


def test_the_adapted_policy_is_one_that_can_be_exported(networks: ActingPolicy, tmp_path: Path) -> None:
    source = find_policy("pretrained/reach")
    with torch.no_grad():
        networks.student.encoder.output[0].weight.mul_(0.5)
    adapted = adapting.write_adapted(source, networks, tmp_path / "policy")
    again = load_policy(find_policy(str(tmp_path / "policy")))
    assert torch.equal(again.student.encoder.output[0].weight, networks.student.encoder.output[0].weight)
    assert adapted.newest_checkpoint().step == source.newest_checkpoint().step


def test_another_policy_and_too_little_are_refused(made: Path, recording: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has weights .* of run .*; the bundle was made of weights"):
        adapting.require_same_policy(read_contract(made), find_policy("pretrained/push"))
    with pytest.raises(UserError, match="has 2 episodes; allowed are 3 and more"):
        adapting.split([None] * 2, recording)  # type: ignore[list-item]


def test_what_became_no_better_is_not_written(
    made: Path, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapting.Judged, "better_than", lambda self, other: False)
    given = ["--recording", str(recording), "--policy", "pretrained/reach", "--updates", "1", "--simulated", "1"]
    assert main(["adapt", str(made), str(tmp_path / "new"), *given]) == 1
    printed = capsys.readouterr()
    assert printed.err == f"twist: {recording}: its reserved part became no better; nothing is written\n"
    assert [line.partition(":")[0] for line in printed.out.splitlines()[1:]] == ["before", "after"]
    assert not (tmp_path / "new").exists()
