"""A target is changed as little as it must be, and the reason is said."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deploy.robot.runtime.arm import Target
from deploy.robot.runtime.contract import read_contract
from deploy.robot.runtime.kinematics import joints_at
from deploy.robot.runtime.limits import FR3, Limiter

LOW, HIGH = (0.35, -0.18, 0.03), (0.65, 0.18, 0.30)
START = Target((0.5, 0.0, 0.1), 0.04)
PERIOD = 0.1


def limiter(**changed: object) -> Limiter:
    return Limiter(replace(FR3, **changed), LOW, HIGH, PERIOD)  # type: ignore[arg-type]


def moved(before: Target, after: Target) -> float:
    return math.dist(before.position, after.position)


def test_what_is_within_all_limits_is_left_alone() -> None:
    wanted = Target((0.53, -0.02, 0.12), 0.08)
    found, reasons = limiter().limit(START, wanted)
    assert (found.position, found.opening, reasons) == (pytest.approx(wanted.position), 0.08, [])


def test_the_workspace() -> None:
    found, reasons = limiter(acceleration=1e3).limit(START, Target((0.5, 0.0, -0.2), 0.04))
    assert found.position == pytest.approx((0.5, 0.0, 0.03))
    assert reasons == ["workspace: (0.500, 0.000, -0.200) m is outside"]


def test_the_velocity_keeps_the_direction() -> None:
    found, reasons = limiter(speed=0.5, acceleration=1e3).limit(START, Target((0.5, 0.09, 0.22), 0.04))
    assert moved(START, found) == pytest.approx(0.5 * PERIOD)
    assert found.position == pytest.approx((0.5, 0.03, 0.14))
    assert reasons == ["velocity: 1.50 m/s is above 0.5"]


def test_the_acceleration_counts_from_how_fast_it_went() -> None:
    limits = limiter(acceleration=2.0)  # 2 cm more or less per step
    first, reasons = limits.limit(START, Target((0.5, 0.05, 0.1), 0.04))
    assert moved(START, first) == pytest.approx(0.02)
    assert reasons == ["acceleration: 5.0 m/s2 is above 2"]
    second, _ = limits.limit(first, Target((0.5, 0.15, 0.1), 0.04))
    assert moved(first, second) == pytest.approx(0.04)
    third, reasons = limits.limit(second, second)
    assert moved(second, third) == pytest.approx(0.02)
    assert reasons == ["acceleration: 4.0 m/s2 is above 2"]
    limits.reset()
    assert limits.limit(third, third) == (third, [])


def test_an_arm_that_moves_with_a_share_of_its_limits_has_targets_that_it_can_follow(made: Path) -> None:
    limits = Limiter.of(read_contract(made), "fr3", 0.1)
    found, reasons = limits.limit(START, Target((0.5, 0.06, 0.1), 0.04))
    turned = np.abs(np.subtract(joints_at(found.position), joints_at(START.position)))
    assert reasons and (turned <= 0.1 * np.array(FR3.joint_speed) * PERIOD + 1e-6).all()
    assert 0 < moved(START, found) <= 0.1 * FR3.acceleration * PERIOD**2 + 1e-9


def test_what_brakes_too_slowly_stays_in_the_workspace() -> None:
    limits, at = limiter(acceleration=2.0), START
    for _ in range(30):
        at, _ = limits.limit(at, Target((0.5, 0.18, 0.1), 0.04))
        assert at.position[1] <= 0.18


def test_a_joints_range_and_speed() -> None:
    joints = joints_at(START.position)
    slow = limiter(joint_speed=(0.1,) * 7)
    found, reasons = slow.limit(START, Target((0.5, 0.05, 0.1), 0.04))
    turned = np.abs(np.subtract(joints_at(found.position), joints))
    assert turned.max() == pytest.approx(0.1 * PERIOD, rel=1e-2)
    assert reasons[0].startswith("joint 1: ")
    narrow = limiter(joints_low=(joints[0] - 0.02, *FR3.joints_low[1:]))
    found, reasons = narrow.limit(START, Target((0.5, -0.05, 0.1), 0.04))
    assert joints_at(found.position)[0] == pytest.approx(joints[0] - 0.02, abs=1e-3)
    assert "joint 1" in reasons[0] and "is outside" in reasons[0]


def test_out_of_reach() -> None:
    far = Limiter(FR3, (0.0, -2.0, 0.0), (2.0, 2.0, 1.0), PERIOD)
    at = START
    for _ in range(40):
        at, reasons = far.limit(at, Target((1.9, 0.0, 0.1), 0.04))
    assert reasons
    joints_at(at.position)


def test_the_fingers() -> None:
    found, reasons = limiter().limit(START, replace(START, opening=0.2))
    assert (found.opening, reasons) == (0.08, ["opening: 0.200 m is not within 0 to 0.08"])


def test_no_target_ever_breaks_a_limit() -> None:
    """But that acceleration gives way to the workspace's edge and to the joints: there it brakes as it must."""
    limits, at, draw, before, inside = limiter(), START, np.random.default_rng(1), np.zeros(3), 0
    for _ in range(300):
        x, y, z = (np.array(at.position) + draw.normal(0.0, 0.15, 3)).tolist()
        after, reasons = limits.limit(at, Target((x, y, z), 0.04))
        step = np.subtract(after.position, at.position)
        assert np.linalg.norm(step) / PERIOD <= FR3.speed + 1e-9
        assert all(low - 1e-9 <= p <= high + 1e-9 for p, low, high in zip(after.position, LOW, HIGH, strict=True))
        joints = np.array(joints_at(after.position))
        assert (np.abs(joints - joints_at(at.position)) / PERIOD <= np.array(FR3.joint_speed) + 1e-6).all()
        assert (joints >= np.array(FR3.joints_low) - 1e-6).all() and (joints <= np.array(FR3.joints_high) + 1e-6).all()
        edge = any(p < low + 1e-6 or p > high - 1e-6 for p, low, high in zip(after.position, LOW, HIGH, strict=True))
        if not edge and not any(reason.startswith(("joint", "reach")) for reason in reasons):
            inside += 1
            assert np.linalg.norm(step - before) / PERIOD**2 <= FR3.acceleration + 1e-6
        at, before = after, step
    assert inside > 20


@pytest.mark.parametrize("wanted", [Target((math.nan, 0.0, 0.1), 0.04), Target((0.5, 0.0, 0.1), math.inf)])
def test_what_is_no_number_moves_nothing(wanted: Target) -> None:
    found, reasons = limiter().limit(START, wanted)
    assert found == START
    assert len(reasons) == 1 and reasons[0].startswith("target: ") and reasons[0].endswith(" is not finite")
