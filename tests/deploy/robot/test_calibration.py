"""Thresholds lie above what normal episodes have, and what they cost is counted in other episodes."""

from __future__ import annotations

import numpy as np
import pytest

from deploy.robot.calibration import IGNORED, MARGIN, agreement, calibrated, held
from deploy.robot.episodes import StudentEpisode
from deploy.robot.runtime.contract import Agreement
from deploy.robot.runtime.depth import disagreement

QUIET = np.array([9.0, 9.0, 9.0, 1.0, 1.2, 1.1, 0.9, 1.0], np.float32)


def test_what_counts_is_what_an_episode_held_for_three_steps_after_its_first() -> None:
    assert held(QUIET) == pytest.approx(1.0)
    assert held(np.array([0, 0, 0, 1, 5, 1, 5, 5, 5, 1], np.float32)) == 5.0
    assert held(np.array([0, 0, 0, 1, 9, 9, 1, 9], np.float32)) == 1.0
    assert held(np.array([9.0] * (IGNORED + 2), np.float32)) == 0.0


def test_false_stops_are_counted_in_other_episodes() -> None:
    loud = np.array([0, 0, 0, 2, 2, 2, 0, 0], np.float32)
    found = calibrated([QUIET] * 5, [QUIET] * 9 + [loud], rate_hz=8)
    assert found.threshold == pytest.approx(MARGIN * 1.0)
    assert found.false_stops_per_hour == pytest.approx(3600 / 10)
    assert calibrated([QUIET] * 5, [QUIET] * 10, rate_hz=8).false_stops_per_hour == 0.0


def episode(read: np.ndarray, measured: np.ndarray) -> StudentEpisode:
    return StudentEpisode({"state": read.astype(np.float32)}, measured, {}, (0.5, 0.0, 0.1), 0.0, True)


def test_a_camera_that_always_errs_alike_agrees() -> None:
    """A bias is learnt, and what is within the usual spread about it is none."""
    draw = np.random.default_rng(0)
    places = draw.uniform(-0.1, 0.1, (20, 30, 3))
    episodes = [episode(place + [0.02, 0.0, 0.0] + draw.normal(0, 0.01, place.shape), place) for place in places]
    found = agreement(episodes[:10], episodes[10:], [0, 1, 2], rate_hz=10)
    assert found.mean_m == pytest.approx((0.02, 0.0, 0.0), abs=0.002)
    assert found.deviation_m == pytest.approx((0.01,) * 3, rel=0.2)
    assert found.false_stops_per_hour == 0.0
    assert disagreement(found, (0.52, 0.0, 0.1), (0.5, 0.0, 0.1)) < 0.2
    assert disagreement(found, (0.50, 0.0, 0.2), (0.5, 0.0, 0.1)) > found.threshold


def test_disagreement_is_the_mean_square_of_what_is_unusual() -> None:
    terms = Agreement((0.0, 0.01, 0.0), (0.01, 0.02, 0.05), 1.0, 3, 0.0)
    assert disagreement(terms, (0.53, 0.07, 0.1), (0.5, 0.0, 0.1)) == pytest.approx((9 + 9 + 0) / 3)
