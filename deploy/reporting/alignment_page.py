"""alignment.html: pictures of a robot with the silhouettes laid over them; one file, which opens from disk."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from numpy.typing import NDArray
from PIL import Image

from deploy.runs.atomic import write_text

FOUND, STARTED = (240, 120, 20), (70, 150, 240)
_ENLARGED = 3


def overlay(picture: NDArray[np.uint8], started: NDArray[np.bool_], found: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """A picture [S, S, 3], enlarged, with the outlines of two masks [S, S]: the start, and above it what was found."""
    drawn: NDArray[np.uint8] = np.repeat(np.repeat(picture, _ENLARGED, 0), _ENLARGED, 1).copy()
    for mask, colour in ((started, STARTED), (found, FOUND)):
        large = np.repeat(np.repeat(mask, _ENLARGED, 0), _ENLARGED, 1)
        padded = np.pad(large, 1, mode="edge")
        inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
        drawn[large & ~inner] = colour
    return drawn


def write_alignment_page(
    path: Path,
    title: str,
    facts: Sequence[tuple[str, str]],
    beyond: Sequence[str],
    overlays: Sequence[NDArray[np.uint8]],
) -> None:
    """Writes the page.

    Args:
        path: to write.
        title: of the page.
        facts: name and value, as they are to be read.
        beyond: what lies beyond the trained ranges.
        overlays: of `overlay`.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True, undefined=StrictUndefined
    )
    template = environment.get_template("alignment.html.j2")
    pictures = [_embedded(each) for each in overlays]
    write_text(path, template.render(title=title, facts=facts, beyond=beyond, pictures=pictures))


def _embedded(picture: NDArray[np.uint8]) -> str:
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()
