"""Photographs that lie on tables and hang on walls: those that scikit-image's wheel carries, and the user's own.

Of the wheel's, only those whose use is free: `astronaut`, `hubble_deep_field` (NASA) and `rocket` (SpaceX) are in the
public domain, so is `text` (by its photographer); `brick`, `grass`, `gravel` (CC0Textures), `chelsea`, `coffee`, `page`
and `retina` are CC0; of `ihc` no restriction is known. Nothing of scikit-image is imported: only its files are read.
"""

from __future__ import annotations

import functools
import importlib.util
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from sim.scenery import Picture

SIZE_PX = 128
MOST_PICTURES = 256
_OWN = "own_"
_KINDS = (".jpg", ".jpeg", ".png", ".webp")

FILES = {
    "train": (
        *("astronaut.png", "chelsea.png", "grass.png", "gravel.png", "hubble_deep_field.jpg", "ihc.png", "page.png"),
        "rocket.jpg",
    ),
    "held_out": ("brick.png", "coffee.png", "retina.jpg", "text.png"),
    "lab": (),
}


def photograph_names(side: str) -> tuple[str, ...]:
    """Return the names of a side's photographs ("train", "held_out", "lab"), such as "photograph_brick"."""
    return tuple(f"photograph_{Path(file).stem}" for file in FILES[side])


@functools.cache
def photographs() -> dict[str, Picture]:
    """Return all photographs of the wheel by name, [SIZE_PX, SIZE_PX, 3].

    Raises:
        ModuleNotFoundError: scikit-image is not installed.
    """
    found = importlib.util.find_spec("skimage")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("scikit-image is not installed, whose photographs lie on the tables", name="skimage")
    folder = Path(found.origin).parent / "data"
    return {f"photograph_{Path(file).stem}": _square(folder / file) for side in FILES for file in FILES[side]}


@functools.cache
def own_pictures(folder: str) -> dict[str, Picture]:
    """Return the pictures of a user's folder by name, in alphabetical order, [SIZE_PX, SIZE_PX, 3]; none for "".

    Raises:
        ValueError: It is no folder, there is no picture in it or are too many, or a file is none.
    """
    if not folder:
        return {}
    if not Path(folder).is_dir():
        raise ValueError(f"visual.pictures is {folder!r}, allowed: a folder with pictures that this machine can read")
    paths = sorted(path for path in Path(folder).iterdir() if path.suffix.lower() in _KINDS)
    if not 1 <= len(paths) <= MOST_PICTURES:
        count = f"{len(paths)} pictures ({', '.join(_KINDS)})"
        raise ValueError(f"visual.pictures is {folder!r} with {count}, allowed: 1 to {MOST_PICTURES}")
    return {f"{_OWN}{path.name}": _square(path) for path in paths}


def is_own(name: str) -> bool:
    """Return whether a texture of this name is a picture of the user's folder."""
    return name.startswith(_OWN)


def _square(path: Path) -> Picture:
    """Return the middle of a picture, [SIZE_PX, SIZE_PX, 3]."""
    try:
        with Image.open(path) as file:
            picture = file.convert("RGB")
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"{path} is no picture that can be read ({error}), allowed: {', '.join(_KINDS)}") from error
    edge = min(picture.size)
    left, top = (picture.width - edge) // 2, (picture.height - edge) // 2
    middle = picture.crop((left, top, left + edge, top + edge))
    return np.array(middle.resize((SIZE_PX, SIZE_PX), Image.Resampling.BOX))
