"""cluster.yaml: accepted by Ray, and the nodes are what its first lines say."""

import copy
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from redis_binaries import redis_binary

from replay.access import ROLES, require_rights
from replay.server import connect

FILE = Path(__file__).parents[1] / "cluster.yaml"


@pytest.fixture(scope="module")
def cluster() -> dict[str, Any]:
    with FILE.open() as file:
        return dict(yaml.safe_load(file))


@pytest.fixture
def prepared(cluster: dict[str, Any]) -> dict[str, Any]:
    return dict(prepare_config(copy.deepcopy(cluster)))


def test_ray_accepts_it(prepared: dict[str, Any]) -> None:
    validate_config(prepared)


def test_a_mistake_in_it_would_be_found(cluster: dict[str, Any]) -> None:
    broken = copy.deepcopy(cluster)
    broken["available_node_types"]["actors"]["min_wrokers"] = 0
    with pytest.raises(Exception, match="min_wrokers"):
        validate_config(prepare_config(broken))


def test_the_head_runs_no_actor_and_the_learner_has_a_gpu_on_demand(prepared: dict[str, Any]) -> None:
    nodes = prepared["available_node_types"]
    assert prepared["head_node_type"] == "head"
    assert nodes["head"]["resources"]["CPU"] == 0
    assert "twist_actor" not in nodes["head"]["resources"]
    assert nodes["learner"]["resources"]["GPU"] == 1
    assert nodes["learner"]["min_workers"] == nodes["learner"]["max_workers"] == 1
    assert "InstanceMarketOptions" not in nodes["learner"]["node_config"]
    assert "InstanceMarketOptions" not in nodes["head"]["node_config"]


def test_actors_get_spot_nodes_from_none_upwards(prepared: dict[str, Any]) -> None:
    actors = prepared["available_node_types"]["actors"]
    assert actors["min_workers"] == 0
    assert actors["max_workers"] > 0
    assert actors["node_config"]["InstanceMarketOptions"]["MarketType"] == "spot"
    assert actors["resources"]["twist_actor"] > 0
    assert "GPU" not in actors["resources"]


def test_all_nodes_may_be_up_at_once(prepared: dict[str, Any]) -> None:
    nodes = prepared["available_node_types"]
    workers = sum(node["max_workers"] for name, node in nodes.items() if name != prepared["head_node_type"])
    assert prepared["max_workers"] == workers


def test_it_says_what_is_not_tested() -> None:
    assert "NOT TESTED" in FILE.read_text()


@pytest.mark.parametrize("again", [False, True], ids=["first-start", "restart"])
def test_the_heads_commands_start_redis_with_a_password(cluster: dict[str, Any], tmp_path: Path, again: bool) -> None:
    binaries = {name: redis_binary(name) for name in ("redis-server", "redis-cli")}
    if shutil.which("openssl") is None:
        pytest.skip("no openssl on the PATH")
    (tmp_path / "twist-venv" / "bin").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    for name, binary in binaries.items():
        (tmp_path / "bin" / name).symlink_to(binary)
    twist = tmp_path / "twist-venv" / "bin" / "twist"
    twist.write_text(f'#!/bin/sh\nPYTHONPATH={FILE.parent} exec {sys.executable} -m deploy "$@"\n')
    twist.chmod(0o755)
    with socket.socket() as free:
        free.bind(("127.0.0.2", 0))
        port = str(free.getsockname()[1])
    (setup,) = [command for command in cluster["head_setup_commands"] if "redis.conf" in command]
    (start,) = [command for command in cluster["head_start_ray_commands"] if "redis-server" in command]

    def shell(command: str) -> None:
        # Another port and address, as a server of somebody else's may listen on the real ones.
        command = command.replace("6380", port).replace("$(hostname -I | cut -d' ' -f1)", "127.0.0.2")
        environment = {**os.environ, "HOME": str(tmp_path), "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
        subprocess.run(["bash", "-c", command], env=environment, check=True, timeout=60)

    def told() -> dict[str, str]:
        return {file.stem: file.read_text().strip() for file in (tmp_path / "twist-redis").glob("*.url")}

    shell(setup)
    urls = told()
    try:
        shell(start)
        client = connect(urls["twist-driver"])
        client.hset("twist:kept", "said", "yes")
        if again:
            shell(setup)
            shell(start)
            assert told() == urls
        assert client.hget("twist:kept", "said") == b"yes"
        for role in ROLES:
            require_rights(connect(urls[f"twist-{role}"]), [role])
        for nobody in (re.sub("driver:.*@", "driver:wrong@", urls["twist-driver"]), f"redis://127.0.0.2:{port}/0"):
            with pytest.raises(ConnectionError):
                connect(nobody)
        for file in (tmp_path / "twist-redis").iterdir():
            assert file.suffix not in (".conf", ".url") or file.stat().st_mode & 0o077 == 0
    finally:
        started = tmp_path / "twist-redis" / "redis.pid"
        if started.exists():
            os.kill(int(started.read_text()), signal.SIGTERM)


def test_jobs_on_the_head_find_our_python_and_the_url_of_redis(cluster: dict[str, Any], tmp_path: Path) -> None:
    (start,) = [command for command in cluster["head_start_ray_commands"] if "ray start" in command]
    binaries = tmp_path / "twist-venv" / "bin"
    binaries.mkdir(parents=True)
    (tmp_path / "twist-redis").mkdir()
    for role in ("driver", "actor", "learner"):
        (tmp_path / "twist-redis" / f"twist-{role}.url").write_text(f"redis://{role}:hunter2@10.0.0.1:6380/0\n")
    # Instead of Ray, which hands its environment down to the jobs on its node: what would be handed down.
    urls = "$TWIST_REDIS_URL $TWIST_ACTOR_REDIS_URL $TWIST_LEARNER_REDIS_URL"
    (binaries / "ray").write_text(f'#!/bin/sh\ncommand -v python\necho "{urls} $RAY_AUTH_MODE $@"\n')
    (binaries / "python").write_text("#!/bin/sh\n")
    for name in ("ray", "python"):
        (binaries / name).chmod(0o755)
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(["bash", "-c", start], env=environment, capture_output=True, text=True, check=True)
    python, given = done.stdout.splitlines()
    assert python == str(binaries / "python")
    *told, mode, start, head = given.split()[:6]
    assert told == [f"redis://{role}:hunter2@10.0.0.1:6380/0" for role in ("driver", "actor", "learner")]
    assert (mode, start, head) == ("token", "start", "--head")
