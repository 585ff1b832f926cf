"""`twist doctor`: tries everything that training needs on this machine, and says in plain words what it found."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from deploy.commands.arguments import Parser
from deploy.runs.versions import versions

_GIB = 2**30
_ENOUGH_MEMORY_GIB = 6.0
_ENOUGH_DISK_GIB = 2.0
_RAY_SECONDS = 60.0
_RENDERED_STEPS = 100
_OLDEST, _NEWEST = (3, 10), (3, 11)
"""Python versions that PyBullet has wheels for."""


class Verdict(Enum):
    """What a finding means for training on this machine."""

    OK = "ok"
    NOTE = "note"
    """Works, but there is something to know."""
    BROKEN = "broken"


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    subject: str
    verdict: Verdict
    text: str


def run(arguments: list[str]) -> int:
    """Runs `twist doctor` and gives its exit code."""
    parser = Parser("doctor", "Tries everything that training needs, and says what is missing.")
    parser.add_argument("--redis-url", metavar="URL", help="also try this Redis server (default: TWIST_REDIS_URL)")
    given = parser.parse_args(arguments)

    from deploy.training.replay_address import given_url

    return examine(given_url(given.redis_url))


def examine(redis_url: str | None = None) -> int:
    """Prints one line for each thing that training needs.

    Args:
        redis_url: a Redis server to try besides the embedded one.

    Returns:
        The exit code: 0 if training can run here, 1 if not.
    """
    broken = []
    for finding in findings(redis_url):
        print(f"{finding.verdict.value:>6}  {finding.subject:<9} {finding.text}", flush=True)
        if finding.verdict is Verdict.BROKEN:
            broken.append(finding.subject)
    print("everything that training needs works" if not broken else f"not working: {', '.join(broken)}")
    return 1 if broken else 0


def findings(redis_url: str | None = None) -> Iterator[Finding]:
    """Examines one thing after the other; nothing that goes wrong with one keeps the others from their turn."""
    checks: list[tuple[str, Callable[[], Finding]]] = [
        ("python", _python),
        ("packages", _packages),
        ("machine", _machine),
        ("disk", _disk),
        ("gpu", _gpu),
        ("redis", _embedded_redis),
        ("renderer", _renderer),
        ("ray", _ray),
    ]
    if redis_url is not None:
        checks.append(("server", lambda: _given_redis(redis_url)))
    for subject, check in checks:
        try:
            yield check()
        except Exception as error:  # whatever it is, it is what this command is to find
            reason = " ".join(str(error).split()) or "no reason given"
            yield Finding(subject, Verdict.BROKEN, f"{type(error).__name__}: {reason}")


def _python() -> Finding:
    fits = _OLDEST <= sys.version_info[:2] <= _NEWEST
    text = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if not fits:
        text += "; PyBullet, and so training, needs 3.10 or 3.11"
    return Finding("python", Verdict.OK if fits else Verdict.BROKEN, text)


def _packages() -> Finding:
    found = {name: version for name, version in versions().items() if name != "python"}
    if found["twist"] == "missing":
        found["twist"] = "from a checkout that is not installed"
    missing = [name for name, version in found.items() if version == "missing"]
    text = ", ".join(f"{name} {version}" for name, version in found.items())
    return Finding("packages", Verdict.BROKEN if missing else Verdict.OK, text)


def _machine() -> Finding:
    cores = len(os.sched_getaffinity(0))
    memory = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / _GIB
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):
            memory = int(line.split()[1]) * 1024 / _GIB  # free memory and what caches would give back
    text = f"{cores} CPU core{'s' if cores != 1 else ''}, {memory:.1f} GiB of memory available"
    if memory < _ENOUGH_MEMORY_GIB:
        return Finding("machine", Verdict.NOTE, f"{text}; the defaults may need up to {_ENOUGH_MEMORY_GIB:.0f} GiB")
    return Finding("machine", Verdict.OK, text)


def _disk() -> Finding:
    here, free = Path.cwd(), shutil.disk_usage(Path.cwd()).free / _GIB
    text = f"{free:.1f} GiB free in {here}"
    if not os.access(here, os.W_OK):
        return Finding("disk", Verdict.NOTE, f"{text}, but it is not yours to write: runs need a --run-dir elsewhere")
    if free < _ENOUGH_DISK_GIB:
        return Finding("disk", Verdict.NOTE, f"{text}; a run may need {_ENOUGH_DISK_GIB:.0f} GiB for replay and report")
    return Finding("disk", Verdict.OK, text)


def _gpu() -> Finding:
    import torch

    from learner.config import LearnerConfig
    from learner.devices import gpus_used

    if not torch.cuda.is_available():
        built = "" if torch.version.cuda else " (this build of torch can use none)"
        return Finding("gpu", Verdict.NOTE, f"none that torch can use{built}; the learner runs on the CPU")
    names = []
    for index in range(torch.cuda.device_count()):
        torch.zeros(1, device=f"cuda:{index}").cpu()  # a driver too old for this torch fails here, not above
        properties = torch.cuda.get_device_properties(index)
        names.append(f"{properties.name} with {properties.total_memory / _GIB:.0f} GiB")
    return Finding("gpu", Verdict.OK, f"{', '.join(names)}; {gpus_used(LearnerConfig())}")


def _embedded_redis() -> Finding:
    from replay.server import EmbeddedServer, connect

    began = time.monotonic()
    with tempfile.TemporaryDirectory() as directory, EmbeddedServer(Path(directory), max_bytes=2**27) as server:
        client = connect(server.url)
        client.ping()
        milliseconds = 1000 * (time.monotonic() - began)
        version = client.info("server")["redis_version"]
        client.close()
    return Finding("redis", Verdict.OK, f"a server of our own, version {version}, starts in {milliseconds:.0f} ms")


def _given_redis(url: str) -> Finding:
    from replay.access import ALL_ROLES
    from replay.address import redact
    from replay.config import ReplayConfig
    from replay.connection import connect, nodes
    from replay.server_versions import notes_on_versions
    from replay.suitability import require_suitable

    with connect(url) as client:
        servers = nodes(client)
        began = time.monotonic()
        for server in servers.values():
            server.ping()
        milliseconds = 1000 * (time.monotonic() - began) / len(servers)
        notes = require_suitable(client, ReplayConfig(), [ALL_ROLES]) + notes_on_versions(client)
    kind = "answers" if len(servers) == 1 else f"is a cluster of {len(servers)} nodes that answer"
    text = f"{redact(url)} {kind} in {milliseconds:.1f} ms, with room and rights for a replay of the default size"
    return Finding("server", Verdict.NOTE if notes else Verdict.OK, "; ".join([text, *notes]))


def _renderer() -> Finding:
    from sim import make_env
    from sim.config import SimConfig

    env = make_env("reach", SimConfig(), domain="train", views=1)
    try:
        observation, info = env.reset(seed=0)
        env.action_space.seed(0)
        began = time.monotonic()
        for _ in range(_RENDERED_STEPS):
            observation, _, _, truncated, _ = env.step(env.action_space.sample())
            if truncated:
                observation, info = env.reset()
        rate = _RENDERED_STEPS / (time.monotonic() - began)
    finally:
        env.close()
    image = observation["image"]
    if image.min() == image.max():
        return Finding("renderer", Verdict.BROKEN, f"{info['renderer']} gives an image of one colour")
    height, width = image.shape[:2]
    text = f"{info['renderer']}: {rate:.0f} steps/s with {height}×{width} images on one core"
    return Finding("renderer", Verdict.OK, text)


def _ray() -> Finding:
    from deploy.process.scratch import scratch
    from deploy.training.ray_session import ray_session

    began = time.monotonic()
    with scratch() as place, ray_session("local", place):
        import ray

        def process() -> int:
            return os.getpid()

        answer = ray.get(ray.remote(process).remote(), timeout=_RAY_SECONDS)
        seconds = time.monotonic() - began
    if answer == os.getpid():
        return Finding("ray", Verdict.BROKEN, "a task ran in this process instead of a worker's")
    return Finding("ray", Verdict.OK, f"a worker starts and answers in {seconds:.1f} s")
