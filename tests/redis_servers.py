"""Real redis-servers for the tests: one with any settings, or a cluster of several; each ends with its context."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import redis

from replay.server import find_redis_server

LOOPBACK = "127.0.0.1"
SLOTS = 16384
SECONDS = 60.0
"""Nothing here takes so long, but on a machine that is busy with something else."""

_CLUSTER_BUS = 10_000
"""Above a node's port is that on which the nodes talk to each other."""


@dataclass
class Server:
    """A redis-server under way; `admin` is connected as its default user."""

    port: int
    pid: int
    password: str = field(repr=False)

    @property
    def admin(self) -> redis.Redis:
        return redis.Redis(port=self.port, password=self.password or None, decode_responses=True)

    def url(self, user: str = "", password: str | None = None, *, database: int = 0) -> str:
        """Where it is, for a user; without arguments for the default one."""
        password = self.password if password is None else password
        login = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user or password else ""
        return f"redis://{login}{LOOPBACK}:{self.port}/{database}"


@contextmanager
def redis_server(
    directory: Path, *, password: str = "", port: int | None = None, **settings: object
) -> Iterator[Server]:
    """Runs a server.

    Args:
        directory: for its files; made if missing.
        password: of the default user.
        port: to listen on; a free one if it is not given.
        settings: as in redis.conf, with underscores.
    """
    directory.mkdir(parents=True, exist_ok=True)
    port = free_port() if port is None else port
    lines = {"port": port, "bind": LOOPBACK, "dir": directory, "save": '""', "logfile": directory / "log", **settings}
    if password:
        lines["requirepass"] = password
    # A file, as nobody should do otherwise: what stands in a command line can be read by everybody.
    file = directory / "redis.conf"
    file.write_text("".join(f"{name.replace('_', '-')} {value}\n" for name, value in lines.items()))
    process = subprocess.Popen([find_redis_server(), str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    server = Server(port, process.pid, password)
    try:
        _await_answer(server, process, directory / "log")
        yield server
    finally:
        process.terminate()
        try:
            process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def redis_cluster(
    directory: Path,
    *,
    password: str = "",
    announced: Sequence[int] = (),
    ranges: Sequence[range] = (),
    **settings: object,
) -> Iterator[list[Server]]:
    """Runs a cluster whose nodes have equal shares of the slots.

    Args:
        directory: for its files.
        password: of the default user of every node.
        announced: ports that the nodes tell their clients instead of their own, one for each.
        ranges: slots of each node; as many nodes as there are. Three with equal shares if it is not given.
        settings: of every node.
    """
    ranges = ranges or equal_ranges(3)
    with ExitStack() as stack:
        nodes = []
        for number in range(len(ranges)):
            port, more = free_port(with_bus=True), dict(settings)
            if announced:
                more |= {"cluster_announce_port": announced[number], "cluster_announce_bus_port": port + _CLUSTER_BUS}
            nodes.append(
                stack.enter_context(
                    redis_server(
                        directory / str(number),
                        password=password,
                        port=port,
                        cluster_enabled="yes",
                        # A machine that is busy may not answer for seconds, which must not look like a failure.
                        cluster_node_timeout=60_000,
                        **more,
                    )
                )
            )
        for number, (node, slots) in enumerate(zip(nodes, ranges, strict=True)):
            with node.admin as admin:
                if slots:
                    admin.execute_command("CLUSTER ADDSLOTS", *slots)
                admin.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
                if number:
                    bus = nodes[0].port + _CLUSTER_BUS
                    admin.execute_command("CLUSTER MEET", LOOPBACK, nodes[0].port, bus)
        await_agreement(nodes, sum(len(slots) for slots in ranges))
        yield nodes


def equal_ranges(nodes: int) -> list[range]:
    bounds = [number * SLOTS // nodes for number in range(nodes + 1)]
    return [range(first, end) for first, end in zip(bounds, bounds[1:], strict=False)]


def await_agreement(nodes: Sequence[Server], slots: int = SLOTS) -> None:
    """Waits until every node knows of all, and who has which slots."""
    deadline = time.monotonic() + SECONDS
    for node in nodes:
        with node.admin as admin:
            while True:
                told = admin.execute_command("CLUSTER INFO")
                told = told if isinstance(told, dict) else dict(line.split(":", 1) for line in told.split())
                known, assigned = int(told["cluster_known_nodes"]), int(told["cluster_slots_assigned"])
                fine = told["cluster_state"] == "ok" or slots < SLOTS
                if known == len(nodes) and assigned == slots and fine:
                    break
                assert time.monotonic() < deadline, told
                time.sleep(0.02)


def make_user(nodes: Sequence[Server], name: str, password: str, rules: Sequence[str]) -> None:
    """Makes the user on every node; the rules come first, as `reset` may be among them."""
    for node in nodes:
        with node.admin as admin:
            admin.execute_command("ACL", "SETUSER", name, *rules, "on", f">{password}")


def free_port(*, with_bus: bool = False) -> int:
    """A port that is free, and the one of a cluster's bus with it."""
    while True:
        with socket.socket() as free, socket.socket() as bus:
            free.bind((LOOPBACK, 0))
            port: int = free.getsockname()[1]
            if not with_bus:
                return port
            try:
                bus.bind((LOOPBACK, port + _CLUSTER_BUS))
            except (OSError, OverflowError):
                continue
            return port


def speaks_tls() -> bool:
    """Whether the redis-server that is found was built with TLS: then it asks for a certificate, and ends."""
    done = subprocess.run(
        [find_redis_server(), "--port", "0", "--tls-port", str(free_port())],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return "No tls-cert-file configured" in done.stdout


def _await_answer(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + SECONDS
    with server.admin as admin:
        while True:
            try:
                admin.ping()
                return
            except redis.ConnectionError as error:
                said = log.read_text() if log.exists() else "nothing"
                assert process.poll() is None, f"redis-server ended with {process.returncode}: {said}"
                assert time.monotonic() < deadline, f"{error}: {said}"
                time.sleep(0.01)
