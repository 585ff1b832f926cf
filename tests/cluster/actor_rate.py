"""What one actor core collects: a real worker on the task's environments, with the policy's networks and a real Redis.

    python tests/cluster/actor_rate.py --task push --seconds 60

The networks are untrained, which costs as much as trained ones. One process and one thread, as a Ray actor has them;
Redis runs beside it, and its time is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import torch

from actors.plan import WorkerPlan
from deploy.settings.presets import resolve
from deploy.settings.specification import stream_spec
from learner.learner import Learner
from replay import EmbeddedServer, ReplayStore, connect


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="push")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("settings", nargs="*", help="as for twist train")
    given = parser.parse_args()
    torch.set_num_threads(1)
    config = resolve(given.task, None, given.settings)
    spec = stream_spec(config)
    learner = Learner(spec, config.learner, seed=0)
    learner.resume_counters({"teacher": 1, "student": config.learner.student.warm_up_updates})
    weights, version = learner.publish()
    with (
        tempfile.TemporaryDirectory() as directory,
        EmbeddedServer(Path(directory), max_bytes=config.replay.memory_bytes) as server,
    ):
        store = ReplayStore(connect(server.url), "rate", spec, config.replay)
        plan = WorkerPlan(config.task, config.sim, config.learner, config.actors, run_id="rate", seed=0)
        worker = plan.build(store, "actor0", incarnation=0)
        worker.set_weights(weights, version)
        worker.collect(1)  # what happens once: meshes are read, memory is taken
        rows, began, cpu = 0, time.monotonic(), time.process_time()
        while time.monotonic() < began + given.seconds:
            rows += worker.collect(500).rows
        seconds, used = time.monotonic() - began, time.process_time() - cpu
        worker.drain()
        stats = store.stats()
    told = {
        "environments": config.actors.envs_per_actor,
        "without_images": config.actors.state_only_envs,
        "rows_per_second": rows / seconds,
        "rows_per_cpu_second": rows / used,
        "bytes_per_row": stats["bytes"] / stats["rows"],
        "weights_megabytes": weights.nbytes / 1e6,
        "cpus": os.cpu_count(),
    }
    print(json.dumps(told, indent=2))


if __name__ == "__main__":
    main()
