"""A qualification is of one robot and one bundle; without it a real robot's motors stay off."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deploy.cli import main
from deploy.robot.export import CALIBRATION_SEED
from deploy.robot.runtime import load, qualification
from deploy.robot.runtime.alignment_file import Alignment
from deploy.robot.runtime.qualification import require_qualified
from deploy.robot.runtime.refusals import UsageError
from deploy.robot.runtime.verification import StepTimes


@pytest.fixture(scope="module")
def recording(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("reserved") / "r"
    # The bundle's own normal episodes: it has seen too few to know others by.
    seen = ["--domain", "train", "--seed", str(CALIBRATION_SEED)]
    given = ["--episodes", "2", *seen, "--no-surprise-stop", "--record", str(path)]
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
    assert (written["steps"], sum(written["step_histogram"]), written["faults"]) == (32, 1000, [])
    assert written["action_difference"] < 1e-5
    assert np.abs(written["gripper_mean_mm"]).max() < 60
    require_qualified(bundle, policy, "bench-2")


def test_another_robot_and_another_bundle_are_not(bundle: Path, recording: Path) -> None:
    policy = load(bundle)
    with pytest.raises(UsageError, match="bench-2 is not qualified for bundle .*: there is no qualification; "):
        require_qualified(bundle, policy, "bench-2")
    qualify(bundle, recording)
    with pytest.raises(UsageError, match="bench-3 is not qualified .*: the qualification is of bench-2; .*"):
        require_qualified(bundle, policy, "bench-3")
    path = bundle / "qualification.json"
    path.write_text(path.read_text().replace(policy.manifest.sha256, "0" * 64))
    with pytest.raises(UsageError, match="the qualification is of bundle 000000000000"):
        require_qualified(bundle, policy, "bench-2")


def test_a_moved_arm_is_a_fault(bundle: Path, recording: Path, tmp_path: Path) -> None:
    """The joints are not where the pictures show them: a camera that was moved after it was aligned looks like this."""
    moved = tmp_path / "moved"
    moved.mkdir()
    for file in recording.iterdir():
        (moved / file.name).write_bytes(file.read_bytes())
    lines = [json.loads(line) for line in (moved / "ticks.jsonl").read_text().splitlines()]
    for line in lines:
        if line["kind"] == "tick":
            line["joints"][0] += 0.4
    (moved / "ticks.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert qualify(bundle, moved) == 1
    assert "disagreement" in json.loads((bundle / "qualification.json").read_text())["faults"][0]
    with pytest.raises(UsageError, match="it did not pass: "):
        require_qualified(bundle, load(bundle), "bench-2")


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
    replace(found, eye_m=(x + 0.06, y, z), roll_deg=4.0).write(bundle)
    assert qualify(bundle, recording) == 1
    assert json.loads((bundle / "qualification.json").read_text())["faults"] == [
        "the camera is 60 mm from where training had it; allowed are 50 mm",
        "the roll is 4.0 degrees; allowed are 0.0 to 0.0",
    ]
    replace(found, bundle_sha256="0" * 64).write(bundle)
    assert qualify(bundle, recording) == 1


def test_a_machine_that_is_too_slow_is_a_fault(
    bundle: Path, recording: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = StepTimes((0.001,) * 90 + (0.2,) * 10, 0.1)
    monkeypatch.setattr(qualification, "timed", lambda policy, images: slow)
    assert qualify(bundle, recording) == 1
    assert "fault: a step takes 200.0 ms (p99)" in capsys.readouterr().out.splitlines()
    histogram = json.loads((bundle / "qualification.json").read_text())["step_histogram"]
    assert (histogram[0], histogram[-1], sum(histogram)) == (90, 10, 100)


def test_what_is_no_recording_is_one_line(bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert qualify(bundle, tmp_path) == 1
    assert capsys.readouterr().err.startswith(f"twist: {tmp_path}: holds no recording: ")
