"""How much a Redis server takes: stub actors write real chunks at a given rate, and a sampler reads beside them.

    python tests/cluster/stub_actors.py --task push --actors 160 --rows-per-second 40 --seconds 30

The chunks are real: episodes of the task in the run's shapes, from the simulator, as many of them with images as the
preset says. The actors are stubs: each writes the same few chunks again and again under its own stream, as fast as its
share of the rate says, and steps nothing. With --compress-once it also compresses each of them once only, as a machine
of few cores could not play many actors otherwise. What is measured is what Redis, its log and the sampling do, not what
actors can do: that is what actor_rate.py measures.

    python tests/cluster/stub_actors.py --blocked 100 --seconds 20

measures instead what actors cost that the learner holds up: the driver looks how its loops stand, and gives them no
credit. With --polling each of them asks Redis by itself, as actors did before there were credits.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
import threading
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import zstandard

from actors.slot import CREDIT_PAUSE_SECONDS
from deploy.settings.presets import resolve
from deploy.settings.specification import stream_spec
from replay import (
    SCHEMA_VERSION,
    Chunk,
    ChunkMeta,
    EmbeddedServer,
    EpisodeMeta,
    ReplayConfig,
    ReplayStore,
    SamplesPerInsert,
    StreamSpec,
    codec,
    connect,
)
from replay.credits import RowCredits
from replay.limiter import LimiterPlan, read_balances
from replay.sampler import StudentSampler, TeacherSampler
from sim import make_env

RUN = "load"


@dataclass(frozen=True)
class Load:
    """What is written and read.

    Attributes:
        url: of the server.
        spec: of the chunks.
        config: of the replay.
        actors: how many streams there are; one per actor, as the number of environments does not matter to Redis.
        rows_per_second: of each actor.
        seconds: how long.
        compress_once: whether a chunk that is written again is not compressed again.
    """

    url: str
    spec: StreamSpec
    config: ReplayConfig
    actors: int
    rows_per_second: float
    seconds: float
    compress_once: bool


class CompressesOnce:
    """In place of zstandard's compressor."""

    known: ClassVar[dict[int, bytes]] = {}

    def __init__(self, level: int) -> None:
        self._compressor = zstandard.ZstdCompressor(level=level)

    def compress(self, data: memoryview) -> bytes:
        """The chunks stay where they are in memory, and are not changed."""
        where = np.asarray(data).ctypes.data
        if where not in self.known:
            self.known[where] = self._compressor.compress(data)
        return self.known[where]


def record(task: str, spec: StreamSpec, config: Any, count: int) -> list[Chunk]:
    """A few full chunks of random actions."""
    env: Any = make_env(task, config.sim)
    chunks = []
    rng = np.random.default_rng(0)
    for number in range(count):
        names = ("state", "image", "shown", "action", "reward", "first", "last")
        rows: dict[str, list[Any]] = {name: [] for name in names}
        observation, info = env.reset(seed=number)
        meta, renderer = EpisodeMeta(0, number, "train", "random", dict(info["randomisation"])), str(info["renderer"])
        reward, last, action = 0.0, False, np.zeros(spec.action_dim, np.float32)
        for row in range(spec.chunk_length):
            seen = (observation["state"], observation["image"], info["state_at_exposure"])
            values = (*seen, action, reward, row == 0, last)
            for name, value in zip(rows, values, strict=True):
                rows[name].append(value)
            if last:
                break
            action = rng.uniform(-1.0, 1.0, spec.action_dim).astype(np.float32)
            observation, reward, _, last, info = env.step(action)
        image = np.array(rows["image"], np.uint8)
        chunks.append(
            Chunk(
                state=np.array(rows["state"], np.float32),
                image=image.reshape(len(image), spec.views, *spec.image_shape),
                state_at_exposure=np.array(rows["shown"], np.float32),
                action=np.array(rows["action"], np.float32),
                reward=np.array(rows["reward"], np.float32),
                is_first=np.array(rows["first"]),
                is_last=np.array(rows["last"]),
                is_terminal=np.zeros(len(image), np.bool_),
                meta=ChunkMeta(SCHEMA_VERSION, RUN, "stub", 0, 0, renderer, "stub", (meta,)),
            )
        )
    env.close()
    return chunks


def write(load: Load, chunks: list[Chunk], actors: range, results: Any) -> None:
    """Plays some of the actors, in one process."""
    if load.compress_once:
        codec.zstandard = SimpleNamespace(ZstdCompressor=CompressesOnce)  # type: ignore[assignment]
    store = ReplayStore(connect(load.url), RUN, load.spec, load.config)
    written = dict.fromkeys(actors, 0)
    took: list[float] = []
    each = len(chunks[0].reward) / load.rows_per_second / len(actors)
    began = time.monotonic()
    late = cpu = 0.0
    number = 0
    while time.monotonic() < began + load.seconds:
        actor = actors[number % len(actors)]
        chunk = chunks[number % len(chunks)]
        stream = f"stub{actor}.0.0"
        meta = replace(chunk.meta, stream_id=stream, actor_id=f"stub{actor}", first_step=written[actor])
        at, used = time.monotonic(), time.process_time()
        store.put(replace(chunk, meta=meta))
        took.append(time.monotonic() - at)
        cpu += time.process_time() - used
        written[actor] += chunk.rows
        number += 1
        ahead = began + number * each - time.monotonic()
        late = max(late, -ahead)
        if ahead > 0:
            time.sleep(ahead)
    results.put({"rows": sum(written.values()), "took": took, "late": late, "cpu": cpu})


def read(load: Load, kind: str, batch: int, results: Any) -> None:
    """Samples batches as fast as they come."""
    store = ReplayStore(connect(load.url), RUN, load.spec, load.config)
    sampler = (TeacherSampler if kind == "teacher" else StudentSampler)(store, batch, 0, prefetch=2)
    began, rows = time.monotonic(), 0
    while time.monotonic() < began + load.seconds:
        rows += int(sampler.sample(30.0)["valid"].sum())
    sampler.close()
    results.put({"rows": rows})


def read_together(load: Load, batches: dict[str, int], results: Any) -> None:
    """Samples for teacher and student as fast as they come, in two threads of one process, as the learner does."""
    store = ReplayStore(connect(load.url), RUN, load.spec, load.config)
    made: dict[str, int] = {}

    def sample(kind: str, batch: int) -> None:
        sampler = (TeacherSampler if kind == "teacher" else StudentSampler)(store, batch, 0, prefetch=2)
        began, made[kind] = time.monotonic(), 0
        while time.monotonic() < began + load.seconds:
            sampler.sample(30.0)
            made[kind] += 1
        sampler.close()

    threads = [threading.Thread(target=sample, args=item) for item in batches.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results.put(made)


def measure_together(load: Load, chunks: list[Chunk], batches: dict[str, int]) -> dict[str, float]:
    """Batches a second out of a replay that is full enough, with nobody writing."""
    context = multiprocessing.get_context("spawn")
    results, written = context.Queue(), context.Queue()
    write(replace(load, seconds=3.0, rows_per_second=1e6), chunks, range(load.actors), written)
    process = context.Process(target=read_together, args=(load, batches, results))
    process.start()
    made = results.get()
    process.join()
    return {f"batches_per_second_{kind}": count / load.seconds for kind, count in made.items()}


def measure_blocked(url: str, spec: StreamSpec, config: ReplayConfig, given: argparse.Namespace) -> dict[str, float]:
    """What Redis's core spends on actors that may not add a row."""
    client = connect(url)
    store = ReplayStore(client, RUN, spec, config)
    plans = [LimiterPlan(name, 8.0, min_rows=0) for name in ("teacher", "student")]
    limiters = [SamplesPerInsert(store, plan, None) for plan in plans]
    client.hset(store.key("counters"), "inserted_rows", "1000000")
    credits = RowCredits(
        partial(read_balances, store, plans), plans, tolerance_rows=1000, chunk_rows=100, actor_rows=2400
    )
    before, began = client.info("cpu"), time.monotonic()
    if given.polling:
        context = multiprocessing.get_context("spawn")
        pollers = [
            context.Process(target=poll, args=(url, spec, config, count, given.seconds))
            for count in shared(given.blocked, given.processes)
        ]
        for process in pollers:
            process.start()
        for process in pollers:
            process.join()
    else:
        while time.monotonic() < began + given.seconds:
            credits.look()
            refused = [
                credits.grant(f"stub{actor}", random=False, among=given.blocked) for actor in range(given.blocked)
            ]
            assert not any(refused)
            time.sleep(CREDIT_PAUSE_SECONDS)
    after, seconds = client.info("cpu"), time.monotonic() - began
    used = sum(float(after[name]) - float(before[name]) for name in ("used_cpu_sys", "used_cpu_user"))
    assert all(limiter.owes() for limiter in limiters)
    return {
        "blocked_actors": given.blocked,
        "redis_cpu_share": used / seconds,
        "redis_cpu_ms_per_actor_and_second": 1e3 * used / seconds / given.blocked,
    }


def shared(count: int, among: int) -> list[int]:
    return [len(range(first, count, among)) for first in range(min(among, count))]


def poll(url: str, spec: StreamSpec, config: ReplayConfig, actors: int, seconds: float) -> None:
    """Plays actors that ask two limiters by themselves every 20 ms: each for the rows sampled, and those of a shard."""
    store = ReplayStore(connect(url), RUN, spec, config)

    def ask() -> None:
        client = connect(url)
        began = time.monotonic()
        while time.monotonic() < began + seconds:
            for name in ("teacher", "student"):
                pipeline = client.pipeline(transaction=False)
                pipeline.hget(store.key(f"balance:{name}"), "sampled")
                for shard in range(config.shards):
                    pipeline.hget(store.key("counters", shard), "inserted_rows")
                pipeline.execute()
            time.sleep(0.02)

    threads = [threading.Thread(target=ask) for _ in range(actors)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def measure(load: Load, chunks: list[Chunk], processes: int, batches: dict[str, int]) -> dict[str, float]:
    """Runs writers and readers side by side; rates are over the whole time."""
    context = multiprocessing.get_context("spawn")
    writers, readers = context.Queue(), {kind: context.Queue() for kind in batches}
    shares = [range(first, load.actors, processes) for first in range(min(processes, load.actors))]
    running = [context.Process(target=write, args=(load, chunks, share, writers)) for share in shares]
    client = connect(load.url)
    before = client.info("cpu")
    for process in running:
        process.start()
    time.sleep(1.0)  # so that there is something to sample
    running += [
        context.Process(target=read, args=(load, kind, batch, readers[kind])) for kind, batch in batches.items()
    ]
    for process in running[len(shares) :]:
        process.start()
    wrote = [writers.get() for _ in shares]
    sampled = {kind: queue.get()["rows"] / load.seconds for kind, queue in readers.items()}
    for process in running:
        process.join()
    after = client.info("cpu")
    stats = ReplayStore(client, RUN, load.spec, load.config).stats()
    took = np.concatenate([one["took"] for one in wrote])
    used = sum(float(after[name]) - float(before[name]) for name in ("used_cpu_sys", "used_cpu_user"))
    rows = sum(one["rows"] for one in wrote)
    return {
        "actors": load.actors,
        "asked_rows_per_second": load.actors * load.rows_per_second,
        "rows_per_second": rows / load.seconds,
        "bytes_per_row": stats["bytes"] / stats["rows"],
        "megabytes_per_second": rows / load.seconds * stats["bytes"] / stats["rows"] / 1e6,
        "put_ms_median": 1e3 * float(np.median(took)),
        "put_ms_99": 1e3 * float(np.quantile(took, 0.99)),
        "late_seconds": max(one["late"] for one in wrote),
        "redis_cpu_share": used / load.seconds,
        "writer_cpu_ms_per_chunk": 1e3 * sum(one["cpu"] for one in wrote) / len(took),
        "redis_bytes_per_row": float(client.info("memory")["used_memory"]) / stats["rows"],
        **{f"sampled_rows_per_second_{kind}": rate for kind, rate in sampled.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="push")
    parser.add_argument("--redis-url", help="default: a server of its own, as in mode local")
    parser.add_argument("--fsync", default="no", choices=("no", "everysec", "always"), help="of that server")
    parser.add_argument("--actors", type=int, default=160)
    parser.add_argument("--rows-per-second", type=float, default=40.0, help="of each actor")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--compress-once", action="store_true")
    parser.add_argument("--processes", type=int, default=1, help="that play the actors")
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--teacher-batch", type=int, default=0, help="sequences; 0: nobody samples")
    parser.add_argument("--student-batch", type=int, default=0)
    parser.add_argument("--together", action="store_true", help="both samplers in one process, and nobody writes")
    parser.add_argument("--blocked", type=int, default=0, help="actors that are held up; nobody writes or samples")
    parser.add_argument("--polling", action="store_true", help="each of these asks Redis by itself")
    given = parser.parse_args()
    config = resolve(given.task, None, [f"replay.shards={given.shards}", "replay.append_fsync=" + given.fsync])
    spec = stream_spec(config)
    chunks = [] if given.blocked else record(given.task, spec, config, 12)
    without = round(len(chunks) * config.actors.state_only_envs / config.actors.envs_per_actor)
    chunks = [replace(chunk, image=None, state_at_exposure=None) for chunk in chunks[:without]] + chunks[without:]
    batches = {"teacher": given.teacher_batch, "student": given.student_batch}
    batches = {kind: batch for kind, batch in batches.items() if batch}

    def run(url: str) -> None:
        if given.blocked:
            print(json.dumps({**measure_blocked(url, spec, config.replay, given), "cpus": os.cpu_count()}, indent=2))
            return
        load = Load(url, spec, config.replay, given.actors, given.rows_per_second, given.seconds, given.compress_once)
        if given.together:
            told = measure_together(load, chunks, batches)
        else:
            told = measure(load, chunks, given.processes, batches)
        print(json.dumps({**told, "cpus": os.cpu_count()}, indent=2))

    if given.redis_url:
        run(given.redis_url)
        return
    with (
        tempfile.TemporaryDirectory() as directory,
        EmbeddedServer(Path(directory), max_bytes=config.replay.memory_bytes, fsync=given.fsync) as server,
    ):
        run(server.url)


if __name__ == "__main__":
    main()
