"""Franka's hand: who asks never waits, what is grasped stays so, and what goes wrong is an error of the arm.

With a double of franky's `Gripper`, which is where the real one would be: no hand has been driven.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from deploy.robot.runtime.arm import ArmError
from deploy.robot.runtime.franka_hand import FrankaHand


class Gripper:
    """Fingers that go where they are sent once a test lets them; a call blocks until then, or until a stop."""

    def __init__(self) -> None:
        self.at, self.thing = 0.08, 0.0
        self.told: list[tuple[str, float]] = []
        self.there, self.halted = threading.Event(), threading.Event()
        self.there.set()
        self.broken: Exception | None = None

    @property
    def width(self) -> float:
        return self.at

    def move(self, width: float, speed: float) -> bool:
        return self._close("move", width)

    def grasp(self, width: float, speed: float, force: float, inner: float, outer: float) -> bool:
        assert force > 0 and inner >= 0.08 and outer >= 0.08
        return self._close("grasp", width)

    def stop(self) -> bool:
        self.told.append(("stop", self.at))
        self.halted.set()
        return True

    def _close(self, how: str, width: float) -> bool:
        self.told.append((how, width))
        if self.broken is not None:
            raise self.broken
        self.halted.clear()
        while not self.there.wait(0.005):
            if self.halted.is_set():
                raise RuntimeError("libfranka gripper: Command aborted!")
        self.at = max(width, self.thing)
        return self.at == width


@pytest.fixture
def gripper() -> Gripper:
    return Gripper()


@pytest.fixture
def hand(gripper: Gripper) -> Iterator[FrankaHand]:
    hand = FrankaHand(gripper, motors=True)
    yield hand
    gripper.there.set()
    hand.close()


def until(what: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 20
    while not what():
        assert time.monotonic() < give_up
        time.sleep(0.002)


def test_it_goes_to_the_newest_width_and_skips_what_was_asked_for_meanwhile(hand: FrankaHand, gripper: Gripper) -> None:
    gripper.there.clear()
    hand.go(0.06)
    until(lambda: gripper.told == [("move", 0.06)])
    for width in (0.05, 0.04, 0.02):
        hand.go(width)
    gripper.there.set()
    until(lambda: abs(hand.width - 0.02) < 1e-9)
    assert gripper.told == [("move", 0.06), ("move", 0.02)]


def test_what_hardly_differs_is_no_new_width(hand: FrankaHand, gripper: Gripper) -> None:
    hand.go(0.04)
    until(lambda: hand.width == 0.04)
    for width in (0.041, 0.044, 0.037):
        hand.go(width)
    hand.go(0.06)
    until(lambda: hand.width == 0.06)
    assert gripper.told == [("move", 0.04), ("move", 0.06)]


def test_closing_is_grasping(hand: FrankaHand, gripper: Gripper) -> None:
    gripper.thing = 0.045
    hand.go(0.0)
    until(lambda: hand.width == 0.045)
    assert gripper.told == [("grasp", 0.0)]


def test_what_stops_the_fingers_on_their_way_is_grasped(hand: FrankaHand, gripper: Gripper) -> None:
    gripper.thing = 0.045
    hand.go(0.02)
    until(lambda: len(gripper.told) == 2)
    assert gripper.told == [("move", 0.02), ("grasp", 0.02)]


def test_a_stop_is_at_once_and_a_new_width_goes_on_from_there(hand: FrankaHand, gripper: Gripper) -> None:
    gripper.there.clear()
    hand.go(0.02)
    until(lambda: gripper.told == [("move", 0.02)])
    hand.stop()
    until(lambda: ("stop", 0.08) in gripper.told)
    until(lambda: not hand._moving)
    assert gripper.at == 0.08
    gripper.there.set()
    hand.go(0.02)
    until(lambda: hand.width == 0.02)
    hand.check()


def test_a_stop_does_not_let_go_of_what_is_held(hand: FrankaHand, gripper: Gripper) -> None:
    gripper.thing = 0.045
    hand.go(0.0)
    until(lambda: hand.width == 0.045 and not hand._moving)
    hand.stop()
    time.sleep(0.1)
    assert gripper.told == [("grasp", 0.0)]


def test_what_the_hand_cannot_do_is_an_error_of_the_arm(hand: FrankaHand, gripper: Gripper) -> None:
    gripper.broken = RuntimeError("libfranka gripper:\nconnection lost")
    hand.go(0.02)
    until(lambda: hand._fault is not None)
    with pytest.raises(ArmError, match="hand: RuntimeError: libfranka gripper: connection lost"):
        hand.check()
    with pytest.raises(ArmError):
        hand.go(0.04)
    hand.stop()


def test_closing_it_stops_the_fingers(gripper: Gripper) -> None:
    hand = FrankaHand(gripper, motors=True)
    gripper.there.clear()
    hand.go(0.02)
    until(lambda: gripper.told == [("move", 0.02)])
    hand.close()
    assert ("stop", 0.08) in gripper.told
    assert not any(thread.is_alive() for thread in hand._threads)


def test_without_motors_it_only_measures(gripper: Gripper) -> None:
    hand = FrankaHand(gripper, motors=False)
    gripper.at = 0.03
    until(lambda: hand.width == 0.03)
    hand.stop()
    hand.close()
    assert gripper.told == []
