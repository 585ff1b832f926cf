"""What a sensor does to a picture: each flaw by itself, against numbers worked out by hand or another's program."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from sim.photographs import photographs
from sim.raster.exposure import Exposure
from sim.sensor import Sensor

RNG = np.random.default_rng(0)


def edge(height: int = 32, width: int = 32) -> NDArray[np.uint8]:
    """Black on the left, light grey on the right."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[:, width // 2 :] = 200
    return picture


def exposed(picture: NDArray[np.uint8], **flaws: float) -> NDArray[np.int64]:
    exposure = Exposure(*picture.shape[:2])
    return exposure.expose(picture, Sensor(**flaws), np.random.default_rng(1)).astype(np.int64)


def grey(level: int) -> NDArray[np.uint8]:
    return np.full((32, 48, 3), level, np.uint8)


def test_without_flaws_a_picture_is_itself() -> None:
    picture = edge()
    assert Exposure(32, 32).expose(picture, Sensor(), RNG) is picture


def test_blur_of_focus_softens_an_edge_and_keeps_the_mean() -> None:
    picture = exposed(edge(), blur_px=1.0)
    columns = picture[16, :, 0]
    assert (columns[:13] == 0).all()
    assert (columns[19:] == 200).all()
    assert (np.diff(columns) >= 0).all()
    assert columns.mean() == pytest.approx(100, abs=1)


def test_blur_of_motion_softens_across_its_direction_alone() -> None:
    across, along = (exposed(edge(), motion_px=4.0, motion_deg=angle) for angle in (0.0, 90.0))
    assert np.array_equal(along, edge())
    assert ((across > 0) & (across < 200)).any(axis=(0, 2)).sum() == pytest.approx(4, abs=1)


def test_a_stop_more_is_twice_the_light() -> None:
    assert (exposed(grey(80), exposure_stops=1.0) == round(80 * 2**0.5)).all()
    assert (exposed(grey(80), exposure_stops=-2.0) == 40).all()
    assert (exposed(grey(200), exposure_stops=3.0) == 255).all(), "what is too light is white"


def test_white_balance_changes_red_and_blue_light() -> None:
    found = exposed(grey(100), red_gain=1.44, blue_gain=0.64)
    assert found[3, 3].tolist() == [120, 100, 80]


def test_gamma_is_a_power_of_what_a_screen_is_told() -> None:
    for level in (10, 100, 200):
        expected = 255 * (level / 255) ** 1.5
        assert exposed(grey(level), gamma=1.5) == pytest.approx(expected, abs=0.8)


def test_colourfulness_keeps_the_brightness() -> None:
    picture = np.zeros((32, 48, 3), np.uint8)
    picture[...] = (200, 100, 50)
    none = exposed(picture, saturation=0.0)
    assert (none == round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)).all()
    more = exposed(picture, saturation=1.2)[0, 0]
    assert more[0] > 200
    assert more[2] < 50


def test_a_vignette_takes_its_share_of_light_from_the_corners() -> None:
    found = exposed(grey(200), vignette=0.36)[..., 0]
    assert found[16, 24] == 200
    assert found[0, 0] == pytest.approx(200 * 0.8, abs=3)


def test_noise_has_its_deviation_and_no_mean() -> None:
    noise = exposed(grey(120), noise_levels=6.0) - 120
    assert noise.std() == pytest.approx(6, rel=0.05)
    assert abs(noise.mean()) < 0.5


@pytest.mark.parametrize("quality", [30.0, 60.0, 90.0])
@pytest.mark.parametrize("size", [(64, 64), (50, 75)])
def test_compression_is_what_libjpeg_does(quality: float, size: tuple[int, int]) -> None:
    picture = photographs()["photograph_astronaut"][20 : 20 + size[0], 10 : 10 + size[1]].copy()
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=int(quality))
    theirs = np.asarray(Image.open(file)).astype(np.int64)
    ours = exposed(picture, jpeg_quality=quality)
    assert np.abs(ours - theirs).mean() < 3.5, "libjpeg smooths the colours between blocks"
    assert np.abs(ours - picture).mean() == pytest.approx(np.abs(theirs - picture).mean(), rel=0.1)


def test_the_same_generator_gives_the_same_picture() -> None:
    flaws = {"noise_levels": 5.0, "blur_px": 0.5, "motion_px": 2.0, "jpeg_quality": 50.0, "gamma": 1.2}
    assert np.array_equal(exposed(edge(), **flaws), exposed(edge(), **flaws))


@pytest.mark.parametrize(
    ("level", "stops", "expected"), [(30, 0.0, 102), (30, 1.0, 102), (120, 0.0, 120), (5, 0.0, 20)]
)
def test_a_camera_opens_in_the_dark_by_itself_and_by_four_stops_at_most(
    level: int, stops: float, expected: float
) -> None:
    opened = exposed(grey(level), least_brightness=0.4, exposure_stops=stops)
    assert opened.mean() == pytest.approx(expected, abs=1.0)


def test_a_camera_that_opens_by_itself_goes_by_all_of_the_picture() -> None:
    half_dark = edge()
    half_dark[:, :16] = 10
    assert np.array_equal(exposed(half_dark, least_brightness=0.4), half_dark), "its mean is 105 of 255"
