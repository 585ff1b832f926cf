"""A training over five hosts, and what becomes of it when cables are cut and processes are killed.

Redis, Ray's head with the driver, the learner's host and two actors' hosts, each a network namespace of its own.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hosts import missing
from ray_hosts import SECONDS, RayHosts, wait_until
from running import SMALL, instead, lines, of_kind, report

from deploy.runs.directory import RunDirectory
from deploy.settings.specification import stream_spec
from replay import Chunk, EmbeddedServer, ReplayStore, connect
from replay.shards import KEY_PREFIX, hash_tags

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800), pytest.mark.skipif(bool(missing()), reason=missing())]

MOST_SECONDS, MOST_SECONDS_AFTER_A_NODE = 30.0, 60.0
"""Within which environment steps flow again after a fault, and after the loss of a node."""

CUT_SECONDS = 20.0
AWAY_SECONDS = 5.0
"""Between the end of Redis and its new start."""

TRAIN = instead(
    ("train", "reach", "--mode", "cluster", *SMALL),
    *("training.env_steps=20000", "training.metrics_every_seconds=0.5", "training.checkpoint_every_seconds=2"),
    *("learner.teacher_samples_per_insert=0.5", "learner.student_samples_per_insert=0.25"),
    "actors.count=4",
    *("replay.capacity_steps=100000",),
)


@dataclass
class Fault:
    """What was done, and how long no step came."""

    what: str
    most_seconds: float
    resumed_after: float = 0.0


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayHosts]:
    with RayHosts(tmp_path_factory.mktemp("hosts")) as running:
        yield running


class Training:
    """The run under way, as it is seen from outside."""

    def __init__(self, hosts: RayHosts, run: Path) -> None:
        self.hosts, self.run = hosts, run
        self._log, self._counted = run.with_suffix(".log"), run.with_suffix(".counted")
        self.driver = hosts.drive([*TRAIN, "--run-dir", str(run)], self._log)
        self.until((run / "config.json").exists)
        (tag,) = hash_tags(RunDirectory.open(run).run_id, 1)
        hosts.count_env_steps(f"{KEY_PREFIX}{{{tag}}}:counters", self._counted)

    def counted(self) -> list[tuple[float, int]]:
        """(unix seconds, environment steps that Redis has)."""
        text = self._counted.read_text() if self._counted.exists() else ""
        return [(float(a), int(b)) for a, b in (line.split() for line in text.splitlines() if line.count(" ") == 1)]

    def env_steps(self) -> int:
        return self.counted()[-1][1] if self.counted() else 0

    def until(self, condition: Callable[[], bool]) -> None:
        def holds() -> bool:
            assert self.driver.poll() is None, self.said()
            return condition()

        wait_until(holds, self.said)

    def until_steps_flow(self) -> None:
        """A good number of steps more than now."""
        goal = self.env_steps() + 100
        self.until(lambda: self.env_steps() >= goal)

    def said(self) -> str:
        text = self._log.read_text()[-3000:]
        driver = self.run / "logs" / "driver.log"
        return text + (driver.read_text()[-3000:] if driver.exists() else "")

    def longest_pause(self, since: float) -> float:
        """Seconds that passed without a new step, at most, from then to now."""
        points = self.counted()
        last, longest = since, 0.0
        for (_, before), (moment, steps) in zip(points, points[1:], strict=False):
            if moment >= since and steps > before:
                longest, last = max(longest, moment - last), moment
        return max(longest, time.time() - last)


def test_a_run_survives_all_that_hosts_can_do_to_it(hosts: RayHosts, tmp_path: Path) -> None:
    training = Training(hosts, tmp_path / "run")
    training.until(lambda: last(training.run, "actors/running") == 4 and last(training.run, "teacher/updates") > 0)
    faults: list[Fault] = []

    def suffers(what: str, done: Callable[[], None], most_seconds: float = MOST_SECONDS) -> None:
        training.until_steps_flow()
        began = time.time()
        done()
        training.until_steps_flow()
        # The driver has heard from the learner again: no fault before the last one is over.
        over = time.time()
        training.until(lambda: last(training.run, "time") > over)
        faults.append(Fault(what, most_seconds, training.longest_pause(began)))

    a, b, redis = (hosts.lan.hosts[name] for name in ("actors-a", "actors-b", "redis"))
    suffers("cable of an actors' host cut for 20 s", lambda: cut_for_a_while(a), MOST_SECONDS_AFTER_A_NODE)
    suffers("SIGKILL of the other actors' host", b.kill, MOST_SECONDS_AFTER_A_NODE)
    hosts.join_ray("actors-b")
    suffers("SIGKILL of the learner", lambda: kill_learner(hosts))
    suffers("SIGKILL of Redis, started again", lambda: kill_redis(hosts))
    training.driver.wait(SECONDS)
    assert training.driver.returncode == 0, training.said()

    found = report(training.run)
    print_table(faults, found["lost_rows"])
    assert found["env_steps"] >= 20000
    assert found["lost_rows"] == 0
    assert found["learner_restarts"] == 1
    assert found["replay_outages"] == 1
    assert found["restarts"].get("node_lost", 0) >= 1
    for fault in faults:
        assert fault.resumed_after <= fault.most_seconds, fault
    steps = [count for _, count in training.counted()]
    assert steps == sorted(steps), "what Redis had acknowledged is never gone"
    assert_whole(hosts, training.run, found)


def last(run: Path, key: str) -> float:
    rows = of_kind("train", lines(run))
    return float(rows[-1][key]) if rows else 0.0


def cut_for_a_while(host: Any) -> None:
    host.cut()
    time.sleep(CUT_SECONDS)
    host.mend()


def kill_learner(hosts: RayHosts) -> None:
    (learner,) = hosts.lan.hosts["learner"].processes("ray::LearnerActor")
    os.kill(learner, signal.SIGKILL)


def kill_redis(hosts: RayHosts) -> None:
    hosts.lan.hosts["redis"].kill()
    time.sleep(AWAY_SECONDS)
    hosts.start_redis()


def print_table(faults: list[Fault], lost_rows: int) -> None:
    print(f"\n{'fault':<45} {'seconds without a step':>22}")
    for fault in faults:
        print(f"{fault.what:<45} {fault.resumed_after:>22.1f}")
    print(f"rows acknowledged by Redis and lost, in all: {lost_rows}")


def assert_whole(hosts: RayHosts, run: Path, found: dict[str, Any]) -> None:
    """The replay has every stream without a gap, and as many steps as it counted."""
    hosts.lan.hosts["redis"].kill()
    config = RunDirectory.open(run).config
    with EmbeddedServer(hosts.directory, max_bytes=config.replay.memory_bytes) as server:
        store = ReplayStore(connect(server.url), RunDirectory.open(run).run_id, stream_spec(config), config.replay)
        counted, chunks = store.stats(), store.read_states(store.state_ids())
    assert counted["quarantined_chunks"] == counted["evicted_chunks"] == 0
    streams: dict[str, list[Chunk]] = {}
    for chunk in chunks:
        streams.setdefault(chunk.meta.stream_id, []).append(chunk)
    for stream in streams.values():
        ends = np.cumsum([chunk.rows for chunk in stream])
        assert [chunk.meta.first_step for chunk in stream] == [0, *ends[:-1]]
    assert sum(chunk.env_steps for chunk in chunks) == counted["env_steps"] == found["env_steps"]
