"""What Prometheus is told, and that the dashboard asks for nothing else."""

from __future__ import annotations

import io
import json
import math
import re
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from training_here import train_here

from deploy.reporting.metrics import MetricsWriter, read_metrics
from deploy.reporting.progress import Goals, ProgressDisplay
from deploy.training.monitor import RunMonitor
from deploy.training.prometheus import (
    COUNTERS,
    EVENT_TAGS,
    EXPORTED_EVENTS,
    GAUGES,
    TAGS,
    PrometheusMetrics,
    exported_name,
)
from learner.methods import METHODS, PARTS

CHECKOUT = Path(__file__).resolve().parents[3]
DASHBOARD = json.loads((CHECKOUT / "deploy" / "cluster" / "grafana.json").read_text(encoding="utf-8"))
KEYS = (*COUNTERS, *GAUGES)
EXPORTED = {exported_name(key): TAGS for key in KEYS} | {EXPORTED_EVENTS: EVENT_TAGS}
"""Every metric to its labels."""


class Recorded:
    """Takes the place of Ray's metrics."""

    def __init__(self, name: str, description: str, tag_keys: tuple[str, ...]) -> None:
        self.name, self.description, self.tag_keys = name, description, tag_keys
        self.set_to: list[float] = []
        self.counted: list[tuple[float, dict[str, str]]] = []
        MADE[name] = self

    def set_default_tags(self, tags: dict[str, str]) -> Recorded:
        self.tags = tags
        return self

    def set(self, value: float) -> None:
        self.set_to.append(value)

    def inc(self, value: float, tags: dict[str, str] | None = None) -> None:
        assert value > 0.0  # as Ray demands
        assert {*(tags or {}), *self.tags} == {*self.tag_keys}
        self.counted.append((value, tags or {}))


MADE: dict[str, Recorded] = {}


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> dict[str, Recorded]:
    """What is made of Ray's metrics, by name; Ray is not imported."""
    module = types.ModuleType("ray.util.metrics")
    vars(module).update(Gauge=Recorded, Counter=Recorded)
    monkeypatch.setitem(sys.modules, "ray.util.metrics", module)
    MADE.clear()
    return MADE


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def expressions() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel["targets"]]


def variables() -> dict[str, Any]:
    return {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}


def faults(expression: str) -> list[str]:
    """What in an expression is not exported."""
    found = []
    metrics = re.findall(r"\b(ray_\w+)", expression)
    known = [name for name in metrics if name in EXPORTED]
    found += [f"no metric {name}" for name in metrics if name not in EXPORTED]
    # Labels differ between the metrics, so an expression may use those that all of its metrics have.
    labels = set.intersection(*(set(EXPORTED[name]) for name in known)) if known else set()
    used = re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", expression)
    for group in re.findall(r"\bby\s*\(([^)]*)\)", expression):
        used += [label.strip() for label in group.split(",")]
    found += [f"no label {label}" for label in used if label not in labels]
    found += [f"no variable {name}" for name in re.findall(r"\$(\w+)", expression) if name not in variables()]
    if not metrics:
        found.append("no metric at all")
    return found + [f"{a} and {b}" for a, b in ("()", "{}") if expression.count(a) != expression.count(b)]


# --- what is exported -------------------------------------------------------------------------------------------------


def test_a_line_sets_what_it_has_and_leaves_the_rest(made: dict[str, Recorded]) -> None:
    metrics = PrometheusMetrics("reach", "4f1c")
    metrics.line(1200, {"rate/env_steps": 99.5, "wait/teacher": math.nan, "wait/student": 0.5, "teacher/kl": 1.0})
    assert {name: each.set_to for name, each in made.items() if each.set_to} == {
        "twist_replay_away": [0.0],
        "twist_rate_env_steps": [99.5],
        "twist_wait_student_ratio": [0.5],
    }
    assert {name: each.counted for name, each in made.items() if each.counted} == {"twist_env_steps": [(1200.0, {})]}
    assert all(each.tags == {"task": "reach", "run_id": "4f1c"} for each in made.values())
    assert all(each.tag_keys == TAGS for each in made.values())


def test_what_adds_up_is_counted_from_the_runs_beginning_and_never_falls(made: dict[str, Recorded]) -> None:
    metrics = PrometheusMetrics("reach", "4f1c")
    for steps, updates in ((500, 0), (500, 40), (900, 10), (900, 39), (1000, 45)):
        metrics.line(steps, {"teacher/updates": updates, "replay/evicted_rows": math.nan})
    assert [value for value, _ in made["twist_env_steps"].counted] == [500.0, 400.0, 100.0]
    assert [value for value, _ in made["twist_teacher_updates"].counted] == [40.0, 5.0]
    assert made["twist_replay_evicted_rows"].counted == []


def test_names_end_as_prometheus_has_it() -> None:
    assert exported_name("teacher/updates") == "ray_twist_teacher_updates_total"
    assert exported_name("wait/actors") == "ray_twist_wait_actors_ratio"
    assert exported_name("actors/success_student") == "ray_twist_actors_success_student_ratio"
    assert exported_name("replay/bytes") == "ray_twist_replay_bytes"
    so_far = {key for key, text in {**COUNTERS, **GAUGES}.items() if "so far" in text or "added up" in text}
    shares = {key for key, text in GAUGES.items() if text.endswith("0 to 1")}
    assert so_far <= set(COUNTERS)
    assert {key for key in GAUGES if exported_name(key).endswith("_ratio")} - shares == {
        f"{part}/replay_ratio" for part in PARTS
    }
    assert all(exported_name(key).endswith("_ratio") for key in shares)


def test_events_are_counted_by_kind_and_restarts_by_cause(made: dict[str, Recorded]) -> None:
    metrics = PrometheusMetrics("reach", "4f1c")
    metrics.event("actor_restart", {"cause": "died"})
    metrics.event("environment_crash", {"actor": "actor0", "count": 3})
    metrics.event("learner_restart", {"cause": "hung", "reason": "it did not answer for 120 s"})
    assert made["twist_events"].counted == [
        (1.0, {"event": "actor_restart", "cause": "died"}),
        (3.0, {"event": "environment_crash", "cause": ""}),
        (1.0, {"event": "learner_restart", "cause": "hung"}),
    ]


def test_redis_is_away_until_it_is_back(made: dict[str, Recorded]) -> None:
    metrics = PrometheusMetrics("reach", "4f1c")
    for event in (None, "replay_away", "actor_restart", "replay_back"):
        if event is not None:
            metrics.event(event, {"cause": "died"})
        metrics.line(1, {})
    assert made["twist_replay_away"].set_to == [0.0, 1.0, 1.0, 0.0]


def test_the_monitor_tells_prometheus_what_it_writes(tmp_path: Path, made: dict[str, Recorded]) -> None:
    from learner.loops import LoopReport
    from learner.process import LearnerStatus, PartStatus

    loop = LoopReport(updates=10, metrics={"loss_state": 0.5}, waited_seconds=1.0, seconds=4.0, staleness=7.0)
    parts = {"teacher": (30, 4.0), "student": (20, 2.0)}
    status = LearnerStatus({name: PartStatus(loop, *told, False, True) for name, told in parts.items()})
    writer = MetricsWriter(tmp_path / "metrics.jsonl")
    monitor = RunMonitor(
        writer,
        ProgressDisplay("reach", Goals(100, dict.fromkeys(parts)), stream=io.StringIO()),
        lambda crash: None,
        wall_seconds=0.0,
        env_steps=0,
        drivers=parts,
        exported=PrometheusMetrics("reach", "4f1c"),
    )
    monitor.line(500, status, {"rows": 520.0, "bytes": 1e6}, running=2)
    monitor.event("replay_away", reason="refused")
    writer.close()
    (line,) = read_metrics(tmp_path / "metrics.jsonl", "train")
    told = {key: made[exported_name(key).removeprefix("ray_")].set_to for key in GAUGES}
    told |= {key: [n for n, _ in made[f"twist_{key.replace('/', '_')}"].counted] for key in COUNTERS}
    assert (told.pop("env_steps"), told.pop("replay/away")) == ([500.0], [0.0])
    assert {key: values for key, values in told.items() if values} == {
        key: [line[key]] for key in KEYS if line.get(key, 0.0) > 0.0 or (key in GAUGES and key in line)
    }
    assert told["wait/student"] == [0.25]
    assert made["twist_events"].counted == [(1.0, {"event": "replay_away", "cause": ""})]


def test_every_metric_is_something_that_a_run_writes(tmp_path: Path) -> None:
    train_here(tmp_path / "run", ["learner.student.imagination_scale=1"])
    written = {key for row in read_metrics(tmp_path / "run" / "metrics.jsonl", "train") for key in row}
    # The smallest run's policies drive no episode to its end.
    driven = {f"actors/{what}_{driver}" for what in ("success", "return") for driver in ("teacher", "student")}
    assert "actors/success_random" in written
    others = {*PARTS} - {part.name for part in METHODS["twist"].parts}
    of_others = {key for key in KEYS if others & {*re.split("[/_]", key)}}
    assert set(KEYS) - {"env_steps", "replay/away"} - driven - of_others <= written
    assert len(of_others) == 7 * len(others)


def test_ray_is_not_imported_for_it() -> None:
    program = (
        "import sys; from deploy.training.prometheus import PrometheusMetrics as M; M('a', 'b'); "
        "print('ray' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


# --- the dashboard ----------------------------------------------------------------------------------------------------


def test_every_expression_asks_for_what_is_exported() -> None:
    assert len(expressions()) > 20
    assert {expression: faults(expression) for expression in expressions() if faults(expression)} == {}


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ('ray_twist_env_stesp{task=~"$task"}', "no metric ray_twist_env_stesp"),
        ('ray_twist_replay_rows{event="x"}', "no label event"),
        ("sum by (task, cause) (ray_twist_replay_rows)", "no label cause"),
        ('ray_twist_replay_rows{task=~"$tsk"}', "no variable tsk"),
        ("sum(ray_twist_replay_rows", "( and )"),
        ("up", "no metric at all"),
    ],
)
def test_a_mistake_in_an_expression_would_be_found(expression: str, fault: str) -> None:
    assert fault in faults(expression)


def test_all_that_is_exported_is_shown() -> None:
    assert {name for expression in expressions() for name in re.findall(r"\b(ray_\w+)", expression)} == set(EXPORTED)


def test_panels_select_the_run_and_name_it() -> None:
    for panel in panels():
        for target in panel["targets"]:
            selectors = re.findall(r"\{([^}]*)\}", target["expr"])
            assert all('task=~"$task", run_id=~"$run_id"' in selector for selector in selectors), panel["title"]
            labels = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            kept = {
                label.strip() for group in re.findall(r"by \(([^)]*)\)", target["expr"]) for label in group.split(",")
            }
            assert "run_id" in labels <= kept, panel["title"]


def test_it_takes_its_data_from_whatever_prometheus_is_chosen() -> None:
    sources = [each["datasource"] for panel in panels() for each in (panel, *panel["targets"])]
    sources += [variables()[name]["datasource"] for name in ("task", "run_id")]
    assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in sources)
    assert [(each["name"], each["type"]) for each in variables().values()] == [
        ("datasource", "datasource"),
        ("task", "query"),
        ("run_id", "query"),
    ]
    for name in ("task", "run_id"):
        asked = re.fullmatch(r"label_values\((\w+)(?:\{.*\})?, (\w+)\)", variables()[name]["query"]["query"])
        assert asked is not None
        assert asked[2] in EXPORTED[asked[1]]


def test_it_has_its_rows_and_nothing_overlaps() -> None:
    assert [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"] == [
        "Learning",
        "Who waits for whom",
        "Replay",
        "Actors and faults",
    ]
    cells = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    identities = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(identities) == len(set(identities))
