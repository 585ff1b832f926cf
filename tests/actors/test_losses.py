"""What becomes of processes that are lost: each of Ray's errors has its meaning, and each loss its cause and an end."""

import inspect
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import doomed_workers
import pytest
import ray
from counting_world import SIM
from credit import credit_for_all
from doomed_workers import (
    AbortsInItsCalls,
    HasNoMemoryInItsCalls,
    KillsItself,
    SegfaultsWhenBuilt,
    StopsInItsCalls,
    StopsWhenBuilt,
)
from ray import exceptions
from ray.exceptions import RayTaskError

from actors import ActorsConfig
from actors.actor import ActorPlan
from actors.losses import AWAY, DIED, KINDS, NODE_LOST, OURS, OUT_OF_MEMORY, PROCESS, kind_of, loss_by
from actors.patience import Patience, Watch
from actors.placement import place_of, places
from actors.plan import WorkerPlan
from actors.pool import ActorPool
from actors.rollout_stats import RolloutStats
from actors.slot import ActorFailedError, Slot
from learner.config import LearnerConfig
from replay import EmbeddedServer, ReplayConfig, ReplayStore

AS_RAY_WRITES_IT = """1 worker(s) were killed due to the node running low on memory. \
Memory on the node (IP: 192.0.2.2, ID: a7f9) was 1.79GB used / 23.54GB limit (0.076188)
OOM kill reason: Memory usage 1925922816B exceeded threshold of 505530016B (2.0% of 25276502016B limit)
Object store memory usage: ...
To disable worker killing, set the environment variable `RAY_memory_monitor_refresh_ms` to zero."""


def raised(cause: Exception) -> RayTaskError:
    """As `ray.get` raises what a call of ours did."""
    return RayTaskError("collect", "", cause, proctitle="actor", pid=1, ip="127.0.0.1").as_instanceof_cause()


# --- the list ---------------------------------------------------------------------------------------------------------


def test_every_error_that_ray_has_is_sorted() -> None:
    """A new Ray with a new error fails here: say what it means in `actors.losses`."""
    all_of_them = {
        found for _, found in inspect.getmembers(exceptions, inspect.isclass) if issubclass(found, exceptions.RayError)
    }
    assert set(KINDS) == all_of_them


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (exceptions.OutOfMemoryError(AS_RAY_WRITES_IT), PROCESS),
        (exceptions.ActorDiedError(), PROCESS),
        (exceptions.ActorUnavailableError("cut", None), AWAY),
        (raised(ValueError("ours")), OURS),
        (raised(exceptions.OwnerDiedError("0" * 56, None, "")), "answer"),
        (raised(MemoryError("Unable to allocate")), PROCESS),
        (exceptions.RayActorError(actor_init_failed=True), OURS),
    ],
    ids=["killed for memory", "died", "unreachable", "ours", "argument lost", "no memory", "constructor"],
)
def test_an_error_is_sorted_by_what_it_says_of_the_process(error: exceptions.RayError, kind: str) -> None:
    assert kind_of(error) == kind


def test_a_loss_for_want_of_memory_says_how_much_there_is_and_what_to_lower() -> None:
    loss = loss_by(exceptions.OutOfMemoryError(AS_RAY_WRITES_IT), node_lives=True)
    assert loss.cause == OUT_OF_MEMORY
    assert loss.reason == (
        "its node was short of memory: 1.79GB of 23.54GB in use, Ray's limit is 0.47GB; close other programs, or lower "
        "actors.count, actors.envs_per_actor, replay.capacity_steps or learner.batch_size"
    )
    assert (
        "Unable to allocate 7 GiB; close"
        in loss_by(raised(MemoryError("Unable to allocate 7 GiB")), node_lives=True).reason
    )


def test_a_process_that_is_lost_with_its_node_is_told_from_one_that_died() -> None:
    assert loss_by(exceptions.ActorDiedError(), node_lives=False).cause == NODE_LOST
    assert loss_by(exceptions.ActorDiedError(), node_lives=True).cause == DIED


def test_the_advice_names_settings_that_there_are() -> None:
    from actors.losses import MEMORY_ADVICE
    from deploy.settings.help import describe_settings

    named = [word.strip(",") for word in MEMORY_ADVICE.split() if "." in word]
    assert named
    assert all(setting in describe_settings() for setting in named)


# --- pauses -----------------------------------------------------------------------------------------------------------


def test_pauses_grow_until_there_is_a_result_and_not_only_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.slot.time.monotonic", lambda: 0.0)
    slot = Slot("actor0", ActorsConfig(backoff_seconds=1.0, max_backoff_seconds=5.0))
    pauses = []
    for _ in range(4):
        slot.pause()
        pauses.append(slot.retry_at)
    slot.succeeded(RolloutStats("actor0", 0, 0, 0, (), 0, (), 0.0, 0.0, 0, 0.0, 0))
    slot.pause()
    assert [*pauses, slot.retry_at] == [1.0, 2.0, 4.0, 5.0, 1.0]


# --- patience ---------------------------------------------------------------------------------------------------------


class Clock:
    """Time that passes when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr("actors.patience.time.monotonic", lambda: self.now)

    def passes(self, seconds: float, watch: Watch) -> None:
        """As for somebody who looks all the while."""
        for _ in range(int(seconds)):
            self.now += 1.0
            watch.look()


def test_a_call_that_takes_too_long_is_noticed_and_the_wait_for_a_node_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)
    watch = Watch()
    patience = Patience(watch, 60.0, has_process=False)
    clock.passes(3_600, watch)
    assert not patience.is_over(lambda: False)
    assert not patience.is_over(lambda: True), "its time begins here"
    clock.passes(60, watch)
    assert not patience.is_over(lambda: False)
    clock.passes(1, watch)
    assert patience.is_over(lambda: False)


def test_who_was_stopped_together_with_us_is_not_hung(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    watch = Watch()
    patience = Patience(watch, 60.0, has_process=True)
    clock.now += 86_400.0
    assert not patience.is_over(lambda: True)
    clock.passes(56, watch)
    assert patience.is_over(lambda: True), "but then it has to go on"


# --- real processes ---------------------------------------------------------------------------------------------------


ray.cloudpickle.register_pickle_by_value(doomed_workers)  # the actors' path has no tests on it


@pytest.fixture
def doomed_pool(
    server: EmbeddedServer, make_store: Callable[..., ReplayStore], tmp_path: Path
) -> Callable[..., ActorPool]:
    def make(kind: type[WorkerPlan], **changes: float) -> ActorPool:
        store = make_store(config=ReplayConfig(retry_seconds=0.0))
        given = {"envs_per_actor": 1, "rows_per_call": 2, "backoff_seconds": 0.1, "max_errors": 1, **changes}
        actors = ActorsConfig(**given)
        worker = kind("counting", SIM, LearnerConfig(), actors, store.run_id, 0)
        return ActorPool(ActorPlan(worker, store.spec.to_json(), server.url, store.config), credit_for_all(), tmp_path)

    return make


def ended(pool: ActorPool) -> str:
    with pool, pytest.raises(ActorFailedError) as caught:
        while True:
            pool.poll(timeout_s=1.0)
    return str(caught.value)


@pytest.mark.usefixtures("ray_here")
@pytest.mark.parametrize(
    ("kind", "said"),
    [(SegfaultsWhenBuilt, "Fatal Python error: Segmentation fault"), (AbortsInItsCalls, "Fatal Python error: Aborted")],
)
def test_an_actor_that_crashes_natively_ends_the_run_with_what_it_said_and_its_log(
    kind: type[WorkerPlan],
    said: str,
    doomed_pool: Callable[..., ActorPool],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Not by Ray, for ever and without a word; also one that is built each time."""
    pool = doomed_pool(kind)
    with caplog.at_level(logging.WARNING):
        message = ended(pool)
    logs = sorted(tmp_path.glob("actor0-*.err"))
    assert pool.restarts == {"died": 2}
    assert len(logs) == 2
    assert f"actor0 was lost 2 times within 600 s, allowed are 1 (actors.max_errors); the last time: {said}" in message
    assert any(f"(its log: {log})" in message for log in logs)
    assert all("doomed_workers.py" in log.read_text() for log in logs), "where it crashed"
    assert caplog.text.count(f"actor0 is lost (died) and is replaced: {said}") == 2


@pytest.mark.usefixtures("ray_here")
@pytest.mark.parametrize(
    ("kind", "cause", "said"),
    [
        (
            HasNoMemoryInItsCalls,
            "out_of_memory",
            "there was not enough memory: Unable to allocate 7.00 TiB; close other",
        ),
        (KillsItself, "died", "it was killed, or crashed without a word"),
    ],
)
def test_an_actor_without_memory_or_a_word_is_a_loss_with_its_cause(
    kind: type[WorkerPlan], cause: str, said: str, doomed_pool: Callable[..., ActorPool]
) -> None:
    pool = doomed_pool(kind)
    assert said in ended(pool)
    assert pool.restarts == {cause: 2}


@pytest.mark.usefixtures("ray_here")
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (StopsInItsCalls, "collecting, it did not answer for 4 s"),
        (StopsWhenBuilt, "starting, it did not answer for 10 s"),
    ],
)
def test_an_actor_that_hangs_is_killed_and_replaced_and_its_hours_count(
    kind: type[WorkerPlan], said: str, doomed_pool: Callable[..., ActorPool]
) -> None:
    pool = doomed_pool(kind, hang_seconds=2.0, start_seconds=10.0, max_errors=0)
    assert said in ended(pool)
    assert pool.restarts == {"hung": 1}
    if kind is StopsInItsCalls:
        assert pool.take_seconds() > 4.0
        assert pool.take_seconds() < 4.0


@pytest.mark.usefixtures("ray_here")
def test_processes_lost_with_their_node_are_replaced_without_a_limit(
    doomed_pool: Callable[..., ActorPool], monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_a_node_that_is_gone(handle: object) -> object:
        place = place_of(handle)
        assert place is not None
        return replace(place, node_lives=False)

    monkeypatch.setattr("actors.last_words.place_of", on_a_node_that_is_gone)
    with doomed_pool(KillsItself) as pool:
        while pool.restarts["node_lost"] < 4:
            pool.poll(timeout_s=1.0)
    assert pool.restarts.keys() == {"node_lost"}


@pytest.mark.usefixtures("ray_here")
def test_a_place_is_known_as_soon_as_there_is_a_process() -> None:
    class Slow:
        def __init__(self) -> None:
            import time

            time.sleep(3)

        def node(self) -> tuple[int, str]:
            import os

            return os.getpid(), ray.get_runtime_context().get_node_id()

    never = ray.remote(Slow).options(num_cpus=0, resources={"never_there": 1}).remote()
    slow = ray.remote(Slow).options(num_cpus=0).remote()
    answer = slow.node.remote()
    while (place := place_of(slow)) is None:
        pass
    assert not ray.wait([answer], timeout=0)[0], "its constructor is not through"
    assert (place.pid, place.node_id) == ray.get(answer)
    assert place.node_lives
    assert place_of(never) is None
    assert places()[slow._actor_id.hex()] == place
    assert never._actor_id.hex() not in places()
