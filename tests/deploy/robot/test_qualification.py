"""A qualification is of one robot and one bundle; without it a real robot's motors stay off."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deploy.cli import main
from deploy.robot.export import CALIBRATION_SEED
from deploy.robot.runtime import load, qualification
from deploy.robot.runtime.alignment_file import Alignment
from deploy.robot.runtime.contract import read_contract, write_contract
from deploy.robot.runtime.limits import Limiter
from deploy.robot.runtime.loop import Loop, LoopSettings
from deploy.robot.runtime.manifest import write_manifest
from deploy.robot.runtime.person import Nobody, Wishes
from deploy.robot.runtime.policy import Policy
from deploy.robot.runtime.qualification import Qualification, require_qualified
from deploy.robot.runtime.recording import Recorder, read_recording
from deploy.robot.runtime.refusals import UsageError
from deploy.robot.runtime.verification import StepTimes
from deploy.robot.sim_arm import SimArm
from deploy.runs.policy_source import find_policy

SEEN = ("--domain", "train", "--seed", str(CALIBRATION_SEED))
"""The bundle's own normal episodes: it has seen too few to know others by."""

STEPS = 32


@pytest.fixture(autouse=True)
def two_episodes_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qualification, "LEAST_COMPARED", STEPS)


@pytest.fixture(scope="module")
def recording(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reserved") / "r"
    given = ["--episodes", "2", *SEEN, "--no-surprise-stop", "--record", str(path)]
    assert main(["run", str(made), "--robot", "sim", *given]) == 0
    return path


def qualify(bundle: Path, recording: Path, robot: str = "bench-2") -> int:
    return main(["qualify", str(bundle), "--robot-id", robot, "--recording", str(recording)])


def test_a_robot_whose_recording_is_repeated_is_qualified(
    bundle: Path, recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert qualify(bundle, recording) == 0, capsys.readouterr().out
    written = json.loads((bundle / "qualification.json").read_text())
    policy = load(bundle)
    assert (written["robot"], written["bundle_sha256"]) == ("bench-2", policy.manifest.sha256)
    assert (written["steps"], written["compared"], sum(written["step_histogram"])) == (STEPS, STEPS, 1000)
    assert written["faults"] == []
    assert written["action_difference"] < 1e-5
    assert np.abs(written["gripper_mean_mm"]).max() < 60
    require_qualified(bundle, policy, "bench-2", "fr3")


def lenient(bundle: Path) -> Policy:
    """Its policy, never out of its depth: it has seen too little to be judged where an arm does something else."""
    policy = load(bundle)
    terms = policy.contract
    policy.contract = replace(
        terms,
        surprise=replace(terms.surprise, threshold=1e9),
        strangeness=replace(terms.strangeness, threshold=1e9),
        agreement=replace(terms.agreement, threshold=1e9, deviation_m=(0.1, 0.1, 0.1)),
    )
    return policy


def looked_at_again(bundle: Path, recording: Path) -> Qualification:
    return qualification.qualify(bundle, lenient(bundle), "bench-2", recording, "fr3")


@pytest.mark.parametrize("how", [["--dry-run"], ["--blend-in", "1"]], ids=["dry", "blended"])
def test_what_was_not_the_policys_own_doing_is_repeated_all_the_same(
    bundle: Path, tmp_path: Path, how: list[str]
) -> None:
    """A dry run, the qualification by it, and the run that this allows: the order of docs/robot.md."""
    record = tmp_path / "r"
    given = ["--episodes", "2", *SEEN, "--no-surprise-stop", "--record", str(record), *how]
    assert main(["run", str(bundle), "--robot", "sim", *given]) == 0
    recording = read_recording(record)
    assert recording.head["dry"] == (how == ["--dry-run"])
    told = [tick["executed"] for each in recording.episodes() for tick in each.ticks]
    assert len(told) - told.count(None) >= 16, "else there is nothing to repeat"
    found = looked_at_again(bundle, record)
    assert (found.faults, found.compared) == ([], STEPS)
    assert found.action_difference < 1e-5
    require_qualified(bundle, load(bundle), "bench-2", "fr3")


def test_a_recording_in_which_a_person_drove_is_repeated(bundle: Path, tmp_path: Path) -> None:
    policy, mine = load(bundle), np.array([0.5, -0.5, 0.2], np.float32)

    class Corrector(Nobody):
        calls = -1

        def wishes(self) -> Wishes:
            self.calls += 1
            return Wishes(hold=self.calls in (3, 4), action=mine if 6 <= self.calls < 10 else None)

    arm = SimArm(find_policy("pretrained/reach").config, policy.contract, domain="train", seed=CALIBRATION_SEED)
    settings, limiter = LoopSettings(surprise_stop=False), Limiter.of(policy.contract, "fr3")
    with Recorder(tmp_path / "r", policy.contract, policy.manifest.sha256, "sim") as recorder:
        for _ in range(2):
            Loop(policy, arm, limiter, settings, Corrector(), recorder).run_episode()
    arm.close()
    found = looked_at_again(bundle, tmp_path / "r")
    assert (found.faults, found.compared) == ([], STEPS)
    assert found.action_difference < 1e-5


def test_what_the_policy_would_not_have_done_is_a_fault(bundle: Path, recording: Path, tmp_path: Path) -> None:
    def another(tick: dict[str, Any]) -> None:
        tick["policy"][0] += 0.01

    assert qualify(bundle, changed(recording, tmp_path / "changed", another)) == 1
    assert json.loads((bundle / "qualification.json").read_text())["faults"] == ["actions differ by 1.0e-02"]


def test_too_little_says_too_little(bundle: Path, recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qualification, "LEAST_COMPARED", 100)
    assert qualify(bundle, recording) == 1
    fault = "32 steps of the policy could be compared; allowed are 100 and more"
    assert json.loads((bundle / "qualification.json").read_text())["faults"] == [fault]


def test_a_camera_that_dropped_out_is_a_fault(bundle: Path, recording: Path, tmp_path: Path) -> None:
    black = changed(recording, tmp_path / "black", lambda tick: None)
    size = read_recording(black).head["image_shape"]
    with (black / "images.u8").open("r+b") as opened:
        opened.seek(5 * int(np.prod(size)))
        opened.write(bytes(int(np.prod(size))))
    assert qualify(bundle, black) == 1
    faults = json.loads((bundle / "qualification.json").read_text())["faults"]
    assert "3.1 % of the pictures are refused" in faults


def changed(recording: Path, target: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy of a recording in which each tick was changed."""
    shutil.copytree(recording, target)
    lines = [json.loads(line) for line in (target / "ticks.jsonl").read_text().splitlines()]
    for line in lines:
        if line["kind"] == "tick":
            change(line)
    (target / "ticks.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return target


def test_another_robot_and_another_bundle_are_not(bundle: Path, recording: Path) -> None:
    policy = load(bundle)
    with pytest.raises(UsageError, match="bench-2 is not qualified for bundle .*: there is no qualification; "):
        require_qualified(bundle, policy, "bench-2", "fr3")
    qualify(bundle, recording)
    with pytest.raises(UsageError, match="bench-3 is not qualified .*: the qualification is of bench-2; .*"):
        require_qualified(bundle, policy, "bench-3", "fr3")
    with pytest.raises(UsageError, match="bench-2 is not qualified .*: the qualification is of arm fr3, not panda; .*"):
        require_qualified(bundle, policy, "bench-2", "panda")
    path = bundle / "qualification.json"
    path.write_text(path.read_text().replace(policy.manifest.sha256, "0" * 64))
    with pytest.raises(UsageError, match="the qualification is of bundle 000000000000"):
        require_qualified(bundle, policy, "bench-2", "fr3")


def test_a_moved_arm_is_a_fault(bundle: Path, recording: Path, tmp_path: Path) -> None:
    """The joints are not where the pictures show them: a camera that was moved after it was aligned looks like this."""

    def turned(tick: dict[str, Any]) -> None:
        tick["joints"][0] += 0.4

    contract = read_contract(bundle)  # which is not surprised, so that the disagreement is what stops it
    write_contract(bundle, replace(contract, surprise=replace(contract.surprise, threshold=1e9)))
    write_manifest(bundle)
    assert qualify(bundle, changed(recording, tmp_path / "moved", turned)) == 1
    faults = json.loads((bundle / "qualification.json").read_text())["faults"]
    assert any("disagreement" in fault for fault in faults)
    assert any(fault.startswith("the pictures show the gripper ") for fault in faults)
    with pytest.raises(UsageError, match="it did not pass: "):
        require_qualified(bundle, load(bundle), "bench-2", "fr3")


def test_a_camera_beyond_what_was_trained_on_is_a_fault(bundle: Path, recording: Path) -> None:
    policy = load(bundle)
    camera, (x, y, z) = policy.contract.camera, policy.contract.camera.eye_m
    found = Alignment(
        format=1,
        bundle_sha256=policy.manifest.sha256,
        made="2026-11-30T12:00:00Z",
        pictures=12,
        eye_m=(x + 0.04, y, z),
        aim_m=camera.aim_m,
        roll_deg=0.2,
        field_of_view_deg=camera.field_of_view_deg,
        overlap=0.95,
        residual_px=0.5,
        residual_mm=2.5,
    )
    found.write(bundle)
    assert qualify(bundle, recording) == 0
    assert json.loads((bundle / "qualification.json").read_text())["alignment_mm"] == 2.5
    require_qualified(bundle, policy, "bench-2", "fr3")
    replace(found, eye_m=(x + 0.05, y, z)).write(bundle)
    with pytest.raises(UsageError, match="the camera was aligned anew since"):
        require_qualified(bundle, policy, "bench-2", "fr3")
    replace(found, eye_m=(x + 0.06, y, z), roll_deg=4.0).write(bundle)
    assert qualify(bundle, recording) == 1
    assert json.loads((bundle / "qualification.json").read_text())["faults"] == [
        "the camera is 60 mm from where training had it; allowed are 50 mm",
        "the roll is 4.0 degrees; allowed are -2.5 to 2.5",
    ]
    replace(found, bundle_sha256="0" * 64).write(bundle)
    assert qualify(bundle, recording) == 1


def test_a_machine_that_is_too_slow_is_a_fault(
    bundle: Path, recording: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = StepTimes((0.001,) * 90 + (0.2,) * 10, 0.1)
    monkeypatch.setattr(qualification, "timed", lambda policy, images, proprioception: slow)
    assert qualify(bundle, recording) == 1
    assert "fault: a step takes 200.0 ms (p99)" in capsys.readouterr().out.splitlines()
    histogram = json.loads((bundle / "qualification.json").read_text())["step_histogram"]
    assert (histogram[0], histogram[-1], sum(histogram)) == (90, 10, 100)


def test_what_is_no_recording_is_one_line(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert qualify(bundle, tmp_path) == 1
    assert capsys.readouterr().err.startswith(f"twist: {tmp_path}: holds no recording: ")
