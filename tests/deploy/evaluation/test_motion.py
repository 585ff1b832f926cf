"""Figures of motion, of made-up episodes whose flips and swings are known."""

from collections.abc import Sequence

import numpy as np
import pytest

from deploy.evaluation.motion import EpisodeMotion, motion_figures
from sim.motion import MotionReading


def episode(
    ways: Sequence[float],
    *,
    actions: Sequence[float] | None = None,
    solved: Sequence[bool] | None = None,
    speed: float = 0.5,
    acceleration: float = 0.5,
    contacts: Sequence[float | None] | None = None,
) -> EpisodeMotion:
    """An episode in which the gripper is at these places along y."""
    count = len(ways)
    motion = EpisodeMotion()
    for step, y in enumerate(ways):
        reading: MotionReading = {
            "joint_speed": speed,
            "joint_acceleration": acceleration,
            "contact_m_per_s": contacts[step] if contacts else None,
            "gripper_m": (0.5, y, 0.1),
        }
        action = np.array([0.9, (actions or [0.0] * count)[step]], np.float32)
        motion.add(action, reading, (solved or [True] * count)[step])
    return motion


def test_a_gripper_that_rests_swings_by_nothing_and_neither_does_one_that_goes_somewhere() -> None:
    assert motion_figures([episode([0.1] * 12)]).swing_m == 0.0
    assert motion_figures([episode([0.01 * step for step in range(12)])]).swing_m == pytest.approx(0.0)


def test_to_and_fro_is_a_swing_of_its_extent() -> None:
    assert motion_figures([episode([0.0, 0.02] * 6)]).swing_m == pytest.approx(0.02)
    assert motion_figures([episode([0.0, 0.01, 0.02, 0.01, 0.0] * 4)]).swing_m == pytest.approx(0.02)


def test_what_happens_away_from_the_goal_is_no_swing_and_no_flip() -> None:
    solved = [False] * 8 + [True] * 12
    ways, actions = [0.0, 0.05] * 4 + [0.0] * 12, [1.0, -1.0] * 4 + [0.0] * 12
    found = motion_figures([episode(ways, actions=actions, solved=solved)])
    assert found.swing_m == 0.0
    assert found.flips == 0.0
    nowhere = motion_figures([episode(ways, actions=actions, solved=[False] * 20)])
    assert nowhere.swing_m is None
    assert nowhere.flips is None


def test_who_has_just_arrived_brakes() -> None:
    """Five steps after it was solved for the first time what is to and fro is a swing."""
    solved = [False] * 2 + [True] * 10
    assert motion_figures([episode([0.0, 0.0, 0.0, 0.02] + [0.0] * 8, solved=solved)]).swing_m == 0.0
    late = [0.0] * 8 + [0.02] + [0.0] * 3
    assert motion_figures([episode(late, solved=solved)]).swing_m == pytest.approx(0.02)
    assert motion_figures([episode([0.0, 0.02] * 6, solved=[False] * 3 + [True] * 9)]).swing_m is None


def test_a_flip_is_a_change_of_sign_above_a_fifth_on_both_sides() -> None:
    flips = [
        motion_figures([episode([0.0] * 3, actions=actions)]).flips
        for actions in ([0.5, -0.5, 0.5], [0.5, -0.1, 0.5], [0.5, 0.5, 0.5], [0.5, 0.5, -0.5], [0.19, -0.19, 0.19])
    ]
    assert flips == [1.0, 0.0, 0.0, 0.5, 0.0]


def test_shares_of_steps_beyond_limits_are_over_all_steps() -> None:
    within, beyond = episode([0.0] * 6, speed=1.0), episode([0.0] * 2, speed=1.2, acceleration=3.0)
    found = motion_figures([within, beyond])
    assert found.beyond_joint_speed == 0.25
    assert found.beyond_joint_acceleration == 0.25


def test_contact_speed_is_of_those_contacts_that_there_are() -> None:
    assert motion_figures([episode([0.0] * 3)]).contact_m_per_s is None
    assert motion_figures([episode([0.0] * 3, contacts=[None, 0.4, None])]).contact_m_per_s == pytest.approx(0.4)
