"""deploy/cluster/gcp.yaml: accepted by Ray, and cluster.yaml in all that is not the cloud's own."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parents[1]
FILE = ROOT / "deploy" / "cluster" / "gcp.yaml"
OF_THE_CLOUD = {"provider", "available_node_types", "head_setup_commands"}
"""Where the files differ; what must be the same within these is tested one by one."""


@pytest.fixture
def google() -> dict[str, Any]:
    return dict(yaml.safe_load(FILE.read_text()))


@pytest.fixture
def aws() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "cluster.yaml").read_text()))


def test_ray_accepts_it(google: dict[str, Any]) -> None:
    validate_config(prepare_config(copy.deepcopy(google)))


def test_a_mistake_in_it_would_be_found(google: dict[str, Any]) -> None:
    google["provider"]["availability_zone"] = 1
    with pytest.raises(Exception, match="availability_zone|is not of type 'string'"):
        validate_config(prepare_config(google))


def test_all_that_is_not_the_clouds_is_as_in_cluster_yaml(google: dict[str, Any], aws: dict[str, Any]) -> None:
    assert {key: google[key] for key in google.keys() - OF_THE_CLOUD} == {
        key: aws[key] for key in aws.keys() - OF_THE_CLOUD
    }


def test_the_head_is_set_up_alike_but_for_the_clouds_client(google: dict[str, Any], aws: dict[str, Any]) -> None:
    client, *rest = google["head_setup_commands"]
    boto, *expected = aws["head_setup_commands"]
    assert rest == expected
    assert client == boto.replace("boto3", "google-api-python-client").replace("[s3]", "[gcs]")


def test_the_nodes_are_alike_but_for_their_machines(google: dict[str, Any], aws: dict[str, Any]) -> None:
    def logical(nodes: dict[str, Any]) -> dict[str, Any]:
        return {
            name: {key: value for key, value in node.items() if key != "node_config"} for name, node in nodes.items()
        }

    assert logical(google["available_node_types"]) == logical(aws["available_node_types"])


def test_only_actors_are_on_spot_and_only_the_learner_has_a_gpu(google: dict[str, Any]) -> None:
    nodes = {name: node["node_config"] for name, node in google["available_node_types"].items()}
    # A list, as in Ray's own files.
    scheduling = {name: node.get("scheduling", [{}])[0] for name, node in nodes.items()}
    spot = {name for name, one in scheduling.items() if "SPOT" in one.values() or one.get("preemptible")}
    assert spot == {"actors"}
    assert {name for name, node in nodes.items() if node["machineType"].startswith("g2-")} == {"learner"}
    assert scheduling["learner"] == {"onHostMaintenance": "TERMINATE"}


def test_a_node_has_the_cores_that_ray_is_told_of(google: dict[str, Any]) -> None:
    for name in ("learner", "actors"):
        node = google["available_node_types"][name]
        assert node["node_config"]["machineType"].endswith(f"-{node['resources']['CPU']}")


@pytest.mark.parametrize("path", [FILE, ROOT / "docs" / "cluster.md"], ids=lambda path: path.name)
def test_the_training_command_is_that_of_cluster_yaml(path: Path) -> None:
    def said(text: str) -> str:
        words, *_ = re.findall(r"(twist submit push --run-dir '~/runs/push' actors.max=\d+)\n", text)
        return str(words)

    assert said(path.read_text()) == said((ROOT / "cluster.yaml").read_text())


def test_it_says_what_is_not_tested() -> None:
    assert "NOT TESTED" in FILE.read_text()
