"""The manifests of deploy/cluster/kuberay, and what Kubernetes makes of their parts."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[1] / "deploy" / "cluster" / "kuberay"
FILES = sorted(FOLDER.glob("*.yaml"))

ROLES = ("driver", "actor", "learner")
PASSWORD = "ab12" * 16
"""What the Secret holds in tests, with the role's name behind it."""

Document = dict[str, Any]


def documents(name: str) -> list[Document]:
    with (FOLDER / name).open() as file:
        return [document for document in yaml.safe_load_all(file) if document]


def groups(spec: Document) -> dict[str, Document]:
    """The node groups of a cluster by name; the head's is "head"."""
    return {"head": spec["headGroupSpec"], **{group["groupName"]: group for group in spec["workerGroupSpecs"]}}


def pods() -> Iterator[tuple[str, Document]]:
    """Every pod template of the folder: (where, template)."""
    for path in FILES:
        for document in documents(path.name):
            spec = document.get("spec", {})
            if document["kind"] == "StatefulSet":
                yield f"{path.name} {document['metadata']['name']}", spec["template"]
            elif document["kind"] in ("RayCluster", "RayJob"):
                for name, group in groups(spec.get("rayClusterSpec", spec)).items():
                    yield f"{path.name} {name}", group["template"]


def environment(container: Document) -> dict[str, str]:
    """What Kubernetes makes of a container's variables, with `PASSWORD` and the role's name in the Secret."""
    values: dict[str, str] = {}
    for variable in container["env"]:
        if "valueFrom" in variable:
            secret = variable["valueFrom"]["secretKeyRef"]
            assert secret["name"] == "twist-redis" and secret["key"] in ROLES
            values[variable["name"]] = f"{PASSWORD}{secret['key']}"
        else:
            # Only variables that stand above are put in.
            values[variable["name"]] = re.sub(r"\$\((\w+)\)", lambda m: values.get(m[1], m[0]), variable["value"])
    return values


def gibibytes(text: str) -> float:
    """Of Kubernetes' (28Gi) or Redis's (20gb) writing."""
    number, unit = re.fullmatch(r"(\d+)(\w+)", text).groups()  # type: ignore[union-attr]
    return int(number) * {"Gi": 1.0, "gb": 1.0}[unit]
