"""What Prometheus finds where Ray tells it to look: a real head, on this machine, and a driver's monitor."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from private_head import PrivateHead
from running import CHECKOUT

from deploy.training.prometheus import COUNTERS, EVENT_TAGS, EXPORTED_EVENTS, GAUGES, TAGS, exported_name
from learner.methods import METHODS, PARTS

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]

SECONDS = 900.0
"""Nothing here takes so long; it only keeps what hangs from hanging the tests."""

DRIVER = """
import io, sys, time
from dataclasses import replace
from pathlib import Path

from actors.rollout_stats import EpisodeResult, RolloutStats
from learner.process import LearnerStatus, PartStatus
from deploy.process.scratch import scratch
from deploy.training.monitor import RunMonitor
from deploy.reporting.progress import Goals, ProgressDisplay
from deploy.training.prometheus import GAUGES, PrometheusMetrics
from deploy.training.ray_session import ray_session
from deploy.reporting.metrics import MetricsWriter
from learner.loops import LoopReport


def losses(loop):
    return {key.partition("/")[2]: 0.5 for key in GAUGES if key.startswith(f"{loop}/loss_")}


episodes = tuple(EpisodeResult(driver, "train", 0, 50, 12.5, True, 1) for driver in ("teacher", "student"))
rollout = RolloutStats("actor0", 0, 100, 98, episodes, 3, (), 1.0, 4.0, 1, 500.0, 0)
loops = [LoopReport(10, losses(name), 1.0, 4.0, 7.0) for name in ("teacher", "student")]
teacher, student = PartStatus(loops[0], 30, 4.0, False, True), PartStatus(loops[1], 20, 2.0, False, True)
status = LearnerStatus({"teacher": teacher, "student": student})
display = ProgressDisplay("reach", Goals(1000, {"teacher": None, "student": 30}), stream=io.StringIO())
with scratch() as place, ray_session("cluster", place):
    monitor = RunMonitor(
        MetricsWriter(Path(sys.argv[1])),
        display,
        lambda crash: None,
        wall_seconds=0.0,
        env_steps=0,
        drivers=("teacher", "student"),
        stalled_seconds=1.0,
        exported=PrometheusMetrics("reach", "4f1c"),
    )
    monitor.add([rollout])
    monitor.event("actor_restart", cause="died")
    while True:
        monitor.add([replace(rollout, episodes=(), crashes=0)])
        monitor.actors_ran(4.0)
        replay = {"rows": 520.0, "bytes": 1e6, "evicted_rows": 3.0, "quarantined_chunks": 1.0}
        monitor.line(500, status, replay, running=2)
        print("line", flush=True)
        time.sleep(2)
"""


@contextlib.contextmanager
def driver(head: PrivateHead, directory: Path) -> Iterator[None]:
    """A driver on the head's node that writes lines of metrics."""
    process = subprocess.Popen(
        [sys.executable, "-c", DRIVER, str(directory / "metrics.jsonl")],
        cwd=CHECKOUT,
        env={**head.environment, "RAY_ADDRESS": head.books, "PYTHONPATH": str(CHECKOUT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "line\n"
        yield
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def samples(head: PrivateHead) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Every sample of ours, by metric, from all places that Ray tells Prometheus of."""
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for group in json.loads((head.directory / "prom_metrics_service_discovery.json").read_text()):
        for place in group["targets"]:
            # No token: whoever reaches the port may read it.
            with urllib.request.urlopen(f"http://{place}/metrics", timeout=60.0) as answer:
                text = answer.read().decode()
            for name, labels, value in re.findall(r"^(ray_twist_\w+)\{(.*)\} (\S+)$", text, re.MULTILINE):
                found.setdefault(name, []).append((dict(re.findall(r'(\w+)="([^"]*)"', labels)), float(value)))
    return found


def asked_for() -> set[str]:
    """Metrics in the dashboard that a run of twist has."""
    text = (CHECKOUT / "deploy" / "cluster" / "grafana.json").read_text(encoding="utf-8")
    return {name for name in re.findall(r"\bray_twist_\w+", text) if of_twist(name)}


def of_twist(name: str) -> bool:
    others = {*PARTS} - {part.name for part in METHODS["twist"].parts}
    return not others & {*re.split("[/_]", name)}


def test_all_that_the_dashboard_asks_for_is_there_with_its_labels(tmp_path: Path) -> None:
    assert len(asked_for()) > 20
    with PrivateHead() as head, driver(head, tmp_path):
        deadline = time.monotonic() + SECONDS
        found: dict[str, list[tuple[dict[str, str], float]]] = {}
        while not asked_for() <= set(found):
            assert time.monotonic() < deadline, sorted(asked_for() - set(found))
            time.sleep(2.0)
            with contextlib.suppress(OSError):  # the file, or the agent, is not there yet
                found = samples(head)
    for name in asked_for():
        (labels, value) = next(sample for sample in found[name])
        assert (labels["task"], labels["run_id"]) == ("reach", "4f1c")
        assert set(EVENT_TAGS if name == EXPORTED_EVENTS else TAGS) <= set(labels)
        assert value >= 0.0
    assert set(found) == {EXPORTED_EVENTS, *map(exported_name, filter(of_twist, (*COUNTERS, *GAUGES)))}
    counted = {(labels["event"], labels["cause"]): value for labels, value in found[EXPORTED_EVENTS]}
    assert counted == {("actor_restart", "died"): 1.0, ("environment_crash", ""): 3.0}
    values = {name: found[exported_name(name)][0][1] for name in ("env_steps", "wait/teacher", "actors/running")}
    assert values == {"env_steps": 500.0, "wait/teacher": 0.25, "actors/running": 2.0}
