from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import redis
from chunk_making import RUN, SPEC

from replay import Chunk, EmbeddedServer, EpisodeMeta, ReplayStore, Step, StreamWriter

Open = Callable[..., ReplayStore]


def make_writer(store: ReplayStore, stream_id: str = "a.0.0", first_chunk_rows: int | None = None) -> StreamWriter:
    return StreamWriter(
        store, store.spec, run_id=RUN, stream_id=stream_id, actor_id="a", first_chunk_rows=first_chunk_rows
    )


def make_step(count: int, *, first: bool = False, last: bool = False, terminal: bool = False) -> Step:
    """Row `count` of a stream that counts its rows in everything it carries."""
    return Step(
        state=np.array([count, -count, 0.5], np.float32),
        image=np.full((2, 4, 6, 3), count % 256, np.uint8),
        state_at_exposure=np.array([count - 0.25, -count, 0.5], np.float32),
        action=np.zeros(2, np.float32) if first else np.full(2, count, np.float32),
        reward=0.0 if first else float(count),
        is_first=first,
        is_last=last,
        is_terminal=terminal,
    )


def write(writer: StreamWriter, count: int, *, policy_version: int = 0, **flags: bool) -> None:
    episode = EpisodeMeta(0, 100 + count, "train", "random", {"begun_at": count}) if flags.get("first") else None
    writer.append(make_step(count, **flags), episode, policy_version=policy_version, renderer="tiny")


def write_episodes(writer: StreamWriter, lengths: list[int]) -> list[int]:
    """Writes episodes of so many rows; returns the rows where they start."""
    starts, count = [], 0
    for length in lengths:
        starts.append(count)
        for step in range(length):
            write(writer, count, first=step == 0, last=step == length - 1)
            count += 1
    return starts


def stored(store: ReplayStore) -> list[Chunk]:
    return store.read_pairs(store.image_ids())


def test_rows_arrive_once_in_order_and_whole_in_chunks_that_follow_one_another(open_store: Open) -> None:
    store = open_store()
    writer = make_writer(store)
    lengths = [3, 9, 4, 1, 12, 2]
    starts = write_episodes(writer, lengths)
    writer.flush()
    chunks = stored(store)
    assert [chunk.meta.first_step for chunk in chunks] == [0, 5, 10, 15, 20, 25, 30]
    assert [chunk.rows for chunk in chunks] == [5, 5, 5, 5, 5, 5, 1]
    count = np.arange(sum(lengths))
    rows = {
        name: np.concatenate([getattr(chunk, name) for chunk in chunks])
        for name in ("state", "image", "state_at_exposure", "action", "reward", "is_first", "is_last", "is_terminal")
    }
    ends = [start + length - 1 for start, length in zip(starts, lengths, strict=True)]
    np.testing.assert_array_equal(rows["state"][:, 0], count)
    np.testing.assert_array_equal(rows["image"][:, 1, 2, 3, 1], count)
    np.testing.assert_array_equal(rows["state_at_exposure"][:, 0], count - 0.25)
    np.testing.assert_array_equal(rows["reward"], np.where(np.isin(count, starts), 0, count))
    np.testing.assert_array_equal(rows["action"][:, 1], np.where(np.isin(count, starts), 0, count))
    np.testing.assert_array_equal(np.flatnonzero(rows["is_first"]), starts)
    np.testing.assert_array_equal(np.flatnonzero(rows["is_last"]), ends)
    assert not rows["is_terminal"].any()
    assert store.stats()["env_steps"] == sum(lengths) - len(lengths)


def test_each_chunk_tells_which_episodes_lie_in_it_and_where(open_store: Open) -> None:
    store = open_store()
    writer = make_writer(store)
    write_episodes(writer, [3, 9, 3])
    episodes = [[(e.row, e.seed, e.randomisation["begun_at"]) for e in chunk.meta.episodes] for chunk in stored(store)]
    assert episodes == [
        [(0, 100, 0), (3, 103, 3)],  # one begins with the chunk, the next in its fourth row
        [(0, 103, 3)],  # goes on
        [(0, 103, 3), (2, 112, 12)],
    ]


def test_a_chunk_says_the_oldest_policy_that_acted_in_it(open_store: Open) -> None:
    store = open_store()
    writer = make_writer(store)
    for count in range(10):
        write(writer, count, policy_version=count // 3, first=count == 0, last=count == 9)
    assert [chunk.meta.policy_version for chunk in stored(store)] == [0, 1]


def test_the_newest_row_of_a_running_episode_is_held_back(open_store: Open) -> None:
    store = open_store()
    writer = make_writer(store)
    for count in range(5):
        write(writer, count, first=count == 0)
    assert store.stats()["inserted_rows"] == 0
    write(writer, 5)
    assert store.stats()["inserted_rows"] == 5
    assert writer.stats()["appended_rows"] == 6
    assert writer.stats()["acknowledged_rows"] == 5


def test_a_finished_episode_is_not_held_back(open_store: Open) -> None:
    store = open_store()
    write_episodes(make_writer(store), [5])
    assert store.stats()["inserted_rows"] == 5


def test_truncate_ends_the_episode_at_the_row_before_the_crash_and_invents_nothing(open_store: Open) -> None:
    store = open_store()
    writer = make_writer(store)
    for count in range(3):
        write(writer, count, first=count == 0)
    writer.truncate()
    for count in range(3, 5):
        write(writer, count, first=count == 3, last=count == 4)
    [chunk] = stored(store)
    np.testing.assert_array_equal(chunk.state[:, 0], [0, 1, 2, 3, 4])
    np.testing.assert_array_equal(np.flatnonzero(chunk.is_last), [2, 4])
    assert not chunk.is_terminal.any()


def layout(store: ReplayStore) -> list[list[int]]:
    """The rows of each chunk's episodes."""
    return [np.diff([*np.flatnonzero(chunk.is_first), chunk.rows]).tolist() for chunk in stored(store)]


def test_chunks_hold_whole_episodes_where_their_length_is_known(open_store: Open) -> None:
    store = open_store(spec=replace(SPEC, episode_steps=4))
    write_episodes(make_writer(store), [5, 5, 5])
    assert layout(store) == [[5], [5], [5]]


def test_as_many_whole_episodes_as_fit_are_in_one_chunk(open_store: Open) -> None:
    store = open_store(spec=replace(SPEC, episode_steps=1))
    write_episodes(make_writer(store), [2, 2, 2, 2, 2, 2])
    assert layout(store) == [[2, 2], [2, 2], [2, 2]]


def test_an_episode_longer_than_a_chunk_begins_with_one(open_store: Open) -> None:
    store = open_store(spec=replace(SPEC, episode_steps=7))
    write_episodes(make_writer(store), [8, 8])
    assert [(chunk.rows, bool(chunk.is_first[0])) for chunk in stored(store)] == [
        (5, True),
        (3, False),
        (5, True),
        (3, False),
    ]
    assert [bool(chunk.is_last[-1]) for chunk in stored(store)] == [False, True, False, True]


@pytest.mark.parametrize(("length", "broken"), [(2, 1), (5, 1), (5, 2), (5, 3), (5, 4), (8, 1), (8, 4), (8, 5), (8, 7)])
def test_after_a_crash_chunks_begin_with_an_episode_again(open_store: Open, length: int, broken: int) -> None:
    store = open_store(spec=replace(SPEC, episode_steps=length - 1))
    writer = make_writer(store)
    for count in range(broken):
        write(writer, count, first=count == 0)
    writer.truncate()
    for episode in range(6):
        for row in range(length):
            write(writer, broken + length * episode + row, first=row == 0, last=row == length - 1)
    writer.flush()
    chunks = stored(store)
    begins = [chunk.meta.first_step for chunk in chunks if chunk.is_first[0]]
    assert begins[0] == 0
    assert len(begins) == len(chunks) if length <= 5 else set(np.diff(begins[1:])) == {length}
    assert sum(chunk.rows for chunk in chunks) == broken + 6 * length


def test_where_the_length_of_episodes_is_not_known_a_crash_costs_no_padding(open_store: Open) -> None:
    store = open_store()
    writer = make_writer(store)
    for count in range(3):
        write(writer, count, first=count == 0)
    writer.truncate()
    for count in range(3, 10):
        write(writer, count, first=count == 3, last=count == 9)
    assert [chunk.rows for chunk in stored(store)] == [5, 5]


def test_the_first_chunk_may_be_shorter_so_that_streams_do_not_deliver_together(open_store: Open) -> None:
    store = open_store()
    write_episodes(make_writer(store, first_chunk_rows=2), [6, 6])
    assert [(chunk.meta.first_step, chunk.rows) for chunk in stored(store)] == [(0, 2), (2, 5), (7, 5)]


@pytest.mark.parametrize("rows", [0, 6])
def test_a_first_chunk_of_an_impossible_length_is_refused(open_store: Open, rows: int) -> None:
    with pytest.raises(ValueError, match=f"first_chunk_rows is {rows}: allowed are 1 to 5"):
        make_writer(open_store(), first_chunk_rows=rows)


def test_truncate_between_episodes_changes_nothing(open_store: Open) -> None:
    store = open_store()
    writer = make_writer(store)
    writer.truncate()
    write_episodes(writer, [5])
    writer.truncate()
    [chunk] = stored(store)
    np.testing.assert_array_equal(np.flatnonzero(chunk.is_last), [4])


def test_flush_sends_a_short_last_chunk_and_ends_its_episode(open_store: Open) -> None:
    store = open_store()
    writer = make_writer(store)
    for count in range(7):
        write(writer, count, first=count == 0)
    writer.flush()
    writer.flush()
    chunks = stored(store)
    assert [(chunk.meta.first_step, chunk.rows) for chunk in chunks] == [(0, 5), (5, 2)]
    assert chunks[1].is_last.tolist() == [False, True]
    assert writer.stats()["acknowledged_rows"] == 7


def test_a_terminal_row_stays_terminal(open_store: Open) -> None:
    store = open_store()
    writer = make_writer(store)
    write(writer, 0, first=True)
    write(writer, 1, last=True, terminal=True)
    writer.flush()
    assert stored(store)[0].is_terminal.tolist() == [False, True]


@pytest.mark.parametrize(
    ("before", "step", "message"),
    [
        ([], make_step(0), "row 0 of stream a.0.0 has is_first False: an episode begins with it"),
        (
            [{"first": True}],
            make_step(1, first=True),
            "row 1 .* has is_first True: the episode before it has not ended",
        ),
        ([{"first": True, "last": True}], make_step(1), "row 1 .* has is_first False: an episode begins with it"),
        ([{"first": True}], make_step(1, terminal=True), "row 1 .* is is_terminal but not is_last"),
    ],
)
def test_a_row_that_cannot_follow_the_row_before_is_refused(
    open_store: Open, before: list[dict[str, bool]], step: Step, message: str
) -> None:
    writer = make_writer(open_store())
    for count, flags in enumerate(before):
        write(writer, count, **flags)
    episode = EpisodeMeta(0, 1, "train", "random", {}) if step.is_first else None
    with pytest.raises(ValueError, match=message):
        writer.append(step, episode, policy_version=0, renderer="tiny")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("state", np.zeros(4, np.float32), "state of row 1 .*: 3 finite numbers are required"),
        ("state", np.array([0, np.nan, 0], np.float32), "3 finite numbers are required"),
        ("action", np.zeros(1, np.float32), "action of row 1 .*: 2 finite numbers are required"),
        ("reward", float("inf"), "reward of row 1 .* is inf"),
        ("image", np.zeros((1, 4, 6, 3), np.uint8), r"image of row 1 .* is uint8\[1, 4, 6, 3\]: uint8\[2, 4, 6, 3\]"),
        ("image", np.zeros((2, 4, 6, 3), np.float32), "image of row 1 .* is float32"),
        ("image", None, "row 1 .* has only one of image and state_at_exposure"),
        ("state_at_exposure", None, "row 1 .* has only one of image and state_at_exposure"),
        ("state_at_exposure", np.array([0, np.inf, 0], np.float32), "state_at_exposure of row 1 .*: 3 finite numbers"),
    ],
)
def test_a_row_that_does_not_fit_the_spec_is_refused(open_store: Open, field: str, value: object, message: str) -> None:
    writer = make_writer(open_store())
    write(writer, 0, first=True)
    step = make_step(1)
    setattr(step, field, value)
    with pytest.raises(ValueError, match=message):
        writer.append(step, None, policy_version=0, renderer="tiny")
    assert writer.stats()["appended_rows"] == 1


def test_action_and_reward_of_a_first_row_are_zero(open_store: Open) -> None:
    writer = make_writer(open_store())
    step = make_step(0, first=True)
    step.reward = 1.0
    with pytest.raises(ValueError, match="nothing led to it"):
        writer.append(step, EpisodeMeta(0, 1, "train", "random", {}), policy_version=0, renderer="tiny")


def test_an_episode_is_given_with_its_first_row_and_only_then(open_store: Open) -> None:
    writer = make_writer(open_store())
    with pytest.raises(ValueError, match="an episode is given with is_first and only then"):
        writer.append(make_step(0, first=True), None, policy_version=0, renderer="tiny")
    write(writer, 0, first=True)
    with pytest.raises(ValueError, match="an episode is given with is_first and only then"):
        writer.append(make_step(1), EpisodeMeta(0, 1, "train", "random", {}), policy_version=0, renderer="tiny")


def test_a_chunk_has_images_in_all_rows_or_in_none(open_store: Open) -> None:
    store = open_store()
    blind = make_writer(store)
    for count in range(5):
        step = make_step(count, first=count == 0, last=count == 4)
        step.image = step.state_at_exposure = None
        episode = EpisodeMeta(0, 1, "train", "random", {}) if step.is_first else None
        blind.append(step, episode, policy_version=0, renderer="tiny")
    assert (store.stats()["chunks"], store.stats()["image_chunks"]) == (1, 0)
    blinking = make_writer(store, "a.0.1")
    write(blinking, 0, first=True)
    step = make_step(1)
    step.image = step.state_at_exposure = None
    blinking.append(step, None, policy_version=0, renderer="tiny")
    with pytest.raises(ValueError, match=r"chunk a\.0\.1:0 has 1 images for 2 rows: all or none"):
        blinking.flush()


def test_a_stream_has_one_writer_ever(open_store: Open) -> None:
    store = open_store()
    make_writer(store)
    make_writer(store, "a.1.0")
    with pytest.raises(ValueError, match=r"stream a\.0\.0 of run run has a writer already"):
        make_writer(store)


def test_a_put_whose_reply_was_lost_is_repeated_and_counted_once(
    open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(retry_seconds=5.0)
    put, tries = store.put, []

    def put_and_lose_the_reply(chunk: Chunk) -> bool:
        tries.append(put(chunk))
        if len(tries) % 2:
            raise redis.ConnectionError("connection reset by peer")
        return tries[-1]

    monkeypatch.setattr(store, "put", put_and_lose_the_reply)
    write_episodes(make_writer(store), [10])
    assert tries == [True, False, True, False]
    assert [chunk.meta.first_step for chunk in stored(store)] == [0, 5]
    assert store.stats()["inserted_rows"] == 10


def test_rows_are_kept_while_the_server_does_not_take_them(open_store: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(retry_seconds=0.0)
    writer = make_writer(store)
    put = store.put

    def refuse(chunk: Chunk) -> bool:
        raise redis.ConnectionError("no route to host")

    monkeypatch.setattr(store, "put", refuse)
    for count in range(7):
        if count < 5:
            write(writer, count, first=count == 0)
        else:
            with pytest.raises(ConnectionError):
                write(writer, count)
    monkeypatch.setattr(store, "put", put)
    write(writer, 7)
    writer.flush()
    np.testing.assert_array_equal(np.concatenate([chunk.state[:, 0] for chunk in stored(store)]), np.arange(8))


def test_a_refusal_that_may_pass_is_told_apart_from_one_that_does_not(client: redis.Redis, open_store: Open) -> None:
    """For the one the run waits, as for a server that is away; the other ends it."""
    store = open_store(retry_seconds=0.0)
    writer = make_writer(store)
    client.config_set("maxmemory", 1)
    with pytest.raises(ConnectionError, match=r"took no chunk of stream a\.0\.0 for 0 s: .*maxmemory"):
        write_episodes(writer, [5])
    client.config_set("maxmemory", 0)
    client.set(store.key("index"), "no sorted set")
    with pytest.raises(RuntimeError, match=r"took no chunk of stream a\.0\.0 for 0 s: .*WRONGTYPE"):
        writer.flush()
    client.delete(store.key("index"))
    writer.flush()
    assert store.stats()["inserted_rows"] == writer.stats()["acknowledged_rows"] > 0


def test_a_server_that_died_is_named_in_one_line(server: EmbeddedServer, open_store: Open) -> None:
    store = open_store(retry_seconds=0.1)
    writer = make_writer(store)
    server.stop()
    with pytest.raises(ConnectionError) as caught:
        write_episodes(writer, [5])
    assert str(caught.value).startswith(f"Redis at {server.url} took no chunk of stream a.0.0 for 0.1 s: ")
    assert "\n" not in str(caught.value)
    assert writer.stats()["acknowledged_rows"] == 0
