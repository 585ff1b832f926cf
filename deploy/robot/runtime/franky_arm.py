"""A Franka FR3 over its own protocol, by franky: the driver `franky`. Nothing else imports it.

The policy's targets become joint targets, with the one posture that a place has in training (`kinematics`). Each is an
asynchronous motion that franky's 1 kHz loop plans with a share of the arm's limits and that ends standing; the next one
takes over on the way. So whatever happens to the policy, its process or its host, the arm comes to stand: at the last
target at the latest. A thread of this driver holds the arm before that, with all of the arm's limits, when a command's
deadline passes.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from typing import Any

from .arm import ArmError, Observation, SystemClock, Target
from .cameras import Camera
from .contract import Contract
from .franka_hand import TOLERANCE_M, FrankaHand
from .kinematics import gripper_at, gripper_velocity, joints_at
from .refusals import UsageError

START_SHARE = 0.1
"""Of the arm's limits with which it goes to its start, and takes single steps."""

_WATCH_S = 0.005
_ASK_S = 0.02
_HAND_S = 5.0
"""For the fingers to be as they were when episodes began."""


class FrankyArm:
    """Implements `arm.Robot`."""

    def __init__(
        self,
        host: str,
        camera: Camera,
        contract: Contract,
        *,
        dynamics: float,
        motors: bool = True,
        realtime: bool = True,
        hand: bool = True,
        clear_error: bool = False,
    ) -> None:
        """Connects; nothing moves yet.

        Args:
            host: the robot's address.
            camera: that is on.
            contract: says where episodes start.
            dynamics: share of the arm's velocity, acceleration and jerk limits.
            motors: whether anything may move; if not, it stays where it stands.
            realtime: whether a kernel without real time is refused.
            hand: whether Franka's hand is on it; if not, the fingers are taken to be as when episodes began.
            clear_error: whether an error in which the arm stands is cleared before it first moves.

        Raises:
            UsageError: franky is not installed.
            ArmError: the robot cannot be reached.
        """
        try:
            import franky
        except ImportError as error:
            raise UsageError("--robot franky needs franky: pip install franky-control") from error
        self._franky: Any = franky
        self._camera, self._terms, self._dynamics = camera, contract.action, dynamics
        self.clock = SystemClock()
        self.about: Mapping[str, Any] = {"robot": "franky", "host": host, "dynamics": dynamics, "hand": hand}
        self.real = motors
        self._clear_error = clear_error
        self._lock = threading.Lock()
        self._deadline: float | None = None
        self._told: Target | None = None
        self._fault: str | None = None
        self._closed = False
        config = franky.RealtimeConfig.Enforce if realtime else franky.RealtimeConfig.Ignore
        self._arm: Any = self._asked(lambda: franky.Robot(host, realtime_config=config))
        self._hand = FrankaHand(self._asked(lambda: franky.Gripper(host)), motors=motors) if hand else None
        self._watcher = threading.Thread(target=self._watch, name="franky-watchdog", daemon=True)
        self._watcher.start()

    def connect(self, go_on: Callable[[], bool]) -> None:
        """See `arm.Robot.connect`: slowly to the middle of where episodes began in training."""
        if not self.real:
            return
        terms = self._terms
        x, y, z = ((a + b) / 2 for a, b in zip(terms.start_low_m, terms.start_high_m, strict=True))
        with self._lock:
            self._deadline = None
            self._require_no_error()
            self._go(self._franky.JointMotion(list(joints_at((x, y, z))), relative_dynamics_factor=START_SHARE))
        if self._hand is not None:
            self._hand.go(terms.start_opening_m)
        self._wait(lambda: bool(self._asked(lambda: self._arm.join_motion(timeout=_ASK_S))), go_on)
        self._wait_for_fingers(go_on)

    def observe(self) -> Observation:
        """See `arm.Robot.observe`."""
        if self._fault is not None:
            raise ArmError(self._fault)
        if self._hand is not None:
            self._hand.check()
        image, stamp = self._camera.latest()
        state = self._asked(lambda: self._arm.current_joint_state)
        measured = self.clock.now()
        joints = tuple(float(angle) for angle in state.position)
        opening = self._hand.width if self._hand is not None else self._terms.start_opening_m
        velocity = gripper_velocity(joints, [float(speed) for speed in state.velocity])
        told = self._told or Target(gripper_at(joints), opening)
        return Observation(image, stamp, joints, measured, opening, velocity, told)

    def command(self, target: Target, deadline: float) -> None:
        """See `arm.Robot.command`."""
        if not self.real:
            raise ArmError("its motors are off")
        try:
            joints = list(joints_at(target.position))
        except ValueError as error:
            raise ArmError(str(error)) from error
        with self._lock:
            if self._fault is not None:
                raise ArmError(self._fault)
            share = self._dynamics
            self._go(self._franky.JointMotion(joints, relative_dynamics_factor=share, return_when_finished=False))
            self._deadline, self._told = deadline, target
        if self._hand is not None:
            self._hand.go(target.opening)

    def hold(self) -> None:
        """See `arm.Robot.hold`."""
        with self._lock:
            self._deadline = None
            self._hold()

    def close(self) -> None:
        """See `arm.Robot.close`."""
        self._closed = True
        self._watcher.join(1.0)
        self.hold()
        if self._hand is not None:
            self._hand.close()
        with contextlib.suppress(Exception):  # what it was stopped by was said; it is let go of all the same
            self._arm.join_motion(timeout=1.0)
        self._camera.close()

    def _go(self, motion: Any) -> None:
        """Begins a motion. Its share of the arm's limits is its own, so that to hold there are all of them."""
        self._asked(lambda: self._arm.move(motion, asynchronous=True))

    def _require_no_error(self) -> None:
        """An error that stands may be somebody's hand in the way: nobody but a person clears it.

        Raises:
            ArmError: the arm has one.
        """
        if not self._asked(lambda: self._arm.has_errors):
            return
        if not self._clear_error:
            errors = self._asked(lambda: self._arm.state).current_errors
            raise ArmError(f"is in an error, {errors}; look at it, then clear it in Franka Desk or by --clear-error")
        self._clear_error = False
        if not self._asked(self._arm.recover_from_errors):
            raise ArmError("stands in an error that could not be cleared")

    def _wait_for_fingers(self, go_on: Callable[[], bool]) -> None:
        hand, opening = self._hand, self._terms.start_opening_m
        if hand is None:
            return
        give_up = self.clock.now() + _HAND_S

        def there() -> bool:
            hand.check()
            if self.clock.now() > give_up:
                raise ArmError(
                    f"its fingers are {1e3 * hand.width:.0f} mm apart; episodes begin with {1e3 * opening:.0f} mm"
                )
            self.clock.wait_until(self.clock.now() + _ASK_S)
            return abs(hand.width - opening) <= TOLERANCE_M

        self._wait(there, go_on)

    def _wait(self, there: Callable[[], bool], go_on: Callable[[], bool]) -> None:
        while not there():
            if not go_on():
                self.hold()
                raise ArmError("was stopped on the way to its start")

    def _hold(self) -> None:
        self._told = None
        if not self.real:
            return
        if self._hand is not None:
            self._hand.stop()
        try:
            self._arm.move(self._franky.JointStopMotion(), asynchronous=True)
        except Exception as error:  # there is nothing left to hold with; the arm's own controller stops it
            self._fault = self._fault or f"the arm could not be told to hold: {error}"

    def _watch(self) -> None:
        """Holds the arm when a deadline has passed."""
        while not self._closed:
            with self._lock:
                if self._deadline is not None and self.clock.now() > self._deadline:
                    self._deadline = None
                    self._hold()
            self.clock.wait_until(self.clock.now() + _WATCH_S)

    def _asked(self, call: Callable[[], Any]) -> Any:
        """What franky says.

        Raises:
            ArmError: it says that it cannot.
        """
        try:
            return call()
        except (TypeError, AttributeError):  # we asked for what there is not
            raise
        except Exception as error:  # libfranka's kinds of errors have no common base in Python
            self._fault = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise ArmError(self._fault) from error
