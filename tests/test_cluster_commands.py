"""The commands that documents and cluster files tell a user to train on a cluster with: where each runs what."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from deploy.commands.train import resolve_given, train_parser
from deploy.errors import UserError
from deploy.settings.config import RunConfig
from deploy.settings.presets import MODE_PRESETS, resolve

ROOT = Path(__file__).resolve().parents[1]
SOURCES = (
    "README.md",
    "docs/cluster.md",
    "cluster.yaml",
    "deploy/cluster/gcp.yaml",
    "deploy/cluster/kuberay/raycluster.yaml",
    "deploy/cluster/kuberay/rayjob.yaml",
)
COMMAND = re.compile(r"(?:twist submit|(?:twist|deploy) train(?= \w+ --mode cluster)) (?!TASK)([^\n`#]*)")


def commands(text: str) -> Iterator[str]:
    """Arguments of what trains on a cluster; a comment or YAML's folding may break a line."""
    unbroken = re.sub(r"\\?\n#? +(?=[a-z_]+\.)", " ", text)
    for found in COMMAND.finditer(unbroken):
        words = shlex.split(found[1])
        if len(words) > 1:  # what is not only named
            yield shlex.join(words)


DOCUMENTED = [(source, command) for source in SOURCES for command in commands((ROOT / source).read_text())]


def nodes() -> dict[str, dict[str, Mapping[str, float]]]:
    """Ray's resources of each kind of node, by cluster file."""
    found: dict[str, dict[str, Mapping[str, float]]] = {}
    for source in ("cluster.yaml", "deploy/cluster/gcp.yaml"):
        kinds = yaml.safe_load((ROOT / source).read_text())["available_node_types"]
        found[source] = {name: kind["resources"] for name, kind in kinds.items()}
    spec = yaml.safe_load((ROOT / "deploy/cluster/kuberay/raycluster.yaml").read_text())["spec"]
    groups = {group["groupName"]: group for group in spec["workerGroupSpecs"]} | {"head": spec["headGroupSpec"]}
    found["raycluster.yaml"] = {
        name: {key: float(value) for key, value in group["resources"].items()} for name, group in groups.items()
    }
    return found


def asked(resource: str, num_cpus: float) -> dict[str, float]:
    return {"CPU": num_cpus, **({resource: 1.0} if resource else {})}


def fits(needs: Mapping[str, float], node: Mapping[str, float]) -> bool:
    return all(node.get(key, 0.0) >= amount for key, amount in needs.items())


def configured(command: str) -> RunConfig:
    given = train_parser("submit", "", run_dir=str, run_dir_help="").parse_intermixed_args(shlex.split(command))
    return resolve_given(given, mode="cluster")


def test_commands_are_found_in_every_source() -> None:
    assert {source for source, _ in DOCUMENTED} == set(SOURCES)
    assert len(DOCUMENTED) >= 8


@pytest.mark.parametrize(("source", "command"), DOCUMENTED)
def test_actors_and_learner_run_on_nodes_of_their_own_and_nothing_beside_redis(source: str, command: str) -> None:
    config = configured(command)
    actor = asked(config.actors.resource, config.actors.num_cpus)
    learner = asked(config.learner.resource, 0.0)
    for kinds in nodes().values():
        assert [name for name, node in kinds.items() if fits(actor, node)] == ["actors"]
        assert [name for name, node in kinds.items() if fits(learner, node)] == ["learner"]


def test_what_places_them_are_the_defaults_of_mode_cluster_alone() -> None:
    assert resolve("push", None, [], mode="local").actors.resource == ""
    cluster = resolve("push", "debug", [], mode="cluster")
    assert {**MODE_PRESETS["cluster"]} == {
        "actors.resource": cluster.actors.resource,
        "actors.num_cpus": cluster.actors.num_cpus,
        "learner.resource": cluster.learner.resource,
    }
    assert resolve("push", None, ["actors.resource=robot"], mode="cluster").actors.resource == "robot"


def test_actors_that_cost_ray_nothing_are_refused_on_a_cluster() -> None:
    assert resolve("push", None, ["actors.resource="], mode="cluster").actors.num_cpus == 1.0
    assert resolve("push", None, ["actors.num_cpus=0"], mode="cluster").actors.resource == "twist_actor"
    with pytest.raises(UserError, match=r"actors\.resource is empty and actors\.num_cpus is 0: on a cluster an actor"):
        resolve("push", None, ["actors.resource=", "actors.num_cpus=0"], mode="cluster")
    assert resolve("push", None, ["actors.resource=", "actors.num_cpus=0"], mode="local").actors.num_cpus == 0
