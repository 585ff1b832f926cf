"""Pictures of a robot at known joints, to align a camera by: a directory with `postures.json`, or a recording.

postures.json is a list, an entry for each picture:

    {"image": "01.png", "joints": [7 angles, radians], "opening": metres between the fingers, "mask": "01-mask.png"}

`mask` is white where the robot is. Without masks there are pictures with the arm out of sight: the robot is
where others differ from these. Pictures are cut to the square in their middle, as the camera of `twist run` cuts them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deploy.errors import UserError
from deploy.robot.alignment import SIZE, Posture, Seen, unlike
from deploy.robot.runtime.recording import read_recording

POSTURES = "postures.json"
_RECORDING = "recording.json"
_ALLOWED = 'allowed is {"image": FILE, "joints": [7 radians], "opening": metres}, and "mask": FILE or not'

LEAST = 4
APART_DEG = 3.0
"""In one joint at least: what stands still differs by its encoders' noise."""

MOST = 24
"""Of a recording's pictures so many are taken, evenly spread."""


@dataclass(frozen=True)
class Pictures:
    """N pictures of one camera that did not move.

    Attributes:
        images: [N, S, S, 3] uint8.
        seen: where the robot is in them.
        with_base: whether these have the link that stands on the table, which a picture without the arm has too.
        postures: N.
    """

    images: NDArray[np.uint8]
    seen: Seen
    with_base: bool
    postures: tuple[Posture, ...]


@dataclass(frozen=True)
class _Read:
    images: NDArray[np.uint8]
    masks: NDArray[np.float32] | None
    postures: tuple[Posture, ...]


def read_pictures(path: Path, backgrounds: Sequence[Path]) -> Pictures:
    """Reads pictures and joints.

    Args:
        path: a directory.
        backgrounds: pictures with the arm out of sight.

    Raises:
        UserError: naming what is wrong.
        BundleError: it is a recording of another format.
    """
    found = _of_recording(path) if (path / _RECORDING).is_file() else _of_files(path)
    if len(found.postures) < LEAST:
        raise UserError(f"{path}: has {len(found.postures)} pictures; allowed are {LEAST} and more")
    count = apart(found.postures)
    if count < LEAST:
        raise UserError(
            f"{path}: the robot is in {count} postures that are {APART_DEG:g} degrees apart in some joint; allowed are "
            f"{LEAST} and more"
        )
    if found.masks is not None:
        return Pictures(found.images, Seen.everywhere(found.masks), True, found.postures)
    if not backgrounds:
        raise UserError(f"{path}: its pictures have no masks; allowed are these, or --background FILE, without the arm")
    behind = np.stack([_read(file, "RGB") for file in backgrounds])
    return Pictures(found.images, unlike(found.images, behind), False, found.postures)


def apart(postures: Sequence[Posture]) -> int:
    """So many of them differ from each other by `APART_DEG` in some joint."""
    kept: list[NDArray[np.float64]] = []
    for posture in postures:
        joints = np.degrees(posture.joints)
        if all(np.abs(joints - other).max() >= APART_DEG for other in kept):
            kept.append(joints)
    return len(kept)


def _of_recording(path: Path) -> _Read:
    episodes = list(read_recording(path).episodes())
    ticks = [tick for each in episodes for tick in each.ticks]
    images = [image for each in episodes for image in each.images]
    chosen = np.unique(np.linspace(0, len(ticks) - 1, MOST).astype(int)) if ticks else np.zeros(0, int)
    return _Read(
        np.stack([_square(Image.fromarray(images[index])) for index in chosen])
        if len(chosen)
        else np.zeros((0, SIZE, SIZE, 3), np.uint8),
        None,
        tuple(Posture(tuple(ticks[index]["joints"]), float(ticks[index]["opening"])) for index in chosen),
    )


def _of_files(path: Path) -> _Read:
    file = path / POSTURES
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path}: holds neither {POSTURES} nor a recording") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: cannot be read: {error}") from error
    if not isinstance(entries, list):
        raise UserError(f"{file}: is no list; of each entry {_ALLOWED}")
    postures = tuple(_posture(file, entry) for entry in entries)
    images = [_read(path / entry["image"], "RGB") for entry in entries]
    masked = ["mask" in entry for entry in entries]
    if any(masked) and not all(masked):
        raise UserError(f"{file}: {sum(masked)} of {len(masked)} pictures have a mask; allowed are none and all")
    masks = [_read(path / entry["mask"], "L") > 127 for entry in entries] if any(masked) else None
    return _Read(
        np.stack(images) if images else np.zeros((0, SIZE, SIZE, 3), np.uint8),
        np.stack(masks).astype(np.float32) if masks is not None else None,
        postures,
    )


def _posture(file: Path, entry: Any) -> Posture:
    try:
        if not isinstance(entry, Mapping) or not {"image", "joints", "opening"} <= set(entry):
            raise ValueError("entry")
        joints = tuple(float(angle) for angle in entry["joints"])
        if len(joints) != 7 or not np.isfinite([*joints, float(entry["opening"])]).all():
            raise ValueError("joints")
        return Posture(joints, float(entry["opening"]))
    except (TypeError, ValueError) as error:
        raise UserError(f"{file}: has the entry {json.dumps(entry)[:200]}; {_ALLOWED}") from error


def _read(file: Path, mode: str) -> NDArray[np.uint8]:
    try:
        with Image.open(file) as opened:
            return _square(opened.convert(mode))
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error}") from error


def _square(picture: Image.Image) -> NDArray[np.uint8]:
    """The square in the middle, `SIZE` pixels along an edge."""
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    cut = picture.crop((left, top, left + side, top + side))
    method = Image.Resampling.BOX if side >= SIZE else Image.Resampling.BICUBIC
    return np.asarray(cut.resize((SIZE, SIZE), method))
