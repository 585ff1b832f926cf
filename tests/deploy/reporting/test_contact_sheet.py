"""The contact sheet of randomised worlds."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deploy.reporting.contact_sheet import write_contact_sheet
from sim import SimConfig


def sheet(path: Path, *, task: str = "reach", seed: int = 0, columns: int = 3, rows: int = 2) -> np.ndarray:
    write_contact_sheet(task, SimConfig(), path, seed=seed, columns=columns, rows=rows)
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image)


@pytest.mark.parametrize("task", ["reach", "push", "lift"])
def test_a_sheet_shows_both_domains_one_above_the_other(tmp_path: Path, task: str) -> None:
    pixels = sheet(tmp_path / "sheet.png", task=task)
    half = pixels.shape[0] // 2
    upper, lower = pixels[:half], pixels[half : 2 * half]
    assert upper.std() > 20
    assert lower.std() > 20
    assert not np.array_equal(upper, lower)


def test_the_lab_is_at_the_foot_of_a_sheet_that_shall_show_it(tmp_path: Path) -> None:
    without = sheet(tmp_path / "without.png", columns=4)
    write_contact_sheet("reach", SimConfig(), tmp_path / "with.png", seed=0, columns=4, rows=2, lab=True)
    with Image.open(tmp_path / "with.png") as image:
        pixels = np.asarray(image)
    foot = pixels[len(without) :]
    assert np.array_equal(pixels[: len(without) - 4], without[:-4])
    assert len(foot) > 2 * 128, "eight rooms, four in a row"
    assert foot.std() > 20


def test_a_sheet_has_the_asked_number_of_tiles(tmp_path: Path) -> None:
    small = sheet(tmp_path / "small.png", columns=2, rows=2)
    large = sheet(tmp_path / "large.png", columns=4, rows=4)
    assert large.shape[1] > 1.9 * small.shape[1]
    assert large.shape[0] > 1.7 * small.shape[0]


def test_the_seed_decides_the_worlds(tmp_path: Path) -> None:
    first, again, other = (sheet(tmp_path / f"{k}.png", seed=seed) for k, seed in enumerate((1, 1, 2)))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("columns", "rows", "words"), [(0, 2, "columns is 0"), (2, 3, "rows is 3"), (2, 0, "rows is 0")]
)
def test_impossible_sizes_are_refused(tmp_path: Path, columns: int, rows: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        write_contact_sheet("reach", SimConfig(), tmp_path / "sheet.png", seed=0, columns=columns, rows=rows)
    assert not (tmp_path / "sheet.png").exists()


def test_an_unknown_task_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'stack', allowed: reach, push, lift"):
        write_contact_sheet("stack", SimConfig(), tmp_path / "sheet.png", seed=0, columns=1, rows=2)
