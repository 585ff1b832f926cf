"""A student is fitted to a recording: what is frozen stays, the gripper is found better, and a reserved part judges."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from deploy.cli import main
from deploy.errors import UserError
from deploy.robot import adapting
from deploy.robot.adapting import RobotEpisode
from deploy.robot.runtime.contract import Contract, read_contract
from deploy.robot.runtime.manifest import read_manifest
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
def contract(made: Path) -> Contract:
    return read_contract(made)


@pytest.fixture(scope="module")
def episodes(recording: Path, contract: Contract) -> list[RobotEpisode]:
    found = [adapting.robot_episode(contract, each) for each in read_recording(recording).episodes()]
    return [episode for episode in found if episode is not None]


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


def test_of_a_late_picture_the_gripper_is_where_it_was_then(recording: Path, contract: Contract) -> None:
    recorded = next(iter(read_recording(recording).episodes()))
    late = replace(recorded, ticks=[{**tick, "age_s": 0.05} for tick in recorded.ticks])
    found = adapting.robot_episode(contract, late)
    assert found is not None
    halfway = (found.gripper_m[4] + found.gripper_m[5]) / 2
    assert found.gripper_at_exposure_m[5] == pytest.approx(halfway)


def test_periods_that_were_missed_count_and_joints_are_of_when_they_were_measured(
    recording: Path, contract: Contract
) -> None:
    recorded = next(iter(read_recording(recording).episodes()))
    times = [0.1 * index + (0.3 if index >= 8 else 0.0) for index in range(STEPS)]
    ticks = [
        {**tick, "time_s": time, "age_s": 0.2 if index == 8 else 0.0, "joints_age_s": 0.0}
        for index, (tick, time) in enumerate(zip(recorded.ticks, times, strict=True))
    ]
    found = adapting.robot_episode(contract, replace(recorded, ticks=ticks))
    assert found is not None
    halfway = (found.gripper_m[7] + found.gripper_m[8]) / 2
    assert found.gripper_at_exposure_m[8] == pytest.approx(halfway)
    older = [{**tick, "joints_age_s": 0.05} for tick in recorded.ticks]
    delayed = adapting.robot_episode(contract, replace(recorded, ticks=older))
    assert delayed is not None
    assert delayed.gripper_at_exposure_m[5] == pytest.approx((delayed.gripper_m[5] + delayed.gripper_m[6]) / 2)


def test_in_a_dry_run_nothing_was_done(made: Path, tmp_path: Path) -> None:
    given = ["--dry-run", "--no-surprise-stop", "--record", str(tmp_path / "r")]
    assert main(["run", str(made), "--robot", "sim", *given]) == 0
    recorded = next(iter(read_recording(tmp_path / "r").episodes()))
    assert np.abs([tick["action"] for tick in recorded.ticks]).max() > 0.1
    found = adapting.robot_episode(read_contract(made), recorded)
    assert found is not None and not found.actions.any()


def test_what_the_policy_could_not_act_on_is_not_learned_from(recording: Path, contract: Contract) -> None:
    recorded = next(iter(read_recording(recording).episodes()))
    measured = {"joints", "opening", "velocity", "told"}
    kept = {"time_s", "age_s", "joints_age_s", "driver", "action", "target"} | measured
    refused = {name: value for name, value in recorded.ticks[4].items() if name in kept}
    ticks = [*recorded.ticks[:4], refused, *recorded.ticks[5:]]
    found = adapting.robot_episode(contract, replace(recorded, ticks=ticks))
    assert found is not None
    assert np.array_equal(found.images, np.delete(recorded.images, 4, axis=0))
    whole = adapting.robot_episode(contract, recorded)
    assert whole is not None
    assert np.array_equal(found.actions[4], whole.actions[4]), "as the model has it, whose last step was the fourth"
    assert adapting.robot_episode(contract, replace(recorded, ticks=[refused] * STEPS)) is None


def test_what_is_fitted_moves_and_nothing_else_does(networks: ActingPolicy, episodes: list[RobotEpisode]) -> None:
    """And pictures like negatives, of which the policy understands little, are understood better for it."""
    negatives = [replace(each, images=255 - each.images) for each in episodes]
    learned, reserved = adapting.split(negatives, Path("r"))
    assert (len(learned), len(reserved)) == (3, 1)
    config = find_policy("pretrained/reach").config
    fitted = {parameter.data_ptr() for parameter in fitted_modules(networks.student).parameters()}
    before = {name: (value.data_ptr() in fitted, value.clone()) for name, value in _values(networks).items()}
    judged = adapting.judge(networks, reserved)
    simulated = list(adapting.simulated_episodes(networks, config, 2))
    list(adapting.fit(networks, config, learned, simulated, AdaptationConfig(updates=25, batch_size=2)))
    after = _values(networks)
    assert all(torch.equal(value, after[name]) == (not moves) for name, (moves, value) in before.items())
    assert adapting.judge(networks, reserved).read_mm < judged.read_mm


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


@pytest.mark.parametrize(
    ("name", "value"),
    [("task", "push"), ("rate_hz", 20), ("image_shape", [64, 64, 3]), ("action_names", ["x"]), ("bundle_sha256", "0")],
)
def test_the_recording_of_another_bundle_is_refused(made: Path, recording: Path, name: str, value: object) -> None:
    found, manifest = read_recording(recording), read_manifest(made)
    adapting.require_same_bundle(read_contract(made), manifest.sha256, found)
    with pytest.raises(UserError, match=f"has {name} .*; allowed is the bundle's, "):
        other = replace(found, head={**found.head, name: value})
        adapting.require_same_bundle(read_contract(made), manifest.sha256, other)


def test_where_the_new_bundle_cannot_be_is_said_first(
    bundle: Path, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--recording", str(recording), "--policy", "pretrained/reach"]
    assert main(["adapt", str(bundle), str(bundle.parent / "." / bundle.name), *given]) == 2
    assert "is BUNDLE, which stays; NEW is another directory" in capsys.readouterr().err
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").write_bytes(b"meow")
    assert main(["adapt", str(bundle), str(tmp_path / "photos"), *given]) == 2
    assert "holds cat.png and is no bundle" in capsys.readouterr().err


def test_better_is_nearer_and_not_much_more_surprised() -> None:
    before = adapting.Judged(read_mm=20.0, believed_mm=10.0, surprise=2.0)
    assert adapting.Judged(25.0, 9.9, 2.1).better_than(before)
    assert not adapting.Judged(10.0, 10.0, 1.0).better_than(before)
    assert not adapting.Judged(10.0, 5.0, 2.11).better_than(before)


@pytest.mark.long
def test_what_became_better_is_a_bundle_of_its_own(
    made: Path, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a robot whose pictures have another tint; `test_what_is_fitted_moves` stands for it in everyday tests."""
    negatives, shape = tmp_path / "negatives", read_recording(recording).head["image_shape"]
    shutil.copytree(recording, negatives)
    images = np.fromfile(recording / "images.u8", np.uint8).reshape(-1, *shape)
    (images * [1.0, 0.6, 0.5] + 20).astype(np.uint8).tofile(negatives / "images.u8")
    before, new = {path: path.read_bytes() for path in made.rglob("*") if path.is_file()}, tmp_path / "new"
    given = ["--recording", str(negatives), "--policy", "pretrained/reach", "--updates", "40", "--simulated", "4"]
    assert main(["adapt", str(made), str(new), *given, "--episodes", "4"]) == 0, capsys.readouterr().err
    assert read_contract(new).origin.adapted_from == read_manifest(made).sha256
    assert main(["verify", str(new)]) == 0
    assert before == {path: path.read_bytes() for path in made.rglob("*") if path.is_file()}


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
