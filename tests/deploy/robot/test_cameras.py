"""Cameras: the newest picture, when it was exposed, and what becomes of one that is unplugged.

With a double of the `cv2` module, which is where a device would be.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from deploy.robot.runtime import cameras
from deploy.robot.runtime.contract import read_contract
from deploy.robot.runtime.refusals import UsageError


class Device:
    """Gives a picture at each call, wider than high and in BGR, and none once it is unplugged."""

    def __init__(self, source: int | str) -> None:
        self.source, self.reads, self.plugged, self.released = source, 0, source != 9, False
        self.frame = np.zeros((60, 100, 3), np.uint8)
        self.frame[..., 0] = 200
        self.frame[:, 20:80, 2] = 50

    def set(self, name: int, value: float) -> None:
        pass

    def read(self) -> tuple[bool, Any]:
        self.reads += 1
        time.sleep(0.001)
        return self.plugged, self.frame if self.plugged else None

    def release(self) -> None:
        self.released = True


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Device]]:
    made: list[Device] = []

    def capture(source: int | str) -> Device:
        made.append(Device(source))
        return made[-1]

    def resize(image: np.ndarray, size: tuple[int, int], interpolation: int) -> np.ndarray:
        return image[: size[1], : size[0]]

    double = SimpleNamespace(VideoCapture=capture, CAP_PROP_BUFFERSIZE=38, INTER_AREA=3, resize=resize)
    monkeypatch.setitem(sys.modules, "cv2", double)
    yield made


def test_it_has_the_middle_in_rgb_and_was_exposed_before_it_came(made: Path, devices: list[Device]) -> None:
    terms = read_contract(made).camera
    camera = cameras.open_camera("opencv:0", terms, 0.08)
    now = time.monotonic()
    image, stamp = camera.latest()
    assert devices[0].source == 0
    assert (image.shape, image[0, 0].tolist(), image.flags["C_CONTIGUOUS"]) == (terms.shape, [50, 0, 200], True)
    assert stamp <= now - 0.08
    give_up = time.monotonic() + 20
    while camera.latest()[1] == stamp:
        assert time.monotonic() < give_up
    camera.close()
    assert devices[0].released


def test_one_that_is_unplugged_has_its_last_picture_and_does_not_spin(made: Path, devices: list[Device]) -> None:
    camera = cameras.open_camera("opencv:/dev/video7", read_contract(made).camera)
    device = devices[0]
    assert device.source == "/dev/video7"
    device.plugged = False
    time.sleep(0.05)
    _, stamp = camera.latest()
    reads, begun = device.reads, time.monotonic()
    time.sleep(0.2)
    assert camera.latest()[1] == stamp
    assert device.reads - reads <= (time.monotonic() - begun) / 0.02 + 1
    camera.close()


def test_what_there_is_not_is_one_line(made: Path, devices: list[Device]) -> None:
    terms = read_contract(made).camera
    with pytest.raises(UsageError, match="--camera opencv:9: gives no picture"):
        cameras.open_camera("opencv:9", terms)
    assert devices[0].released
    with pytest.raises(UsageError, match="--camera is 'nowhere:camera': No module named 'nowhere'"):
        cameras.open_camera("nowhere:camera", terms)
    with pytest.raises(UsageError, match="--camera is 'json:camera': module 'json' has no attribute 'camera'"):
        cameras.open_camera("json:camera", terms)
