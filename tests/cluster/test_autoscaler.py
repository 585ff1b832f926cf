"""Ray's own autoscaler and our pool: nodes come while the learner lacks rows, and go when it does not.

A real head with Ray's autoscaler; the cloud is a double of Ray's own (its "fake multi-node" provider), which starts the
nodes it is asked for as processes of this machine.
"""

from __future__ import annotations

import json
import re
import secrets
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hosts import Host, Lan, missing, python
from private_head import PATIENCE, inherited_environment
from ray_hosts import SECONDS, wait_until
from running import SMALL, instead, lines, report

from replay.server import find_redis_server

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800), pytest.mark.skipif(bool(missing()), reason=missing())]

GCS_PORT, REDIS_PORT = 6379, 6380
MOST_NODES = 3

CLUSTER = (
    *("--mode", "cluster", *SMALL),
    *("training.metrics_every_seconds=0.5", "actors.resize_seconds=2", "actors.rows_per_call=32"),
)
HUNGRY = ("learner.teacher_samples_per_insert=0.05", "learner.student_samples_per_insert=0")
"""An update asks for so many rows that actors are what is lacking."""
SATURATED = ("learner.teacher_samples_per_insert=64", "learner.student_samples_per_insert=0")
"""A row asks for so many updates that the learner is what is lacking."""

_WATCH = """
import ray, sys, time
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
while True:
    nodes = [node for node in ray.nodes() if node["Alive"] and "twist_actor" in node["Resources"]]
    print(time.time(), len(nodes), flush=True)
    time.sleep(0.5)
"""


@dataclass
class Autoscaled:
    """The cluster."""

    head: Host
    directory: Path
    environment: Mapping[str, str]

    def nodes(self) -> list[int]:
        """Actors' nodes that were alive, twice a second since the start; a watcher that ends says why between them."""
        text = (self.directory / "nodes.log").read_text()
        return [int(count) for count in re.findall(r"^\d+\.\d+ (\d+)$", text, re.MULTILINE)]

    def train(self, run: Path, *settings: str) -> Any:
        """Starts a training; the process."""
        arguments = ["train", "reach", *instead(CLUSTER, *settings), "--run-dir", str(run)]
        return self.head.run_inside(python("-m", "deploy", *arguments), run.with_suffix(".log"), self.environment)

    def until(self, what: str, holds: Any) -> None:
        def said() -> str:
            monitors = sorted(self.directory.glob("**/monitor.log"))
            return "\n".join([what, str(self.nodes()[-40:]), *(file.read_text()[-2000:] for file in monitors)])

        wait_until(holds, said)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Autoscaled]:
    directory = tmp_path_factory.mktemp("autoscaled")
    with Lan(["head"]) as lan:
        head = lan.hosts["head"]
        environment = {
            **inherited_environment(),
            **PATIENCE,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_FAKE_CLUSTER": "1",
            "RAY_enable_autoscaler_v2": "0",
            "AUTOSCALER_UPDATE_INTERVAL_S": "1",
            "RAY_ADDRESS": f"{head.address}:{GCS_PORT}",
            "TWIST_REDIS_URL": f"redis://{head.address}:{REDIS_PORT}/0",
        }
        config = directory / "autoscaling.json"
        config.write_text(json.dumps(_autoscaling(head)))
        ray = str(Path(sys.executable).parent / "ray")
        resources = json.dumps({"twist_head": 1, "twist_learner": 1})
        flags = ("--head", "--block", f"--port={GCS_PORT}", "--disable-usage-stats", "--include-dashboard=false")
        flags += ("--num-cpus=0", f"--autoscaling-config={config}", "--object-store-memory=150000000")
        flags += (f"--node-ip-address={head.address}", f"--temp-dir={lan.ray}", f"--resources={resources}")
        head.start([ray, "start", *flags], directory / "head.log", environment)
        redis = [find_redis_server(), "--bind", head.address, "--port", str(REDIS_PORT), "--protected-mode", "no"]
        head.run_inside([*redis, "--save", "", "--dir", str(directory)], directory / "redis.log", environment)
        watch = python("-c", _WATCH, f"{head.address}:{GCS_PORT}")
        running = Autoscaled(head, directory, environment)
        watching = head.run_inside(watch, directory / "nodes.log", environment)

        def watches() -> bool:
            nonlocal watching
            if watching.poll() is not None:  # the head was not up yet
                (directory / "nodes.log").unlink()
                watching = head.run_inside(watch, directory / "nodes.log", environment)
            return bool(running.nodes())

        wait_until(watches, (directory / "head.log").read_text)
        yield running


def _autoscaling(head: Host) -> dict[str, Any]:
    """What `ray up` would have made of a cluster.yaml, for Ray's double of a cloud."""
    empty = ("cluster_synced_files", "initialization_commands", "setup_commands", "head_setup_commands")
    empty += ("worker_setup_commands", "head_start_ray_commands", "worker_start_ray_commands")
    return {
        **{name: [] for name in (*empty, "rsync_exclude", "rsync_filter")},
        "cluster_name": "twist-test",
        "max_workers": MOST_NODES,
        "provider": {
            "type": "fake_multinode",
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
            "gcs_address": f"{head.address}:{GCS_PORT}",
        },
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "actors": {
                "resources": {"CPU": 1, "twist_actor": 1, "object_store_memory": 100 * 2**20},
                "node_config": {},
                "min_workers": 0,
                "max_workers": MOST_NODES,
            },
        },
        "head_node_type": "ray.head.default",
        "upscaling_speed": 1.0,
        "idle_timeout_minutes": 0.1,
        "auth": {},
        "file_mounts": {},
        "file_mounts_sync_continuously": False,
    }


def test_nodes_come_while_the_learner_starves_and_the_cap_holds(cluster: Autoscaled, tmp_path: Path) -> None:
    run = tmp_path / "run"
    training = cluster.train(run, *HUNGRY, "actors.max=2", "training.env_steps=1000000")
    cluster.until("the learner starves: two nodes", lambda: cluster.nodes()[-1] == 2)
    cluster.until("and both are in use", lambda: _last(run, "actors/running") == 2)
    resized = [row for row in lines(run) if row.get("event") == "pool_resized"]
    assert [row["actors"] for row in resized] == [2]
    assert "actors' time" in resized[0]["reason"]
    training.terminate()
    training.wait(SECONDS)
    cluster.until("a run that was stopped leaves no node behind", lambda: cluster.nodes()[-1] == 0)
    assert max(cluster.nodes()) == 2, "three would be allowed by the cluster, two by the run"


def test_nodes_leave_while_the_learner_is_saturated(cluster: Autoscaled, tmp_path: Path) -> None:
    run = tmp_path / "run"
    training = cluster.train(run, *SATURATED, "actors.max=3", "actors.count=3", "training.env_steps=1000000")
    cluster.until("three to begin with", lambda: cluster.nodes()[-1] == 3)
    cluster.until("one is enough", lambda: cluster.nodes()[-1] == 1)
    resized = [row for row in lines(run) if row.get("event") == "pool_resized"]
    assert [row["actors"] for row in resized][-1] == 1
    assert _last(run, "actors/running") == 1
    assert _last(run, "replay/env_steps") > 0
    training.terminate()
    training.wait(SECONDS)


def test_spent_actor_hours_end_a_run_on_many_nodes(cluster: Autoscaled, tmp_path: Path) -> None:
    run = tmp_path / "run"
    cap = ("actors.max_hours=0.01", "training.env_steps=1000000", "training.student_updates=0")
    training = cluster.train(run, *HUNGRY, "actors.max=3", "actors.count=3", *cap)
    assert training.wait(SECONDS) == 0, run.with_suffix(".log").read_text()[-3000:]
    assert 0.01 <= _last(run, "actors/hours") < 0.02
    assert report(run)["env_steps"] > 0


def _last(run: Path, key: str) -> float:
    return next((float(row[key]) for row in reversed(lines(run)) if key in row), 0.0)
