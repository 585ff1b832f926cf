"""A Ray cluster over hosts of its own: a head that runs no actor, a learner's host, two of actors, and one of Redis."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from hosts import Host, Lan, python
from private_head import PATIENCE, inherited_environment

from replay.server import find_redis_server

REDIS_PORT, GCS_PORT = 6380, 6379
RESOURCES: Mapping[str, Mapping[str, int]] = {
    "head": {"twist_head": 1},
    "learner": {"twist_learner": 1},
    "actors-a": {"twist_actor": 2},
    "actors-b": {"twist_actor": 2},
}
NAMES = ("redis", *RESOURCES)
SECONDS = 300.0
"""Nothing here takes so long; it only keeps what hangs from hanging the tests."""

_COUNT = """
import redis, sys, time
client = redis.Redis(host=sys.argv[1], port=int(sys.argv[2]), password=sys.argv[3], socket_timeout=1, retry=None)
key = sys.argv[4]
while True:
    try:
        print(time.time(), int(client.hget(key, "env_steps") or 0), flush=True)
    except redis.RedisError:
        pass
    time.sleep(0.1)
"""
"""Prints the environment steps that Redis has acknowledged, ten times a second."""


class RayHosts:
    """The cluster. Use it as a context manager.

    Attributes:
        lan: its hosts.
        redis_url: of the replay, with its password.
    """

    def __init__(self, directory: Path) -> None:
        """Nothing is started yet; `directory` gets logs and Redis's files."""
        self.directory = directory
        self.lan = Lan(NAMES)
        self._password = secrets.token_hex(16)
        self.redis_url = f"redis://default:{self._password}@{self.lan.hosts['redis'].address}:{REDIS_PORT}/0"
        self.environment = {
            **inherited_environment(),
            **PATIENCE,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
            "TWIST_REDIS_URL": self.redis_url,
            # As Ray sets it for a job's driver, which would otherwise look for any Ray that runs on this machine.
            "RAY_ADDRESS": f"{self.lan.hosts['head'].address}:{GCS_PORT}",
        }

    def __enter__(self) -> RayHosts:
        self.lan.__enter__()
        try:
            self.start_redis()
            self.start_ray("head", "--head", f"--port={GCS_PORT}", f"--temp-dir={self.lan.ray}", "--num-cpus=0")
            self._wait_for(self.lan.hosts["head"], GCS_PORT)
            for name in ("learner", "actors-a", "actors-b"):
                self.join_ray(name)
        except BaseException:
            self.lan.remove()
            raise
        return self

    def __exit__(self, *raised: object) -> None:
        self.lan.remove()

    def start_redis(self) -> None:
        """As cluster.yaml does on its head: with a password, and a log that has all that was acknowledged."""
        host = self.lan.hosts["redis"]
        settings = {
            "bind": host.address,
            "port": REDIS_PORT,
            "requirepass": self._password,
            "dir": self.directory,
            "appendonly": "yes",
            "appendfsync": "always",
            "save": '""',
            "maxmemory-policy": "noeviction",
        }
        file = self.directory / "redis.conf"
        file.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        host.start([find_redis_server(), str(file)], self.directory / "redis.log", self.environment)
        self._wait_for(host, REDIS_PORT)

    def join_ray(self, name: str) -> None:
        """Starts the Ray of a host that is not the head."""
        self.start_ray(name, f"--address={self.environment['RAY_ADDRESS']}", "--num-cpus=2")

    def start_ray(self, name: str, *flags: str) -> None:
        """Starts the Ray of a host; it is not waited for."""
        host = self.lan.hosts[name]
        resources = f"--resources={json.dumps(RESOURCES[name])}"
        more = ("--include-dashboard=false",) if "--head" in flags else ()
        fixed = ("--block", "--disable-usage-stats", "--object-store-memory=150000000")
        ray = str(Path(sys.executable).parent / "ray")
        host.start(
            [ray, "start", *flags, *fixed, *more, f"--node-ip-address={host.address}", resources],
            self.log(name),
            self.environment,
        )

    def log(self, name: str) -> Path:
        """What a host's processes say."""
        return self.directory / f"{name}.log"

    def drive(self, arguments: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
        """Starts `twist` on the head."""
        return self.lan.hosts["head"].run_inside(python("-m", "deploy", *arguments), log, self.environment)

    def count_env_steps(self, key: str, log: Path) -> subprocess.Popen[bytes]:
        """Begins to write `seconds env_steps` lines, as Redis has them."""
        where = (self.lan.hosts["redis"].address, str(REDIS_PORT), self._password)
        return self.lan.hosts["head"].run_inside(python("-c", _COUNT, *where, key), log, self.environment)

    def _wait_for(self, host: Host, port: int) -> None:
        """Until a server on a host accepts connections; asked from that host."""
        ask = f"import socket; socket.create_connection(({host.address!r}, {port}), 1).close()"

        def answers() -> bool:
            asked = host.run_inside(python("-c", ask), self.directory / "asked.log", self.environment)
            return asked.wait(SECONDS) == 0

        wait_until(answers, lambda: f"nothing listens on port {port} of {host.address}")


def wait_until(condition: Callable[[], bool], said: Callable[[], str]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, said()
        time.sleep(0.1)
