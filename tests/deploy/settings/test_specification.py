"""What a task's environments emit, and how long the chunks are that hold it."""

from __future__ import annotations

import pytest

from deploy.settings.presets import TASK_PRESETS, resolve
from deploy.settings.specification import fitted_chunk_length, stream_spec


@pytest.mark.parametrize(
    ("most", "episode_steps", "chunk_length"),
    [
        (25, 0, 25),  # not known: as long as asked for
        (17, 16, 17),  # just one
        (61, 16, 51),  # three of them
        (25, 60, 21),  # one in three parts: 21, 21 and 19
        (17, 20, 11),  # one in two parts: 11 and 10
        (17, 15, 16),
        (2, 1, 2),
        (2, 2, 2),
        (2, 6, 2),
    ],
)
def test_chunks_hold_whole_episodes_or_equal_parts_of_one(most: int, episode_steps: int, chunk_length: int) -> None:
    assert fitted_chunk_length(most, episode_steps) == chunk_length


def test_no_chunk_is_too_long_or_wastes_a_row_that_it_need_not() -> None:
    for most in range(2, 40):
        for episode_steps in range(1, 90):
            rows, length = episode_steps + 1, fitted_chunk_length(most, episode_steps)
            assert 2 <= length <= most
            if rows <= most:
                assert length % rows == 0 and most - length < rows
            else:
                parts = -(-rows // most)  # fewer would not do
                assert 0 <= parts * length - rows < parts


@pytest.mark.parametrize("task", TASK_PRESETS)
def test_the_presets_chunks_are_whole_episodes(task: str) -> None:
    spec = stream_spec(resolve(task, None, []))
    assert spec.chunk_length == spec.episode_steps + 1


@pytest.mark.parametrize(("steps", "chunk_length"), [(5, 12), (20, 11), (16, 17)])
def test_another_length_of_episodes_makes_other_chunks(steps: int, chunk_length: int) -> None:
    spec = stream_spec(resolve("reach", "debug", [f"sim.episode_steps={steps}"]))
    assert (spec.episode_steps, spec.chunk_length) == (steps, chunk_length)
    assert (spec.action_low, spec.action_high) == ((-1.0,) * 3, (1.0,) * 3)
