"""The driver of a Franka arm over the arm's own protocol, with franky-sim as the arm. No real arm has been driven."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from bench_camera import BenchCamera
from franka_double import FrankaDouble

from deploy.robot.runtime import Policy, load
from deploy.robot.runtime.arm import ArmError, Target
from deploy.robot.runtime.franky_arm import FrankyArm
from deploy.robot.runtime.kinematics import gripper_at
from deploy.robot.runtime.limits import Limiter
from deploy.robot.runtime.loop import Loop, LoopSettings

pytest.importorskip("franky", reason="franky-control is not installed: pip install -e '.[franka]'")
pytest.importorskip("franky_sim", reason="franky-sim is not installed: pip install -e '.[franka]'")

PERIOD = 0.1


@pytest.fixture
def double(tmp_path: Path) -> Iterator[FrankaDouble]:
    robot = FrankaDouble(tmp_path)
    yield robot
    robot.close()


@pytest.fixture
def policy(made: Path) -> Policy:
    return load(made)


@pytest.fixture
def camera(double: FrankaDouble) -> BenchCamera:
    return BenchCamera("reach", lambda: double.joints)


@pytest.fixture
def arm(double: FrankaDouble, camera: BenchCamera, policy: Policy) -> Iterator[FrankyArm]:
    arm = FrankyArm(double.host, camera, policy.contract, dynamics=1.0, realtime=False, hand=False)
    yield arm
    arm.close()


def drive_away(arm: FrankyArm, pause: Callable[[], None], steps: int = 4) -> None:
    """Commands that are good for long: on a busy machine the double's time goes more slowly than deadlines do."""
    x, y, z = gripper_at(arm.observe().joints)
    for step in range(1, steps + 1):
        arm.command(Target((x, y + 0.03 * step, z), 0.0), arm.clock.now() + 60.0)
        pause()


def test_it_goes_to_the_start_follows_commands_and_holds(arm: FrankyArm, double: FrankaDouble, policy: Policy) -> None:
    arm.connect(lambda: True)
    terms = policy.contract.action
    middle = np.add(terms.start_low_m, terms.start_high_m) / 2
    start = np.array(gripper_at(arm.observe().joints))
    assert start == pytest.approx(middle, abs=0.01)
    drive_away(arm, lambda: double.wait(2 * PERIOD))
    arm.hold()
    double.wait(1.0)
    assert gripper_at(double.joints)[1] - start[1] == pytest.approx(0.12, abs=0.03)
    assert double.speed < 0.01


def test_without_a_command_in_time_it_holds_by_itself(arm: FrankyArm, double: FrankaDouble) -> None:
    arm.connect(lambda: True)
    x, y, z = gripper_at(arm.observe().joints)
    arm.command(Target((x, y + 0.25, z), 0.0), arm.clock.now() + PERIOD)
    time.sleep(2 * PERIOD)
    double.wait(0.1)
    commanded = double.commanded
    double.wait(0.5)
    assert double.commanded == pytest.approx(commanded, abs=1e-4)
    assert gripper_at(double.commanded)[1] - y < 0.2


def test_whoever_watches_may_stop_it_on_the_way_to_its_start(arm: FrankyArm, double: FrankaDouble) -> None:
    before, asked = double.joints, []

    def go_on() -> bool:
        asked.append(double.joints)
        return len(asked) < 5

    with pytest.raises(ArmError, match="was stopped on the way to its start"):
        arm.connect(go_on)
    double.wait(1.0)
    stands = double.joints
    assert np.abs(stands - before).max() > 1e-4
    double.wait(0.5)
    assert double.joints[:6] == pytest.approx(stands[:6], abs=1e-3)


def test_a_share_of_the_arms_limits_makes_it_slower(double: FrankaDouble, camera: BenchCamera, policy: Policy) -> None:
    """The same way of 12 cm: after 0.3 s of it a slow arm has hardly begun."""
    gone = []
    arm = FrankyArm(double.host, camera, policy.contract, dynamics=0.1, realtime=False, hand=False)
    for share in (0.1, 1.0):
        arm._dynamics = share
        arm.connect(lambda: True)
        x, y, z = gripper_at(arm.observe().joints)
        arm.command(Target((x, y + 0.12, z), 0.0), arm.clock.now() + 60.0)
        double.wait(0.3)
        gone.append(gripper_at(double.joints)[1] - y)
        arm.hold()
        double.wait(1.0)
    arm.close()
    assert gone[0] < 0.5 * gone[1]


def test_a_minute_of_a_policy_that_sees_where_the_arm_is(
    arm: FrankyArm, double: FrankaDouble, camera: BenchCamera, policy: Policy
) -> None:
    loop = Loop(policy, arm, Limiter.of(policy.contract, "fr3"), LoopSettings(steps=600, surprise_stop=False))
    report = loop.run_episode()
    assert (report.steps, report.stopped) == (600, None)
    double.wait(0.5)
    assert np.linalg.norm(np.subtract(gripper_at(double.joints), camera.goal)) < 0.08
    assert double.speed < 0.01


def test_a_camera_that_stalls_makes_it_stand(
    arm: FrankyArm, double: FrankaDouble, camera: BenchCamera, policy: Policy
) -> None:
    camera.stalled = True
    loop = Loop(policy, arm, Limiter.of(policy.contract, "fr3"), LoopSettings(steps=40))
    report = loop.run_episode()
    assert report.stopped is not None and report.stopped.startswith("frames: none could be acted on for 1 s")
    double.wait(0.5)
    assert double.speed < 0.01


DRIVE = """
import sys, time, numpy as np
sys.path.insert(0, sys.argv[1])
from twist_runtime import load
from twist_runtime.arm import Target
from twist_runtime.franky_arm import FrankyArm
from twist_runtime.kinematics import gripper_at
class Blind:
    def latest(self): return np.full((48, 48, 3), 9, np.uint8), time.monotonic()
    def close(self): pass
arm = FrankyArm(sys.argv[2], Blind(), load(sys.argv[1]).contract, dynamics=1.0, realtime=False, hand=False)
arm.connect(lambda: True)
x, y, z = gripper_at(arm.observe().joints)
for step in range(100):
    arm.command(Target((x, y - 0.1 + 0.03 * (step % 8), z), 0.0), arm.clock.now() + 0.15)
    print(step, flush=True)
    time.sleep(0.1)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hangs"])
def test_whatever_becomes_of_the_policys_process_the_arm_stands(
    double: FrankaDouble, made: Path, how: signal.Signals
) -> None:
    process = subprocess.Popen([sys.executable, "-c", DRIVE, str(made), double.host], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    while process.stdout.readline().strip() != "11":
        assert process.poll() is None
    process.send_signal(how)
    double.wait(PERIOD)
    commanded = double.commanded
    double.wait(1.0)
    assert double.commanded == pytest.approx(commanded, abs=1e-6)
    assert double.speed < 0.01
    process.kill()
    process.wait()


def test_with_its_motors_off_it_only_looks(double: FrankaDouble, camera: BenchCamera, policy: Policy) -> None:
    arm = FrankyArm(double.host, camera, policy.contract, dynamics=1.0, realtime=False, hand=False, motors=False)
    before = double.joints
    settings = LoopSettings(steps=10, dry=True, surprise_stop=False)
    report = Loop(policy, arm, Limiter.of(policy.contract, "fr3"), settings).run_episode()
    arm.close()
    assert report.steps == 10
    assert double.joints[:6] == pytest.approx(before[:6], abs=1e-3)


def test_a_cut_connection_is_an_error_of_the_arm(arm: FrankyArm, double: FrankaDouble) -> None:
    arm.connect(lambda: True)
    drive_away(arm, lambda: double.wait(PERIOD), 1)
    double.close()
    with pytest.raises(ArmError):
        drive_away(arm, lambda: time.sleep(PERIOD), 30)
    arm.hold()


def test_who_does_not_answer_is_one_line(made: Path, policy: Policy, camera: BenchCamera) -> None:
    with pytest.raises(ArmError, match="NetworkException: libfranka: .*") as error:
        FrankyArm("127.9.9.9", camera, policy.contract, dynamics=1.0, realtime=False, hand=False)
    assert "\n" not in str(error.value)
