"""A contact sheet: one picture of many worlds, training worlds above, held-out worlds below, at the foot the lab."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from sim import DRAWN_DOMAINS, ROOMS, SimConfig, make_env

_TILE_PX = 128
_GAP_PX = 4
_LABEL_PX = 26
_PAPER = (255, 255, 255)
_INK = (30, 30, 30)
_LABELS = {
    "train": "training worlds",
    "held_out": "held-out worlds (never trained on)",
    "lab": f"the lab (nothing is chosen by it): {', '.join(ROOMS)}",
}


def write_contact_sheet(
    task: str, config: SimConfig, path: Path, *, seed: int, columns: int = 8, rows: int = 6, lab: bool = False
) -> None:
    """Write a PNG of randomised worlds as the policy's camera sees them.

    Every tile is an episode of its own, some random actions after its start. The upper half shows the training
    domain, the lower half the held-out one, with the same episodes' positions in both; below them may be one tile of
    each room of the lab.

    Args:
        task: One of `sim.TASKS`.
        config: Sizes, rates and randomisation of the worlds.
        path: The PNG file; its directory must exist.
        seed: Decides all worlds.
        columns: Tiles side by side, at least 1.
        rows: Rows of tiles without the lab's, an even number of at least 2: half for each domain.
        lab: Whether the lab is shown.

    Raises:
        ValueError: An unknown task, or a number of columns or rows that is not allowed.
    """
    if columns < 1:
        raise ValueError(f"columns is {columns}, allowed: at least 1")
    if rows < 2 or rows % 2:
        raise ValueError(f"rows is {rows}, allowed: an even number of at least 2, half of them for each domain")
    env = make_env(task, config, views=1)
    try:
        parts = {domain: _photograph(env, [domain] * (columns * rows // 2), seed) for domain in DRAWN_DOMAINS}
        if lab:
            parts["lab"] = _photograph(env, [f"lab:{room}" for room in ROOMS], seed)
    finally:
        env.close()
    _compose(task, parts, columns).save(path, format="PNG")


def _photograph(env: gym.Env[Any, Any], domains: list[str], seed: int) -> list[NDArray[np.uint8]]:
    """Return one camera image [H, W, 3] from one episode in each of the domains."""
    rng = np.random.default_rng(seed)
    actions: Any = env.action_space
    images = []
    for domain in domains:
        observation, _ = env.reset(seed=int(rng.integers(2**31)), options={"domain": domain})
        for _ in range(int(rng.integers(1, 8))):
            observation = env.step(rng.uniform(actions.low, actions.high).astype(actions.dtype))[0]
        images.append(observation["image"])
    return images


def _compose(task: str, parts: dict[str, list[NDArray[np.uint8]]], columns: int) -> Image.Image:
    pitch = _TILE_PX + _GAP_PX
    heights = [_LABEL_PX + -(-len(images) // columns) * pitch for images in parts.values()]
    sheet = Image.new("RGB", (columns * pitch + _GAP_PX, sum(heights) + _GAP_PX), _PAPER)
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=15)
    for part, (domain, images) in enumerate(parts.items()):
        top = sum(heights[:part])
        pen.text((_GAP_PX, top + 5), f"{task}: {_LABELS[domain]}", fill=_INK, font=font)
        for index, image in enumerate(images):
            row, column = divmod(index, columns)
            tile = Image.fromarray(image).resize((_TILE_PX, _TILE_PX), Image.Resampling.NEAREST)
            sheet.paste(tile, (_GAP_PX + column * pitch, top + _LABEL_PX + row * pitch))
    return sheet
