from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from chunk_making import SPEC, make_chunk

from replay import Batch, EmbeddedServer, ReplayStore, StudentSampler, TeacherSampler

Open = Callable[..., ReplayStore]
BOTH = pytest.mark.parametrize("kind", [TeacherSampler, StudentSampler])


def fill(store: ReplayStore, chunks: int, first: int = 0) -> None:
    for number in range(first, first + chunks):
        store.put(make_chunk(5 * number, policy_version=number))


def numbers(batch: Batch) -> list[int]:
    """Which chunks are in a batch: `make_chunk` counts rows in state[0]."""
    return [int(row) // 5 for row in batch["state"][:, 0, 0]]


def test_a_students_batch_holds_state_and_image_of_the_same_rows(open_store: Open) -> None:
    store = open_store()
    fill(store, 6)
    batch = StudentSampler(store, batch_size=4, seed=0, prefetch=0).sample(timeout_s=5)
    layout = {name: (array.dtype.str, array.shape) for name, array in batch.items()}
    assert layout == {
        "state": ("<f4", (4, 5, 3)),
        "image": ("|u1", (4, 5, 2, 4, 6, 3)),
        "state_at_exposure": ("<f4", (4, 5, 3)),
        "action": ("<f4", (4, 5, 2)),
        "reward": ("<f4", (4, 5)),
        "is_first": ("|b1", (4, 5)),
        "is_last": ("|b1", (4, 5)),
        "is_terminal": ("|b1", (4, 5)),
        "valid": ("|b1", (4, 5)),
        "policy_version": ("<i8", (4,)),
    }
    assert all(array.flags.c_contiguous and array.flags.writeable for array in batch.values())
    for place, number in enumerate(numbers(batch)):
        chunk = make_chunk(5 * number)
        for name in set(batch) - {"valid", "policy_version"}:
            np.testing.assert_array_equal(batch[name][place], getattr(chunk, name), err_msg=name)
        assert batch["policy_version"][place] == number
    assert batch["valid"].all()


def test_a_teachers_batch_is_the_same_without_images(open_store: Open) -> None:
    store = open_store()
    fill(store, 6)
    student = StudentSampler(store, batch_size=4, seed=0, prefetch=0).sample(timeout_s=5)
    teacher = TeacherSampler(store, batch_size=4, seed=0, prefetch=0).sample(timeout_s=5)
    del student["image"], student["state_at_exposure"]
    assert teacher.keys() == student.keys()
    for name, array in teacher.items():
        np.testing.assert_array_equal(array, student[name])


@BOTH
def test_a_short_sequence_is_a_piece_of_a_chunk(open_store: Open, kind: type[TeacherSampler]) -> None:
    store = open_store()
    chunk = make_chunk(0, is_last=(4,))
    store.put(chunk)
    batch = kind(store, batch_size=40, seed=0, prefetch=0, sequence_length=2).sample(timeout_s=5)
    assert batch["state"].shape[:2] == (40, 2)
    begins = batch["state"][:, 0, 0].astype(int)
    assert set(begins) == {0, 1, 2, 3}  # anywhere
    for name in set(batch) - {"valid", "policy_version"}:
        for begin, piece in zip(begins, batch[name], strict=True):
            np.testing.assert_array_equal(piece, getattr(chunk, name)[begin : begin + 2], err_msg=name)
    assert batch["valid"].all()


def test_of_a_chunk_cut_into_pieces_no_row_is_seldom_drawn(open_store: Open) -> None:
    """The first and the last as often as those in the middle; near the ends up to twice as often."""
    spec = replace(SPEC, chunk_length=30)
    store = open_store(spec=spec)
    store.put(make_chunk(0, rows=30, spec=spec))
    sampler = TeacherSampler(store, batch_size=1000, seed=0, prefetch=0, sequence_length=7)
    counts = sum(
        np.bincount(sampler.sample(timeout_s=5)["state"][..., 0].astype(int).ravel(), minlength=30) for _ in range(20)
    )
    # 20,000 pieces, each at one of 36 places; a row in the middle is in 7 of them, give or take 60 pieces.
    expected = 20_000 / 36 * np.array([7, 8, 9, 10, 11, 12, 13, *[7] * 16, 13, 12, 11, 10, 9, 8, 7])
    np.testing.assert_allclose(counts, expected, atol=5 * 70)


def test_a_chunk_shorter_than_a_piece_is_given_whole(open_store: Open) -> None:
    store = open_store()
    chunk = make_chunk(0, rows=3, is_last=(2,))
    store.put(chunk)
    batch = TeacherSampler(store, batch_size=8, seed=0, prefetch=0, sequence_length=4).sample(timeout_s=5)
    assert batch["valid"].tolist() == [[True, True, True, False]] * 8
    np.testing.assert_array_equal(batch["state"][:, :3], np.broadcast_to(chunk.state, (8, 3, 3)))


def test_the_pieces_of_a_batch_come_from_as_many_chunks_as_there_are(open_store: Open) -> None:
    store = open_store()
    fill(store, 8)
    sampler = TeacherSampler(store, batch_size=8, seed=0, prefetch=0, sequence_length=2)
    assert len(set(numbers(sampler.sample(timeout_s=5)))) == 8


@pytest.mark.parametrize("length", [0, 5, 6])
def test_a_length_of_zero_or_of_the_chunk_leaves_chunks_whole(open_store: Open, length: int) -> None:
    store = open_store()
    fill(store, 6)
    whole = TeacherSampler(store, batch_size=4, seed=0, prefetch=0)
    same = TeacherSampler(store, batch_size=4, seed=0, prefetch=0, sequence_length=length)
    for _ in range(3):
        expected, batch = whole.sample(timeout_s=5), same.sample(timeout_s=5)
        for name, array in expected.items():
            np.testing.assert_array_equal(array, batch[name], err_msg=name)


@BOTH
def test_a_short_chunk_is_padded_and_marked(open_store: Open, kind: type[TeacherSampler]) -> None:
    store = open_store()
    chunk = make_chunk(0, rows=3, is_last=(2,))
    store.put(chunk)
    batch = kind(store, batch_size=2, seed=0, prefetch=0).sample(timeout_s=5)
    assert batch["valid"].tolist() == [[True, True, True, False, False]] * 2
    assert batch["is_first"].tolist() == [[True, False, False, True, False]] * 2
    for name in set(batch) - {"valid", "is_first", "policy_version"}:
        np.testing.assert_array_equal(batch[name][0, :3], getattr(chunk, name))
        assert not batch[name][:, 3:].any(), name


def test_a_student_draws_only_chunks_with_images(open_store: Open) -> None:
    store = open_store()
    for number in range(8):
        store.put(make_chunk(5 * number, images=number % 2 == 0))
    student = StudentSampler(store, batch_size=4, seed=0, prefetch=0)
    assert sorted(numbers(student.sample(timeout_s=5))) == [0, 2, 4, 6]


@BOTH
def test_the_same_seed_draws_the_same_batches_and_another_seed_others(
    open_store: Open, kind: type[TeacherSampler]
) -> None:
    store = open_store()
    fill(store, 30)

    def draw(seed: int) -> list[list[int]]:
        sampler = kind(store, batch_size=4, seed=seed, prefetch=0)
        return [numbers(sampler.sample(timeout_s=5)) for _ in range(3)]

    assert draw(seed=1) == draw(seed=1) != draw(seed=2)


def test_without_prefetch_there_is_no_thread(open_store: Open) -> None:
    store = open_store()
    fill(store, 1)
    before = threading.active_count()
    TeacherSampler(store, batch_size=1, seed=0, prefetch=0).sample(timeout_s=5)
    assert threading.active_count() == before


def test_chunks_are_drawn_uniformly_and_none_twice_in_a_batch(open_store: Open) -> None:
    store = open_store()
    fill(store, 20)
    sampler = TeacherSampler(store, batch_size=10, seed=0, prefetch=0)
    drawn = [numbers(sampler.sample(timeout_s=5)) for _ in range(400)]
    assert all(len(set(batch)) == 10 for batch in drawn)
    counts = np.bincount(np.concatenate(drawn), minlength=20)
    # Each is in half of the batches: 200 of 400, with a standard deviation of 10.
    assert np.abs(counts - 200).max() < 50


@pytest.mark.parametrize("prefetch", [0, 2])
def test_new_chunks_are_drawn_and_evicted_ones_are_not(open_store: Open, prefetch: int) -> None:
    store = open_store(capacity_steps=50)
    sampler = TeacherSampler(store, batch_size=10, seed=0, prefetch=prefetch)
    for first in range(0, 40, 10):
        fill(store, 10, first)
        for _ in range(4):  # so many may have been made ready before
            batch = sampler.sample(timeout_s=10)
        assert sorted(numbers(batch)) == list(range(first, first + 10))
    sampler.close()


def test_a_batch_is_full_though_chunks_are_evicted_while_it_is_drawn(
    open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(capacity_steps=50)
    fill(store, 10)
    sampler = StudentSampler(store, batch_size=8, seed=0, prefetch=0)
    fetch, left = store.fetch_pairs, [7]

    def evict_and_fetch(chunk_ids: list[str]) -> object:
        if left:
            fill(store, left.pop(), first=10)
        return fetch(chunk_ids)

    monkeypatch.setattr(store, "fetch_pairs", evict_and_fetch)
    assert set(numbers(sampler.sample(timeout_s=5))) <= set(range(7, 17))
    assert store.stats()["quarantined_chunks"] == 0


def test_batches_are_made_ready_in_the_background(open_store: Open) -> None:
    store = open_store()
    fill(store, 8)
    sampler = StudentSampler(store, batch_size=4, seed=0, prefetch=3)
    sampler.sample(timeout_s=10)
    settled = threading.Event()
    while sampler.stats()["ready"] < 3:
        settled.wait(0.01)
    assert [sampler.sample(timeout_s=0)["state"].shape for _ in range(3)] == [(4, 5, 3)] * 3
    assert sampler.stats()["batches"] == 4
    sampler.close()


def test_prefetched_batches_are_those_of_the_same_seed_without_prefetch(open_store: Open) -> None:
    store = open_store()
    fill(store, 30)
    plain, ahead = (TeacherSampler(store, batch_size=4, seed=3, prefetch=prefetch) for prefetch in (0, 2))
    for _ in range(5):
        assert numbers(ahead.sample(timeout_s=10)) == numbers(plain.sample(timeout_s=10))
    ahead.close()


@pytest.mark.parametrize("prefetch", [0, 2])
def test_a_time_out_says_that_the_replay_is_empty(open_store: Open, prefetch: int) -> None:
    store = open_store()
    store.put(make_chunk(0, images=False))
    sampler = StudentSampler(store, batch_size=1, seed=0, prefetch=prefetch)
    with pytest.raises(
        TimeoutError, match=r"no batch within 0.3 s: the replay of run run at unix://.* holds no chunk with"
    ):
        sample_until_it_has_looked(sampler)
    waited = sampler.stats()["waited_seconds"]
    assert waited >= 0.3
    store.put(make_chunk(5))
    sampler.sample(timeout_s=10)
    assert sampler.stats()["waited_seconds"] > waited
    sampler.close()


def sample_until_it_has_looked(sampler: StudentSampler) -> None:
    """On a busy machine the first looks may come to their end before the server has answered."""
    while True:
        try:
            sampler.sample(timeout_s=0.3)
        except TimeoutError as error:
            if "has not answered yet" not in str(error):
                raise


@pytest.mark.parametrize("prefetch", [0, 2])
def test_a_time_out_says_that_the_server_does_not_answer(
    server: EmbeddedServer, open_store: Open, prefetch: int
) -> None:
    store = open_store()
    fill(store, 1)
    server.stop()
    sampler = TeacherSampler(store, batch_size=1, seed=0, prefetch=prefetch)
    with pytest.raises(TimeoutError, match=f"no batch within 1 s: Redis at {server.url} (does not answer|has not)"):
        sampler.sample(timeout_s=1)
    sampler.close()


def test_a_fault_in_the_background_reaches_who_samples(open_store: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store()
    fill(store, 1)

    def fail(chunk_ids: list[str]) -> object:
        raise ZeroDivisionError("a fault of ours")

    monkeypatch.setattr(store, "fetch_states", fail)
    sampler = TeacherSampler(store, batch_size=1, seed=0, prefetch=1)
    with pytest.raises(RuntimeError, match="sampling failed: a fault of ours"):
        sampler.sample(timeout_s=60)


def test_closing_ends_the_thread_and_the_sampler(open_store: Open) -> None:
    store = open_store()
    fill(store, 2)
    before = threading.active_count()
    sampler = TeacherSampler(store, batch_size=2, seed=0, prefetch=2)
    sampler.sample(timeout_s=10)
    assert threading.active_count() == before + 1
    sampler.close()
    assert threading.active_count() == before
    with pytest.raises(RuntimeError, match="closed"):
        sampler.sample(timeout_s=1)


@pytest.mark.parametrize("chunks", [0, 2], ids=["waiting for a chunk", "waiting for room"])
def test_a_sampler_that_is_dropped_without_close_leaves_no_thread(open_store: Open, chunks: int) -> None:
    store = open_store()
    fill(store, chunks)
    before = set(threading.enumerate())
    sampler = TeacherSampler(store, batch_size=2, seed=0, prefetch=1)
    if chunks:
        sampler.sample(timeout_s=10)
    (thread,) = set(threading.enumerate()) - before
    del sampler
    thread.join(30)
    assert not thread.is_alive()


@pytest.mark.parametrize(("batch_size", "prefetch", "length"), [(0, 0, 0), (4, -1, 0), (4, 0, -1)])
def test_impossible_numbers_are_refused(open_store: Open, batch_size: int, prefetch: int, length: int) -> None:
    with pytest.raises(ValueError, match=r"is (0|-1): at least"):
        TeacherSampler(open_store(), batch_size, seed=0, prefetch=prefetch, sequence_length=length)
