"""The rollout worker: who drives, what the policy is asked, and when it stops."""

from collections.abc import Sequence

import numpy as np
import pytest
from counting_world import CHUNK_LENGTH, SIM, assert_contiguous, assert_counted, counting_spec, joined, read_streams
from seeded_policy import SeededPolicy

from actors import ActorsConfig, PolicyError, RolloutWorker
from actors.plan import WorkerPlan
from deploy.settings.specification import spec_of
from learner import LearnerConfig
from sim import SimConfig, make_env
from sim.counting import decode_count

TEACHER_ONLY = np.array([0.0], np.float32)
STUDENT_READY = np.array([1.0], np.float32)


# ---------------------------------------------------------------- who drives


def test_actions_are_random_until_weights_arrive(make_store, make_worker) -> None:
    policy = SeededPolicy(3)
    worker = make_worker(make_store(), policy=policy)
    stats = worker.collect(100)

    assert policy.questions == []
    assert {episode.driver for episode in stats.episodes} == {"random"}
    assert stats.policy_version == 0


def test_the_student_drives_its_share_of_episodes_once_it_is_ready(make_store, make_worker) -> None:
    worker = make_worker(make_store(), config=ActorsConfig(envs_per_actor=4, student_fraction=0.5))
    worker.set_weights(TEACHER_ONLY, 1)
    before = worker.collect(400)
    worker.set_weights(STUDENT_READY, 2)
    worker.collect(100)  # lets the teacher's episodes end
    after = worker.collect(4000)

    assert {episode.driver for episode in before.episodes} == {"teacher"}
    share = np.mean([episode.driver == "student" for episode in after.episodes])
    assert 0.4 < share < 0.6


def test_the_driver_stays_the_same_within_an_episode(make_store, make_worker) -> None:
    policy = SeededPolicy(3)
    worker = make_worker(make_store(), policy=policy, config=ActorsConfig(envs_per_actor=4, student_fraction=0.5))
    worker.set_weights(STUDENT_READY, 1)
    worker.collect(400)

    for before, now in zip(policy.questions[:-1], policy.questions[1:], strict=True):
        assert np.all((before.student == now.student) | now.is_first)


def test_the_student_never_drives_an_environment_without_images(make_store, make_worker) -> None:
    worker = make_worker(
        make_store(),
        config=ActorsConfig(envs_per_actor=2, state_only_envs=2, student_fraction=1.0),
        make_state_only_env=lambda: make_env("counting", SIM, views=0),
    )
    worker.set_weights(STUDENT_READY, 1)
    stats = worker.collect(200)

    assert {episode.driver for episode in stats.episodes} == {"teacher"}


def test_weights_are_loaded_only_if_they_are_newer(make_store, make_worker) -> None:
    policy = SeededPolicy(3)
    worker = make_worker(make_store(), policy=policy)
    worker.set_weights(TEACHER_ONLY, 5)
    for version in (3, 5):
        worker.set_weights(STUDENT_READY, version)

    assert (policy.version, policy.student_ready) == (5, False)
    assert worker.collect(1).policy_version == 5


# ---------------------------------------------------------------- what the policy is asked


def test_the_policy_sees_each_observation_once_and_its_recurrent_state_is_carried_and_reset(
    make_store, make_worker
) -> None:
    policy = SeededPolicy(3)
    worker = make_worker(make_store(), policy=policy)
    worker.set_weights(TEACHER_ONLY, 1)
    for _ in range(30):
        worker.collect(5)

    assert len(policy.questions) > 30
    for question in policy.questions:
        step_in_episode = question.state[:, 1]
        # The policy's own count of steps since the last reset, handed back to it call after call.
        assert question.carry.tolist() == step_in_episode.tolist()
        assert question.is_first.tolist() == (step_in_episode == 0).tolist()


def test_the_policy_gets_images_only_for_the_students_rows_and_sees_the_first_view(make_store, make_worker) -> None:
    sim = SimConfig(image_size=16, views=2)
    policy = SeededPolicy(3)
    worker = make_worker(
        make_store(counting_spec(sim)),
        make_env=lambda: make_env("counting", sim),
        policy=policy,
        config=ActorsConfig(envs_per_actor=3, student_fraction=0.5),
    )
    worker.set_weights(TEACHER_ONLY, 1)
    worker.collect(100)
    assert all(question.image is None for question in policy.questions)

    worker.set_weights(STUDENT_READY, 2)
    worker.collect(400)
    asked = [question for question in policy.questions if question.image is not None]
    assert asked
    for question in asked:
        assert question.student.any()
        for image, state, student in zip(question.image, question.state, question.student, strict=True):
            # The counting environment's count stands at the very beginning, which is in view 0.
            assert decode_count(image) == (state[2] if student else 0)


def test_stored_actions_are_the_policys_and_stand_beside_what_they_led_to(make_store, make_worker) -> None:
    store = make_store()
    worker = make_worker(store, config=ActorsConfig(envs_per_actor=1))
    worker.set_weights(TEACHER_ONLY, 1)
    worker.collect(60)
    worker.drain()

    (chunks,) = read_streams(store).values()
    action, is_first = joined(chunks, "action"), joined(chunks, "is_first")
    twin = np.random.default_rng(0)  # what SeededPolicy draws from
    expected = [np.zeros(3) if first else twin.uniform(-1, 1, (1, 3))[0] for first in is_first]
    np.testing.assert_allclose(action, expected, atol=1e-6)


def test_an_action_that_is_not_finite_is_refused_and_never_stored(make_store, make_worker) -> None:
    store = make_store()
    policy = SeededPolicy(3)
    policy.step = lambda carry, state, *_: (np.full((len(state), 3), np.nan, np.float32), carry)  # type: ignore[method-assign]
    worker = make_worker(store, policy=policy)
    worker.set_weights(TEACHER_ONLY, 4)

    with pytest.raises(PolicyError, match="actions are not finite at version 4"):
        worker.collect(10)
    worker.drain()
    assert store.stats()["env_steps"] == 0


# ---------------------------------------------------------------- seeds


def episodes_of(worker: RolloutWorker) -> list[tuple[int, float]]:
    worker.set_weights(TEACHER_ONLY, 1)
    return [(episode.seed, episode.episode_return) for episode in worker.collect(200).episodes]


def test_the_same_seed_gives_the_same_rows(make_store, make_worker) -> None:
    rows = []
    for _ in range(2):
        store = make_store()
        worker = make_worker(store)
        worker.collect(100)
        worker.drain()
        rows.append({name: joined(chunks, "action").tobytes() for name, chunks in read_streams(store).items()})
    assert rows[0] == rows[1]


@pytest.mark.parametrize("other", [{"seed": 1}, {"incarnation": 1}, {"actor_id": "actor1"}])
def test_another_seed_incarnation_or_actor_gives_other_episodes(make_store, make_worker, other) -> None:
    seeds = [{seed for seed, _ in episodes_of(make_worker(make_store(), **changes))} for changes in ({}, other)]
    assert not seeds[0] & seeds[1]


def test_the_episodes_of_a_worker_are_all_different(make_store, make_worker) -> None:
    seeds = [seed for seed, _ in episodes_of(make_worker(make_store()))]
    assert len(set(seeds)) == len(seeds)


# ---------------------------------------------------------------- when it stops


def test_no_chunk_is_begun_that_credit_does_not_cover_and_each_one_begun_is_finished(make_store, make_worker) -> None:
    store = make_store()
    worker = make_worker(store, config=ActorsConfig(envs_per_actor=6))
    for _ in range(30):
        before = store.stats()["inserted_rows"]
        stats = worker.collect(10_000, credit=2 * CHUNK_LENGTH)
        # The newest row of an episode that goes on is held back, and tells that the chunk before it is complete.
        assert 0 < stats.rows <= 2 * (CHUNK_LENGTH + 1)
        assert stats.pending_rows == 0
        assert store.stats()["inserted_rows"] > before
    assert worker.collect(10_000, credit=0).rows == 0
    worker.drain()
    for chunks in read_streams(store).values():
        assert_contiguous(chunks)
        assert_counted(*(joined(chunks, name) for name in ("state", "image", "reward", "is_first", "is_last")))


def test_a_chunk_under_way_goes_on_without_more_credit_and_is_told_of(make_store, make_worker) -> None:
    store = make_store()
    worker = make_worker(store, config=ActorsConfig(envs_per_actor=2))
    worker.collect(10_000, credit=2 * CHUNK_LENGTH)  # the first chunks, which may be short
    begun = worker.collect(4, credit=3 * CHUNK_LENGTH)
    assert begun.pending_rows == 2 * CHUNK_LENGTH, "one chunk for each environment; the rest has lapsed"
    inserted = store.stats()["inserted_rows"]
    finished = worker.collect(10_000, credit=0)
    assert finished.rows > 0
    assert finished.pending_rows == 0
    assert store.stats()["inserted_rows"] == inserted + 2 * CHUNK_LENGTH


def test_environments_take_turns_where_credit_is_short(make_store, make_worker) -> None:
    """Also those that render nothing: their share of the rows is what it would be with credit for all."""
    store = make_store()
    worker = make_worker(
        store,
        config=ActorsConfig(envs_per_actor=3, state_only_envs=1),
        make_state_only_env=lambda: make_env("counting", SIM, views=0),
    )
    for _ in range(90):
        worker.collect(10_000, credit=CHUNK_LENGTH)
    worker.drain()
    rows = dict.fromkeys(("actor0.0.0", "actor0.0.1", "actor0.0.2"), 0)
    for chunk in store.read_states(store.state_ids()):
        rows[chunk.meta.stream_id] += chunk.rows
    assert max(rows.values()) < 1.3 * min(rows.values())


def test_an_environment_that_stands_still_in_mid_episode_keeps_its_recurrent_state(make_store, make_worker) -> None:
    policy = SeededPolicy(3)
    worker = make_worker(make_store(), policy=policy, config=ActorsConfig(envs_per_actor=4))
    worker.set_weights(TEACHER_ONLY, 1)
    for _ in range(60):
        worker.collect(10_000, credit=CHUNK_LENGTH)
    stood_in_mid_episode = False
    for question, after in zip(policy.questions[:-1], policy.questions[1:], strict=True):
        moved = (question.state[:, 2] != after.state[:, 2]) & ~after.is_first
        assert question.carry[moved].tolist() == question.state[moved, 1].tolist()
        stood_in_mid_episode |= bool((~moved & ~question.is_first & ~after.is_first).any())
    assert stood_in_mid_episode


def test_a_drained_worker_has_written_all_rows_and_collects_no_more(make_store, make_worker) -> None:
    store = make_store()
    worker = make_worker(store)
    stats = [worker.collect(10), worker.drain()]

    assert store.stats()["rows"] == sum(part.rows for part in stats) > 0
    with pytest.raises(RuntimeError, match="drained"):
        worker.collect(1)


def test_statistics_add_up_to_what_replay_counts(make_store, make_worker) -> None:
    store = make_store()
    worker = make_worker(store)
    parts = [worker.collect(70) for _ in range(5)] + [worker.drain()]

    counted = store.stats()
    assert counted["inserted_rows"] == sum(part.rows for part in parts)
    assert counted["env_steps"] == sum(part.env_steps for part in parts)
    episodes = [episode for part in parts for episode in part.episodes]
    # The counting environment's return is 1 + 2 + ... + steps, and its success is an even number of steps.
    for episode in episodes:
        assert episode.episode_return == episode.steps * (episode.steps + 1) / 2
        assert episode.success == (episode.steps % 2 == 0)
    first = parts[0]
    assert first.successes("random") == sum(episode.success for episode in first.episodes)
    assert len(first.returns("random")) == len(first.episodes)
    assert first.returns("student") == ()
    assert first.memory_mb > 10


@pytest.mark.parametrize(
    ("episode_steps", "lengths"),
    [(0, range(2, 9)), (2, (2, 3, 5, 6)), (7, range(2, 9)), (20, range(2, 8))],
    ids=["of any length", "two in a chunk", "one in a chunk", "in three chunks"],
)
def test_streams_that_begin_together_do_not_deliver_together(
    make_store, make_worker, episode_steps: int, lengths: Sequence[int]
) -> None:
    """First chunks are of any length; where chunks hold whole episodes, all others still do."""
    sim = SimConfig(image_size=16, episode_steps=episode_steps)
    store = make_store(spec_of(make_env("counting", sim), views=1, chunk_length=8))
    worker = make_worker(store, make_env=lambda: make_env("counting", sim), config=ActorsConfig(envs_per_actor=40))
    episodes = worker.collect(40 * 60).episodes

    streams = list(read_streams(store).values())
    assert {chunks[0].rows for chunks in streams} == set(lengths)
    for chunks in streams:
        assert {chunk.rows for chunk in chunks[1:]} == {store.spec.chunk_length}
        cut = chunks[0].rows < store.spec.chunk_length
        assert chunks[1].is_first[0] or not (cut and episode_steps)
    if episode_steps:
        assert {episode.steps for episode in episodes} == {episode_steps}, "what was cut short is no result"


# ---------------------------------------------------------------- where they play


def test_a_plans_workers_play_in_training_worlds_alone(make_store) -> None:
    sim = SimConfig(image_size=16, episode_steps=5)
    store = make_store(spec_of(make_env("reach", sim), views=1, chunk_length=6))
    actors = ActorsConfig(envs_per_actor=2, state_only_envs=1)
    worker = WorkerPlan("reach", sim, LearnerConfig(), actors, store.run_id, seed=0).build(store, "actor0", 0)
    worker.collect(60)
    worker.drain()
    episodes = [meta for chunk in store.read_states(store.state_ids()) for meta in chunk.meta.episodes]
    assert len(episodes) > 6
    assert {meta.domain for meta in episodes} == {"train"}


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("sim", "message"),
    [(SimConfig(image_size=32), "image of shape"), (SimConfig(image_size=16, views=2), "image of shape")],
)
def test_an_environment_that_does_not_fit_the_spec_is_refused_at_once(make_store, make_worker, sim, message) -> None:
    with pytest.raises(ValueError, match=message):
        make_worker(make_store(), make_env=lambda: make_env("counting", sim))


def test_more_environments_without_images_than_environments_are_refused() -> None:
    with pytest.raises(ValueError, match="state_only_envs=3: allowed are 0 to envs_per_actor=2"):
        ActorsConfig(envs_per_actor=2, state_only_envs=3)
