"""The arm's own way: lag, speed and acceleration, whatever it is commanded."""

import itertools
import math
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from sim.actuator import HAND_SPEED_M_PER_S, JOINT_ACCELERATIONS, JOINT_SPEEDS, Actuator, ActuatorLimits
from sim.engine import Vector
from sim.kinematics import Posture, inverse_kinematics
from sim.tasks import TASKS

PERIOD_S = 1 / 120
FASTEST = ActuatorLimits(0.02, 1.0, 1.0)
SLOWEST = ActuatorLimits(0.15, 0.6, 0.5)
WORKSPACE = TASKS["lift"].workspace
# Beyond the box of commands: at full speed along all axes at once the joints cannot do everything in time.
ROOM_M = {"random": (0.005, 0.005, 0.005), "bang-bang": (0.02, 0.01, 0.01), "jumps": (0.03, 0.01, 0.02)}


def arm(limits: ActuatorLimits = FASTEST, start: Vector = (0.5, 0.0, 0.1), opening: float = 0.0) -> Actuator:
    actuator = Actuator()
    actuator.limits = limits
    actuator.place(start, opening)
    return actuator


def position(actuator: Actuator) -> Vector:
    joints = actuator.joints
    return Posture((joints[0], joints[1], joints[3])).position


def commands(kind: str, rng: np.random.Generator, steps: int) -> Iterator[Vector]:
    """The positions that actions lead to, one each physics step: random ones, full ones that turn round, or jumps."""
    low, high = np.array(WORKSPACE.low), np.array(WORKSPACE.high)
    at = rng.uniform(low, high)
    held = int(rng.integers(1, 8))
    action = np.zeros(3)
    for step in range(steps):
        if kind == "random":
            action = rng.uniform(-1, 1, 3)
        elif step % held == 0:
            action = rng.choice([-1.0, 1.0], 3)
        before, at = at, np.clip(at + 0.06 * action, low, high)
        if kind == "jumps":
            at = np.where(rng.uniform(size=3) < 0.5, low, high) if step % held == 0 else before
        for share in np.linspace(0, 1, 13)[1:]:
            x, y, z = at if kind == "jumps" else before + share * (at - before)
            yield (float(x), float(y), float(z))


def followed(actuator: Actuator, way: list[Vector]) -> NDArray[np.float64]:
    """The joints before the first command, twice as the arm is at rest, and after each, [T + 2, 7]."""
    rows = [actuator.joints] * 2
    for command in way:
        actuator.follow(command, 0.0, PERIOD_S)
        rows.append(actuator.joints)
    return np.array(rows)


def test_a_posture_is_where_inverse_kinematics_wants_the_gripper_and_its_rows_move_it() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        x, y, z = rng.uniform(WORKSPACE.low, WORKSPACE.high)
        joints = inverse_kinematics((x, y, z))
        free = np.array([joints[0], joints[1], joints[3]])
        posture = Posture(tuple(free))
        assert posture.position == pytest.approx((x, y, z))
        velocity = rng.normal(size=3)
        rates = np.array([posture.turn, posture.shoulder, posture.elbow]) @ velocity
        assert posture.velocity(tuple(rates)) == pytest.approx(velocity)
        moved = Posture(tuple(free + 1e-6 * rates)).position
        assert np.subtract(moved, (x, y, z)) / 1e-6 == pytest.approx(velocity, abs=1e-4)


@pytest.mark.parametrize("kind", ["random", "bang-bang", "jumps"])
@pytest.mark.parametrize("limits", [FASTEST, SLOWEST, ActuatorLimits(0.02, 0.6, 0.5), ActuatorLimits(0.15, 1.0, 1.0)])
def test_no_joint_is_ever_beyond_its_limits_and_the_gripper_stays_where_it_may_be(
    kind: str, limits: ActuatorLimits
) -> None:
    rng = np.random.default_rng(1)
    for _ in range(3):
        way = list(commands(kind, rng, 60))
        joints = followed(arm(limits, way[0]), way)
        speeds = np.diff(joints, axis=0) / PERIOD_S
        accelerations = np.diff(speeds, axis=0) / PERIOD_S
        assert (abs(speeds) <= np.multiply(limits.speed_share, JOINT_SPEEDS) + 1e-9).all()
        assert (abs(accelerations) <= np.multiply(limits.acceleration_share, JOINT_ACCELERATIONS) + 1e-6).all()
        positions = np.array([Posture((row[0], row[1], row[3])).position for row in joints])
        assert (positions > np.array(WORKSPACE.low) - ROOM_M[kind]).all(), "over the table, for one"
        assert (positions < np.array(WORKSPACE.high) + ROOM_M[kind]).all()


@pytest.mark.parametrize("limits", [FASTEST, SLOWEST])
def test_the_arm_is_as_fast_as_its_limits_let_it(limits: ActuatorLimits) -> None:
    joints = followed(arm(limits, (0.4, -0.15, 0.1)), [(0.6, 0.15, 0.1)] * 240)
    speeds = np.diff(joints, axis=0) / PERIOD_S
    accelerations = np.diff(speeds, axis=0) / PERIOD_S
    assert (abs(speeds) / JOINT_SPEEDS).max() > 0.6 * limits.speed_share
    assert (abs(accelerations) / JOINT_ACCELERATIONS).max() > 0.95 * limits.acceleration_share


@pytest.mark.parametrize("limits", [FASTEST, SLOWEST])
def test_every_corner_is_reached_and_hardly_overshot(limits: ActuatorLimits) -> None:
    corners = list(itertools.product(*zip(WORKSPACE.low, WORKSPACE.high, strict=True)))
    for start, end in itertools.permutations(corners, 2):
        actuator = arm(limits, start)
        over = 0.0
        ahead = np.subtract(end, start) / math.dist(start, end)
        for _ in range(300):
            actuator.follow(end, 0.0, PERIOD_S)
            over = max(over, float(np.subtract(position(actuator), end) @ ahead))
        assert math.dist(position(actuator), end) < 1e-3
        assert over < 0.03 * math.dist(start, end), "from full speed, with the joints' brakes"


def test_a_gripper_sent_along_the_table_stays_at_its_height() -> None:
    for limits in (FASTEST, SLOWEST):
        actuator = arm(limits, (0.38, -0.15, 0.03))
        heights = []
        rng = np.random.default_rng(2)
        for _ in range(30):
            x, y = rng.uniform((0.36, -0.16), (0.64, 0.16))
            for _ in range(40):
                actuator.follow((float(x), float(y), 0.03), 0.0, PERIOD_S)
                heights.append(position(actuator)[2])
        assert max(heights) - min(heights) < 0.006


@pytest.mark.parametrize("lag_s", [0.03, 0.08, 0.15])
def test_a_moving_command_is_trailed_by_the_lag(lag_s: float) -> None:
    actuator = arm(ActuatorLimits(lag_s), (0.5, -0.12, 0.1))
    speed = 0.15
    for step in range(1, 181):
        actuator.follow((0.5, -0.12 + speed * step * PERIOD_S, 0.1), 0.0, PERIOD_S)
    behind = -0.12 + speed * 180 * PERIOD_S - position(actuator)[1]
    assert behind / speed == pytest.approx(lag_s, abs=0.01)


def test_the_fingers_take_their_time() -> None:
    actuator = arm(opening=0.08)
    openings = [0.08]
    for _ in range(120):
        actuator.follow((0.5, 0.0, 0.1), 0.0, PERIOD_S)
        openings.append(actuator.opening)
    assert np.diff(openings).min() >= -HAND_SPEED_M_PER_S * PERIOD_S - 1e-9
    assert openings[60] == pytest.approx(0.08 - 0.5 * HAND_SPEED_M_PER_S, abs=0.002)
    assert openings[-1] == pytest.approx(0.0, abs=1e-3)


def test_fingers_that_something_keeps_apart_open_from_there() -> None:
    actuator = arm(opening=0.05)
    for _ in range(60):
        actuator.follow((0.5, 0.0, 0.1), 0.0, PERIOD_S)
    assert actuator.opening < 0.01
    actuator.fingers_are_at(0.05)
    for _ in range(24):
        actuator.follow((0.5, 0.0, 0.1), 0.08, PERIOD_S)
    assert actuator.opening > 0.06
