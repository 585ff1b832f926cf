"""The Wilson interval, against numbers worked out by hand and published ones."""

import pytest

from deploy.runs.intervals import wilson


def test_half_of_ten_by_hand() -> None:
    # z² = 3.8415 and 1 + z²/n = 1.38415: centre (0.5 + 3.8415/20) / 1.38415 = 0.5,
    # half width 1.95996 / 1.38415 · sqrt(0.5 · 0.5 / 10 + 3.8415 / 400) = 0.2634
    assert wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=5e-5)


def test_all_of_hundred_keeps_a_width() -> None:
    # For p = 1 the lower bound is n / (n + z²) = 100 / 103.8415.
    assert wilson(100, 100) == (pytest.approx(0.96301, abs=5e-6), 1.0)


def test_none_is_the_mirror_image_of_all() -> None:
    low, high = wilson(0, 100)
    assert low == 0.0
    assert high == pytest.approx(1 - 0.96301, abs=5e-6)


def test_published_example() -> None:
    # Newcombe (1998), table I: 81 of 263 gives 0.2553 to 0.3662.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


@pytest.mark.parametrize(("successes", "episodes"), [(0, 0), (-1, 10), (11, 10)])
def test_impossible_counts_are_refused(successes: int, episodes: int) -> None:
    with pytest.raises(ValueError, match="not allowed"):
        wilson(successes, episodes)
