"""deploy/cluster/kuberay as Kubernetes, KubeRay and Ray's autoscaler read it, as far as one knows without a cluster."""

import copy
import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import ray
import yaml
from kuberay_fields import faults
from kuberay_manifests import FILES, FOLDER, PASSWORD, ROLES, Document, documents, environment, gibibytes, groups, pods
from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr

from actors.config import ActorsConfig
from deploy import cli

KUBERNETES = "1.30"
"""What the pods are checked against: they should need nothing newer."""

ROOT = FOLDER.parents[2]


@pytest.fixture
def cluster() -> Document:
    (document,) = documents("raycluster.yaml")
    return document


@pytest.fixture
def job() -> Document:
    (document,) = documents("rayjob.yaml")
    return document


@pytest.fixture(scope="module")
def aws() -> Document:
    with (ROOT / "cluster.yaml").open() as file:
        return dict(yaml.safe_load(file))


def may_run_on(pod: Document, labels: dict[str, str]) -> bool:
    """What the scheduler makes of a pod's node affinity: terms are alternatives, all expressions of one must hold."""
    required = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]

    def holds(expression: Document) -> bool:
        listed = labels.get(expression["key"]) in expression["values"]
        return {"In": listed, "NotIn": not listed}[expression["operator"]]

    return any(all(map(holds, term["matchExpressions"])) for term in required["nodeSelectorTerms"])


# --- the schema


def test_every_file_is_looked_at() -> None:
    assert [path.name for path in FILES] == ["raycluster.yaml", "rayjob.yaml", "redis.yaml", "runs.yaml"]


@pytest.mark.parametrize("where", [where for where, _ in pods()])
def test_kubernetes_accepts_the_pods(where: str) -> None:
    template = dict(pods())[where]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "pod", **template["metadata"]},
        "spec": template["spec"],
    }
    kubernetes_validate.validate(pod, KUBERNETES, strict=True)


@pytest.mark.parametrize("name", ["redis.yaml", "runs.yaml"])
def test_kubernetes_accepts_what_is_its_own(name: str) -> None:
    for document in documents(name):
        kubernetes_validate.validate(document, KUBERNETES, strict=True)


def test_kubernetes_accepts_the_autoscalers_container(cluster: Document) -> None:
    options = cluster["spec"]["autoscalerOptions"]
    container = {"name": "autoscaler", **{key: options[key] for key in ("resources", "securityContext")}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": {"containers": [container]}}
    kubernetes_validate.validate(pod, KUBERNETES, strict=True)


def test_a_mistake_in_a_pod_would_be_found(cluster: Document) -> None:
    template = cluster["spec"]["headGroupSpec"]["template"]
    template["spec"]["containers"][0]["volumeMount"] = []
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": template["spec"]}
    with pytest.raises(kubernetes_validate.ValidationError, match="volumeMount"):
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)


def test_kuberay_has_the_fields(cluster: Document, job: Document) -> None:
    for document, kind in ((cluster, "RayCluster"), (job, "RayJob")):
        assert (document["apiVersion"], document["kind"]) == ("ray.io/v1", kind)
        assert set(document) == {"apiVersion", "kind", "metadata", "spec"}
        assert list(faults(document["spec"], f"{kind}Spec", "spec")) == []


def test_a_mistake_in_a_field_would_be_found(job: Document) -> None:
    spec = job["spec"]
    spec["backOffLimit"] = spec.pop("backoffLimit")
    spec["rayClusterSpec"]["autoscalerOptions"]["upscalingMode"] = "Fast"
    spec["rayClusterSpec"]["workerGroupSpecs"][0]["maxReplicas"] = "1"
    del spec["rayClusterSpec"]["workerGroupSpecs"][1]["template"]
    assert sorted(faults(spec, "RayJobSpec", "spec")) == [
        "spec.rayClusterSpec.autoscalerOptions.upscalingMode: 'Fast' is none of Default, Aggressive, Conservative",
        "spec.rayClusterSpec.workerGroupSpecs[0].maxReplicas: '1' is not of type int",
        "spec.rayClusterSpec.workerGroupSpecs[1]: lacks template",
        "spec: RayJobSpec has no field backOffLimit",
    ]


def test_kuberays_operator_would_not_refuse_it(cluster: Document, job: Document) -> None:
    """The rules of its validation.go that concern what is used here."""
    spec = cluster["spec"]
    for name, group in groups(spec).items():
        # Ray's resources here or there, not in both.
        assert group["resources"], name
        assert not {"num-cpus", "num-gpus", "memory", "resources"} & set(group["rayStartParams"]), name
    for group in spec["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    assert spec["autoscalerOptions"]["version"] == "v2"  # which requires `restartPolicy: Never`, see below
    major, minor, _ = map(int, spec["rayVersion"].split("."))
    assert (major, minor) >= (2, 52), "token authentication needs it"
    assert job["spec"]["shutdownAfterJobFinishes"], "ttlSecondsAfterFinished needs it"
    assert job["spec"]["activeDeadlineSeconds"] > 0
    for document in (cluster, job):
        assert re.fullmatch(r"[a-z][-a-z0-9]{0,45}[a-z0-9]", document["metadata"]["name"])


# --- the cluster


def test_job_and_cluster_are_the_same_cluster(cluster: Document, job: Document) -> None:
    assert job["spec"]["rayClusterSpec"] == cluster["spec"]


def test_rays_autoscaler_reads_the_node_types_of_cluster_yaml(cluster: Document, aws: Document) -> None:
    cluster["metadata"]["namespace"] = "default"
    config = _derive_autoscaling_config_from_ray_cr(cluster)
    types = config["available_node_types"]
    types["head"] = types.pop(config["head_node_type"])
    for node_type in types.values():
        assert node_type["resources"].pop("memory") > 0  # of the pod, while a node's is whatever the machine has
    expected = aws["available_node_types"]
    assert {name: one["resources"] for name, one in types.items()} == {
        name: one["resources"] for name, one in expected.items()
    }
    for name in ("learner", "actors"):
        assert [types[name][key] for key in ("min_workers", "max_workers")] == [
            expected[name][key] for key in ("min_workers", "max_workers")
        ]
    assert config["max_workers"] == aws["max_workers"]
    assert config["idle_timeout_minutes"] == aws["idle_timeout_minutes"]


def test_the_head_runs_no_actor(cluster: Document) -> None:
    resources = cluster["spec"]["headGroupSpec"]["resources"]
    assert resources["CPU"] == "0"
    assert "twist_actor" not in resources


def test_the_learner_is_one_gpu_that_is_always_there(cluster: Document) -> None:
    learner = groups(cluster["spec"])["learner"]
    assert learner["replicas"] == learner["minReplicas"] == learner["maxReplicas"] == 1
    assert learner["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_actors_are_from_none_upwards_and_have_no_gpu(cluster: Document) -> None:
    actors = groups(cluster["spec"])["actors"]
    assert actors["replicas"] == actors["minReplicas"] == 0
    assert actors["maxReplicas"] > 0
    assert "gpu" not in json.dumps(actors["template"]["spec"]["containers"])


SPOT = [
    {"cloud.google.com/gke-spot": "true"},
    {"eks.amazonaws.com/capacityType": "SPOT"},
    {"karpenter.sh/capacity-type": "spot"},
]
ON_DEMAND = [{}, {"eks.amazonaws.com/capacityType": "ON_DEMAND"}, {"karpenter.sh/capacity-type": "on-demand"}]


@pytest.mark.parametrize("where", [where for where, _ in pods()])
def test_actors_run_on_spot_and_nothing_else_does(where: str) -> None:
    pod = dict(pods())[where]
    is_actor = where.endswith(" actors")
    assert [may_run_on(pod, labels) for labels in SPOT] == [is_actor] * len(SPOT)
    assert [may_run_on(pod, labels) for labels in ON_DEMAND] == [not is_actor] * len(ON_DEMAND)
    tolerated = [{toleration["key"]: toleration.get("value")} for toleration in pod["spec"].get("tolerations", [])]
    assert [labels in tolerated for labels in SPOT] == [is_actor] * len(SPOT)


def test_nothing_restarts_by_itself_within_its_pod() -> None:
    for where, pod in pods():
        if not where.startswith("redis.yaml"):
            assert pod["spec"]["restartPolicy"] == "Never", where


def test_a_pod_on_spot_ends_within_what_gke_gives_it(cluster: Document) -> None:
    spec = groups(cluster["spec"])["actors"]["template"]["spec"]
    assert spec["terminationGracePeriodSeconds"] <= 25
    (command,) = spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][2:]
    seconds = [int(number) for number in re.findall(r"\b(?:timeout|sleep) (\d+)", command)]
    assert len(seconds) == 2
    assert sum(seconds) < 15  # what GKE leaves to a pod on its older versions


def test_ray_has_the_command_that_says_goodbye(cluster: Document) -> None:
    from click.testing import CliRunner
    from ray.scripts.scripts import cli as ray_cli

    container = groups(cluster["spec"])["actors"]["template"]["spec"]["containers"][0]
    command = container["lifecycle"]["preStop"]["exec"]["command"][2]
    arguments = shlex.split(command.partition(";")[0])
    assert arguments[:4] == ["timeout", "8", "ray", "drain-node"]
    # With an address where nobody is, Ray gets as far as looking for it.
    given = ["--address=127.0.0.1:1" if word.startswith("--address") else word for word in arguments[4:]]
    parsed = ray_cli.commands["drain-node"].make_context("drain-node", given)
    assert parsed.params["deadline_remaining_seconds"] == 15
    refused = CliRunner().invoke(ray_cli, ["drain-node", "--reason=SPOT", "--reason-message=x"])
    assert "DRAIN_NODE_REASON_PREEMPTION" in refused.output


def test_a_full_pod_of_actors_stays_below_its_limit(cluster: Document) -> None:
    actors = groups(cluster["spec"])["actors"]
    limit = gibibytes(actors["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"])
    grown = int(actors["resources"]["twist_actor"]) * ActorsConfig().max_memory_mb / 1024
    store = int(actors["rayStartParams"]["object-store-memory"]) / 2**30
    assert grown + store + 1 <= limit  # one for Ray's own processes


def test_ray_is_the_version_of_the_image(cluster: Document) -> None:
    pins = re.findall(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(), flags=re.MULTILINE)
    assert [cluster["spec"]["rayVersion"]] == pins == [ray.__version__]


def test_all_ray_pods_have_the_same_image_of_this_version() -> None:
    images = {
        container["image"]
        for where, pod in pods()
        if not where.startswith("redis.yaml")
        for container in pod["spec"]["containers"]
    }
    (version,) = re.findall(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), flags=re.MULTILINE)
    assert images == {f"registry.example.com/twist:{version}"}
    assert f"-t {next(iter(images))} ." in (ROOT / "deploy" / "cluster" / "Dockerfile").read_text()


def test_pods_have_no_more_rights_than_they_need() -> None:
    for where, pod in pods():
        security = pod["spec"]["securityContext"]
        assert security["runAsNonRoot"], where
        assert security["runAsUser"] > 0, where
        for container in pod["spec"]["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False, where
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}, where
        if not where.endswith(" head"):
            assert pod["spec"]["automountServiceAccountToken"] is False, where


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_it_says_what_is_not_tested(path: Path) -> None:
    assert "NOT TESTED" in path.read_text()


# --- passwords, and who gets them


def test_no_file_holds_a_password() -> None:
    for path in FILES:
        text = path.read_text()
        for document in documents(path.name):
            assert document["kind"] != "Secret", path.name
        for user_and_password in re.findall(r"://([^\s/]*:[^\s@]*)@", text):
            assert re.fullmatch(r"twist-\w+:\$\(\w+\)", user_and_password), path.name
        for word in re.findall(r"(?:requirepass +|on >)(\S+)", text):
            assert word.startswith("$"), path.name
    for where, pod in pods():
        for container in pod["spec"]["containers"]:
            for variable in container.get("env", []):
                if re.search("PASSWORD|AUTH|TOKEN|SECRET", variable["name"]):
                    secret = "secretKeyRef" in variable.get("valueFrom", {})
                    assert secret or re.fullmatch(r"\$\(\w+\)", variable["value"]), f"{where}: {variable['name']}"


@pytest.mark.parametrize("where", [FOLDER / "redis.yaml", FOLDER.parents[2] / "docs" / "cluster.md"])
def test_the_secret_is_the_one_that_the_first_lines_make(where: Path, tmp_path: Path) -> None:
    """The lines are run, with what `kubectl` would be given in place of it."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl on the PATH")
    lines = re.sub(r"\n#", "\n", where.read_text())
    ((command),) = re.findall(r"for role in [^\n]*(?:\n)?[^\n]*create secret generic twist-redis", lines)
    (tmp_path / "kubectl").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "kubectl").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True, check=True)
    made = re.fullmatch(r"create secret generic twist-redis ((?: ?--from-literal=\w+=[0-9a-f]{64})+)\n", done.stdout)
    assert made is not None, done.stdout
    keys = re.findall(r"--from-literal=(\w+)=", made[1])
    assert keys == list(ROLES)  # as `environment` asserts of every reference


def test_our_redis_is_not_the_store_of_rays_own_books(cluster: Document) -> None:
    assert "gcsFaultToleranceOptions" not in cluster["spec"]
    for where, pod in pods():
        for container in pod["spec"]["containers"]:
            names = {variable["name"] for variable in container.get("env", [])}
            # By these names KubeRay and Ray know that store.
            assert not names & {"REDIS_PASSWORD", "REDIS_USERNAME", "RAY_REDIS_ADDRESS"}, where


def test_ray_asks_for_a_token(cluster: Document) -> None:
    assert cluster["spec"]["authOptions"] == {"mode": "token"}


@pytest.mark.parametrize("source", ["rayjob.yaml", "raycluster.yaml"])
def test_twist_accepts_the_command(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run by a shell in the head's environment, as Ray does with an entrypoint, with something else named twist."""
    (job,) = documents("rayjob.yaml")
    cluster = job["spec"]["rayClusterSpec"]
    if source == "rayjob.yaml":
        entrypoint = job["spec"]["entrypoint"]
    else:
        (entrypoint,) = re.findall(r"ray job submit -- (.+)", (FOLDER / source).read_text())
    assert PASSWORD not in entrypoint
    twist = tmp_path / "twist"
    twist.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    twist.chmod(0o755)
    head = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"][0]
    done = subprocess.run(
        entrypoint,
        shell=True,
        env={**environment(head), "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    asked: list[Any] = []
    monkeypatch.setattr(
        "deploy.training.train.train", lambda config, directory, *_: asked.append((config, directory)) or 0
    )
    for name in ("TWIST_REDIS_URL", "TWIST_ACTOR_REDIS_URL", "TWIST_LEARNER_REDIS_URL"):
        monkeypatch.setenv(name, environment(head)[name])
    assert cli.main(done.stdout.splitlines()) == 0
    ((config, directory),) = asked
    assert config.mode == "cluster"
    assert config.redis_url == f"redis://twist-driver:{PASSWORD}driver@twist-redis:6380/0"
    assert config.learner.resource in groups(cluster)["learner"]["resources"]
    assert config.actors.resource in groups(cluster)["actors"]["resources"]
    # Ray runs the driver on the head, where the volume is.
    assert "entrypointResources" not in job["spec"]
    (mount,) = [mount for mount in head["volumeMounts"] if directory.is_relative_to(mount["mountPath"])]
    volumes = cluster["headGroupSpec"]["template"]["spec"]["volumes"]
    (claim,) = [volume["persistentVolumeClaim"]["claimName"] for volume in volumes if volume["name"] == mount["name"]]
    assert claim == documents("runs.yaml")[0]["metadata"]["name"]


def test_the_operator_does_not_read_the_command_with_a_shell_of_its_own(job: Document) -> None:
    assert job["spec"]["submissionMode"] == "HTTPMode"


def test_the_checks_of_affinity_and_variables_are_not_blind(cluster: Document) -> None:
    learner = copy.deepcopy(groups(cluster["spec"])["learner"]["template"])
    required = learner["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert not may_run_on(learner, SPOT[1])
    del required["nodeSelectorTerms"][0]["matchExpressions"][1]
    assert may_run_on(learner, SPOT[1])
    # The order of variables matters to Kubernetes.
    url, password = {"name": "URL", "value": "$(WORD)"}, {"name": "WORD", "value": "x"}
    assert environment({"env": [password, url]})["URL"] == "x"
    assert environment({"env": [url, password]})["URL"] == "$(WORD)"
