"""`run`: which robot takes what, what a stop ends, and the episodes of a simulator."""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path

import numpy as np
import pytest
from scripted_arm import ScriptedArm

from deploy.cli import main
from deploy.robot.runtime.golden import read_trace
from deploy.robot.runtime.recording import read_recording
from deploy.robot.runtime.running import Drivers, RunReport, add_arguments, run

FRANKY = ("--robot", "franky", "--robot-id", "bench-2", "--host", "127.0.0.1")
MOVING = (*FRANKY, "--unwatched")


@pytest.fixture
def arm(made: Path) -> ScriptedArm:
    return ScriptedArm(read_trace(made)["image"][:16])


def run_on(arm: ScriptedArm, made: Path, *given: str) -> RunReport:
    """`run` of a bundle with a driver of the test's."""
    parser = argparse.ArgumentParser()
    add_arguments(parser, ["scripted"])
    drivers: Drivers = {"scripted": lambda given, policy: arm}
    return run(parser.parse_args([str(made), "--robot", "scripted", *given]), drivers)


@pytest.mark.parametrize("real", [True, False])
def test_no_arm_sets_out_again_by_itself_after_a_stop(made: Path, arm: ScriptedArm, real: bool) -> None:
    """A camera that was knocked over, as its pictures' age shows it; a simulator's next episode may be better."""
    arm.age, arm.real = (lambda tick: 9.0), real
    report = run_on(arm, made, "--episodes", "3")
    assert arm.told.count("connect") == (1 if real else 3)
    assert (report.episodes[0].stopped or "").startswith("frames: ")
    assert (report.failed, arm.told[-1]) == (real, "close")


def test_a_run_that_the_robot_ended_has_failed(made: Path, arm: ScriptedArm) -> None:
    arm.cut_at, arm.real = 3, False
    report = run_on(arm, made, "--episodes", "3", "--no-surprise-stop")
    assert (report.failed, len(report.episodes)) == (True, 1)


@pytest.mark.parametrize(("robot", "world"), [("sim", "pybullet"), ("mujoco", "mujoco")])
def test_a_simulator_runs_the_episodes_of_twist_eval(
    made: Path, robot: str, world: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if world == "mujoco":
        pytest.importorskip("mujoco", reason="MuJoCo is not installed: pip install -e '.[mujoco]'")
    ours_of = ["--episodes", "4", "--seed", "3", "--no-surprise-stop", "--json"]
    assert main(["run", str(made), "--robot", robot, *ours_of]) == 0
    ours = json.loads(capsys.readouterr().out)
    given = ["--episodes", "4", "--seed", "3", "--world", world, "--json"]
    assert main(["eval", "pretrained/reach", *given]) == 0
    theirs = json.loads(capsys.readouterr().out)
    assert (ours["episodes"], ours["steps"], ours["missed"]) == (4, 64, 0)
    assert ours["successes"] == theirs["successes"]


def test_its_recording_can_be_replayed_without_motion(made: Path, tmp_path: Path) -> None:
    record = str(tmp_path / "r")
    assert main(["run", str(made), "--robot", "sim", "--seed", "3", "--record", record]) == 0
    again = ["run", str(made), "--robot", "replay", "--recording", record, "--record", str(tmp_path / "again")]
    assert main(again) == 0
    first, second = (next(iter(read_recording(tmp_path / name).episodes())) for name in ("r", "again"))
    assert np.array_equal(first.images, second.images)
    assert [tick["action"] for tick in first.ticks] == [tick["action"] for tick in second.ticks]
    assert first.about["seed"] == second.about["seed"]
    assert main(["run", str(made), "--robot", "sim", "--record", record]) == 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--robot", "sim", "--episodes", "0"], "--episodes is 0; allowed is at least 1"),
        (["--robot", "sim", "--blend-in", "nan"], "--blend-in is nan; allowed is at least 0"),
        (["--robot", "sim", "--keyboard"], "--keyboard and --single-step need a terminal to read keys from"),
        (["--robot", "franky"], "--robot franky needs --robot-id NAME, --host ADDRESS and --camera CAMERA"),
        ([*FRANKY, "--camera", "opencv:0"], "--robot franky moves the arm to its start; allowed are --keyboard and"),
        ([*MOVING, "--camera", "opencv:0"], "bench-2 is not qualified for bundle "),
        ([*MOVING, "--camera", "usb", "--unqualified", "bench-2"], "--camera is 'usb'; allowed are opencv:NUMBER"),
        ([*MOVING, "--camera", "opencv:0", "--dynamics", "0.01"], "--dynamics is 0.01; allowed are 0.05 to 1, the"),
        ([*MOVING, "--camera", "opencv:0", "--dynamics", "nan"], "--dynamics is nan; allowed are 0.05 to 1, the most"),
        ([*MOVING, "--camera", "a:b", "--camera-latency", "2"], "--camera-latency is 2.0; allowed are 0 to 1 s"),
        (
            [*FRANKY, "--dry-run", "--camera", "a:b", "--camera-latency", "0.1"],
            "--camera-latency is 0.1; allowed it is with opencv:NUMBER alone: a:b says when",
        ),
        (["--robot", "sim", "--host", "127.0.0.1"], "--host is of --robot franky; given is sim"),
        (["--robot", "sim", "--recording", "r"], "--recording is of --robot replay; given is sim"),
        (["--robot", "replay", "--seed", "3"], "--seed is of --robot sim, mujoco; given is replay"),
    ],
)
def test_what_cannot_be_is_one_line(
    made: Path, given: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert main(["run", str(made), *given]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
