"""A run's episodes: put together out of chunks, whatever these were cut into, and kept as checked bytes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from chunk_making import SPEC, make_chunk

from replay import Chunk, Episodes, ReplayStore, decode_episodes, encode_episodes, read_episodes
from replay.schema import EpisodeMeta

Open = Callable[..., ReplayStore]


def chunk(first_step: int, seeds: dict[int, int], *, is_last: tuple[int, ...] = (), **more: Any) -> Chunk:
    """A chunk in which episodes begin, or go on, at these rows: row to seed; it begins in mid-episode at row -1."""
    made = make_chunk(first_step, is_first=tuple(row for row in seeds if row >= 0), is_last=is_last, **more)
    episodes = tuple(EpisodeMeta(max(row, 0), seed, f"world{seed % 2}", "teacher", {}) for row, seed in seeds.items())
    return dataclasses.replace(made, meta=dataclasses.replace(made.meta, episodes=episodes))


def rows_of(*chunks: Chunk) -> np.ndarray:
    return np.concatenate([part.state for part in chunks])


def test_episodes_are_put_together_over_the_chunks_in_which_they_lie(open_store: Open) -> None:
    store = open_store()
    first = chunk(0, {0: 10, 3: 11}, is_last=(2,))
    second = chunk(5, {-1: 11})
    third = chunk(10, {-1: 11, 2: 12}, is_last=(1, 4))
    other = chunk(0, {0: 20}, is_last=(4,), stream_id="b.0.0")
    for part in (first, second, other, third):
        store.put(part)

    found = read_episodes(store)
    assert [(one.seed, one.domain, one.driver) for one in found.all] == [
        (10, "world0", "teacher"),
        (11, "world1", "teacher"),
        (12, "world0", "teacher"),
        (20, "world0", "teacher"),
    ]
    state = rows_of(first, second, third)
    for one, rows in zip(found.all, (state[:3], state[3:12], state[12:], other.state), strict=True):
        np.testing.assert_array_equal(one.state, rows)
    np.testing.assert_array_equal(found.all[3].action, other.action)
    assert found.env_steps == 2 + 8 + 2 + 4


def test_what_cannot_be_played_from_its_beginning_is_left_out_and_what_is_cut_off_ends_there(open_store: Open) -> None:
    store = open_store()
    store.put(chunk(5, {-1: 10, 1: 11}, is_last=(0,)))  # the chunk before it is gone
    store.put(chunk(0, {0: 20}, stream_id="killed.0.0"))
    store.put(chunk(0, {0: 30, 4: 31}, is_last=(3, 4), stream_id="one.0.0"))
    store.put(chunk(0, {0: 40}, is_last=(4,), stream_id="blind.0.0", images=False))
    gap = chunk(0, {0: 50}, stream_id="gap.0.0"), chunk(10, {-1: 50, 2: 51}, is_last=(1, 4), stream_id="gap.0.0")
    for part in gap:
        store.put(part)

    found = {one.seed: len(one.state) for one in read_episodes(store).all}
    assert found == {11: 4, 20: 5, 30: 4, 50: 5, 51: 3}


def test_where_nothing_has_images_it_is_asked_of_each_episode_whether_it_is_wanted(open_store: Open) -> None:
    store = open_store()
    store.put(chunk(0, {0: 40, 2: 41}, is_last=(1, 4), stream_id="blind.0.0", images=False))
    store.put(chunk(0, {0: 42}, is_last=(4,), stream_id="seeing.0.0"))
    found = {one.seed: len(one.state) for one in read_episodes(store, lambda episode: episode.seed != 40).all}
    assert found == {41: 3, 42: 5}


def test_episodes_come_back_from_their_bytes(open_store: Open) -> None:
    store = open_store()
    store.put(chunk(0, {0: 2**32 - 1, 3: 11}, is_last=(2, 4)))
    kept = read_episodes(store)
    found = decode_episodes(encode_episodes(kept))
    assert (found.run_id, found.spec) == (store.run_id, SPEC)
    for one, other in zip(found.all, kept.all, strict=True):
        for field in ("seed", "domain", "driver"):
            assert getattr(one, field) == getattr(other, field)
        for field in ("state", "action"):
            assert getattr(one, field).dtype == np.float32
            np.testing.assert_array_equal(getattr(one, field), getattr(other, field))


def test_bytes_that_are_damaged_or_something_else_are_refused_in_one_line(open_store: Open) -> None:
    store = open_store()
    store.put(chunk(0, {0: 1}, is_last=(4,)))
    data = encode_episodes(read_episodes(store))
    damaged = [data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :] for place in range(0, len(data), 7)]
    for wrong in (b"", b"TWEP", data[:-1], data + b"x", b"PK" + data[2:], *damaged):
        with pytest.raises(ValueError, match=r"episodes") as refused:
            decode_episodes(wrong)
        assert "\n" not in str(refused.value)


def test_states_that_are_not_finite_are_refused(open_store: Open) -> None:
    store = open_store()
    store.put(chunk(0, {0: 1}, is_last=(4,)))
    kept = read_episodes(store)
    broken = dataclasses.replace(kept.all[0], state=np.full_like(kept.all[0].state, np.nan))
    with pytest.raises(ValueError, match="not finite"):
        decode_episodes(encode_episodes(Episodes(kept.run_id, kept.spec, (broken,))))
