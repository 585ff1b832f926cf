"""What the Franka driver asks of franky, and what it refuses to: errors, shares of the limits, fingers.

With a double of the `franky` module that only notes what it is told. Over the arm's own protocol: test_franky_arm.py.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from deploy.robot.runtime import franky_arm
from deploy.robot.runtime.arm import ArmError, Target
from deploy.robot.runtime.contract import read_contract
from deploy.robot.runtime.franky_arm import START_SHARE, FrankyArm
from deploy.robot.runtime.kinematics import joints_at

HERE = (0.5, 0.0, 0.15)


class Franky:
    """The module, its one arm and its one hand."""

    RealtimeConfig = SimpleNamespace(Enforce="enforce", Ignore="ignore")

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.has_errors, self.moving, self.width, self.stuck = False, 3, 0.08, False
        self.state = SimpleNamespace(current_errors='["cartesian_reflex"]')
        self.current_joint_state = SimpleNamespace(position=joints_at(HERE), velocity=[0.0] * 7)

    def Robot(self, host: str, realtime_config: str) -> Franky:  # noqa: N802
        return self

    def Gripper(self, host: str) -> Franky:  # noqa: N802
        return self

    def JointMotion(  # noqa: N802
        self, joints: list[float], relative_dynamics_factor: float, return_when_finished: bool = True
    ) -> tuple[str, float]:
        assert np.isfinite(joints).all()
        return ("to", relative_dynamics_factor)

    def JointStopMotion(self) -> tuple[str, float]:  # noqa: N802
        return ("stop", 1.0)

    def recover_from_errors(self) -> bool:
        self.told.append("recover")
        self.has_errors = False
        return True

    def move(self, what: Any, speed: float = 0.0, asynchronous: bool = False) -> bool:
        if isinstance(what, float):
            return self.grasp(what, speed, 0.0, 0.0, 0.0)
        assert asynchronous
        self.told.append(what)
        return True

    def grasp(self, width: float, speed: float, force: float, inner: float, outer: float) -> bool:
        if not self.stuck:
            self.width = width
        return not self.stuck

    def stop(self) -> bool:
        return True

    def join_motion(self, timeout: float) -> bool:
        self.moving -= 1
        return self.moving <= 0


@pytest.fixture
def franky(monkeypatch: pytest.MonkeyPatch) -> Franky:
    double = Franky()
    monkeypatch.setitem(sys.modules, "franky", double)
    return double


@pytest.fixture
def connected(franky: Franky, made: Path) -> Iterator[Callable[..., FrankyArm]]:
    arms: list[FrankyArm] = []

    class Blind:
        def latest(self) -> tuple[np.ndarray, float]:
            return np.full((48, 48, 3), 9, np.uint8), time.monotonic()

        def close(self) -> None:
            franky.told.append("camera off")

    def make(**given: Any) -> FrankyArm:
        arms.append(FrankyArm("127.0.0.1", Blind(), read_contract(made), **{"dynamics": 0.3, **given}))
        return arms[-1]

    yield make
    for arm in arms:
        arm.close()


def test_an_error_that_was_there_before_is_said_and_stays(franky: Franky, connected: Callable[..., FrankyArm]) -> None:
    franky.has_errors = True
    arm = connected()
    with pytest.raises(ArmError, match=r'is in an error, \["cartesian_reflex"\]; look at it, then clear it in Franka'):
        arm.connect(lambda: True)
    assert franky.told == []
    cleared = connected(clear_error=True)
    cleared.connect(lambda: True)
    assert franky.told[0] == "recover"
    franky.has_errors = True
    with pytest.raises(ArmError, match="is in an error"):
        cleared.connect(lambda: True)


def test_it_moves_with_a_share_of_its_limits_and_stops_with_all_of_them(
    franky: Franky, connected: Callable[..., FrankyArm]
) -> None:
    arm = connected(dynamics=0.3)
    arm.connect(lambda: True)
    arm.command(Target(HERE, 0.0), arm.clock.now() + 60)
    arm.hold()
    assert franky.told == [("to", START_SHARE), ("to", 0.3), ("stop", 1.0)]


def test_a_deadline_that_passes_stops_it(franky: Franky, connected: Callable[..., FrankyArm]) -> None:
    arm = connected()
    arm.command(Target(HERE, 0.0), arm.clock.now() + 0.05)
    give_up = time.monotonic() + 20
    while franky.told[-1] != ("stop", 1.0):
        assert time.monotonic() < give_up
        time.sleep(0.002)


def test_whoever_watches_may_stop_it_before_it_is_at_its_start(
    franky: Franky, connected: Callable[..., FrankyArm]
) -> None:
    arm, franky.moving = connected(), 1000
    asked = iter([True, True, False])
    with pytest.raises(ArmError, match="was stopped on the way to its start"):
        arm.connect(lambda: next(asked))
    assert franky.told == [("to", START_SHARE), ("stop", 1.0)]


def test_the_fingers_are_as_when_episodes_began_and_are_measured(
    franky: Franky, connected: Callable[..., FrankyArm], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reach was trained with closed fingers; here they were open."""
    arm = connected()
    assert arm.observe().opening == 0.08
    arm.connect(lambda: True)
    assert arm.observe().opening == 0.0
    franky.width, franky.stuck = 0.05, True
    monkeypatch.setattr(franky_arm, "_HAND_S", 0.2)
    give_up = time.monotonic() + 20
    while arm.observe().opening != 0.05:
        assert time.monotonic() < give_up
    arm.hold()
    with pytest.raises(ArmError, match="its fingers are 50 mm apart; episodes begin with 0 mm"):
        arm.connect(lambda: True)


def test_without_motors_nothing_is_asked_of_it(franky: Franky, connected: Callable[..., FrankyArm]) -> None:
    arm = connected(motors=False)
    arm.connect(lambda: True)
    arm.hold()
    with pytest.raises(ArmError, match="its motors are off"):
        arm.command(Target(HERE, 0.0), arm.clock.now() + 1)
    assert (franky.told, arm.real, arm.observe().opening) == ([], False, 0.08)


def test_out_of_reach_is_an_error_of_the_arm_and_a_mistake_of_ours_is_not(
    franky: Franky, connected: Callable[..., FrankyArm]
) -> None:
    arm = connected()
    with pytest.raises(ArmError, match="is out of the arm's reach"):
        arm.command(Target((2.0, 0.0, 0.1), 0.0), arm.clock.now() + 60)
    del franky.current_joint_state
    with pytest.raises(AttributeError):
        arm.observe()
    franky.current_joint_state = SimpleNamespace(position=joints_at(HERE), velocity=[0.0] * 7)
