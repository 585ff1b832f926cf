"""A Franka FR3 over its own protocol, by franky: the driver `franky`. Nothing else imports it.

The policy's targets become joint targets, with the one posture that a place has in training (`kinematics`). Each is an
asynchronous motion that franky's 1 kHz loop plans with the arm's limits and that ends standing; the next one takes over
on the way. So whatever happens to the policy, its process or its host, the arm comes to stand: at the last target at
the latest. A thread of this driver holds the arm before that, when a command's deadline passes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from .arm import ArmError, Observation, SystemClock, Target
from .cameras import Camera
from .contract import Contract
from .kinematics import joints_at
from .refusals import UsageError

_WATCH_S = 0.005
_START_FACTOR = 0.1
"""Share of the arm's limits with which it goes to its start."""


class FrankyArm:
    """Implements `arm.Robot`."""

    def __init__(
        self,
        host: str,
        camera: Camera,
        contract: Contract,
        *,
        dynamics: float = 1.0,
        motors: bool = True,
        realtime: bool = True,
        gripper: bool | None = None,
    ) -> None:
        """Connects; nothing moves yet.

        Args:
            host: the robot's address.
            camera: that is on.
            contract: says where episodes start.
            dynamics: share of the arm's velocity, acceleration and jerk limits.
            motors: whether anything may move; if not, it stays where it stands.
            realtime: whether a kernel without real time is refused.
            gripper: whether Franka's hand is used; None: if the policy opens and closes it.

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
        self.about: Mapping[str, Any] = {"robot": "franky", "host": host}
        self._motors = motors
        config = franky.RealtimeConfig.Enforce if realtime else franky.RealtimeConfig.Ignore
        self._arm: Any = self._asked(lambda: franky.Robot(host, realtime_config=config))
        opens = any(entry.name == "opening" for entry in contract.action.entries)
        self._gripper: Any = franky.Gripper(host) if (opens if gripper is None else gripper) else None
        self._opening = contract.action.start_opening_m
        self._lock = threading.Lock()
        self._deadline: float | None = None
        self._fault: str | None = None
        self._closed = False
        self._watcher = threading.Thread(target=self._watch, name="franky-watchdog", daemon=True)
        self._watcher.start()

    def connect(self) -> None:
        """See `arm.Robot.connect`: slowly to the middle of where episodes began in training."""
        if not self._motors:
            return
        terms = self._terms
        x, y, z = ((a + b) / 2 for a, b in zip(terms.start_low_m, terms.start_high_m, strict=True))
        with self._lock:
            self._deadline, self._fault = None, None
            self._asked(self._arm.recover_from_errors)
            self._arm.relative_dynamics_factor = _START_FACTOR
            self._asked(lambda: self._arm.move(self._franky.JointMotion(list(joints_at((x, y, z))))))
            self._arm.relative_dynamics_factor = self._dynamics
        if self._gripper is not None:
            self._asked(lambda: self._gripper.move(terms.start_opening_m, 0.1))
        self._opening = terms.start_opening_m

    def observe(self) -> Observation:
        """See `arm.Robot.observe`."""
        if self._fault is not None:
            raise ArmError(self._fault)
        image, stamp = self._camera.latest()
        state = self._asked(lambda: self._arm.current_joint_state)
        measured = self.clock.now()
        joints = tuple(float(angle) for angle in state.position)
        return Observation(image, stamp, joints, measured, self._opening)

    def command(self, target: Target, deadline: float) -> None:
        """See `arm.Robot.command`."""
        if not self._motors:
            raise ArmError("its motors are off")
        joints = list(joints_at(target.position))
        with self._lock:
            if self._fault is not None:
                raise ArmError(self._fault)
            motion = self._franky.JointMotion(joints, return_when_finished=False)
            self._asked(lambda: self._arm.move(motion, asynchronous=True))
            self._deadline = deadline
        if self._gripper is not None and abs(target.opening - self._opening) > 0.005:
            self._gripper.move_async(target.opening, 0.1)
            self._opening = target.opening

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
        try:
            self._arm.join_motion(timeout=1.0)
        except Exception as error:  # what it was stopped by was said already, or is said here
            self._fault = self._fault or str(error)
        self._camera.close()

    def _hold(self) -> None:
        if not self._motors:
            return
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
        except Exception as error:  # libfranka's kinds of errors have no common base in Python
            self._fault = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise ArmError(self._fault) from error
