"""The fields of KubeRay's RayCluster and RayJob, and a check against them.

KubeRay's own schema is in no package. These names and types are those of its API reference at v1.6.2
(docs/reference/api.md, generated from ray-operator/apis/ray/v1), less those that v1.5.1, the oldest that the manifests
are for, does not have or may not have: `preRunningDeadlineSeconds`, `idleTimeoutSeconds` of a worker group, and of
`authOptions` all but the mode.
"""

from collections.abc import Iterator
from typing import Any

Fields = dict[str, Any]
"""A type is Python's own, a tuple of allowed values, a list of one type, or a name: of another table here, or with a
dot, then it is Kubernetes' and left to the caller."""

STRINGS = "map of strings"
POD_TEMPLATE = "core.PodTemplateSpec"

_GROUP: Fields = {
    "resources": STRINGS,
    "labels": STRINGS,
    "rayStartParams": STRINGS,
    "template": POD_TEMPLATE,
}
TABLES: dict[str, Fields] = {
    "RayClusterSpec": {
        "upgradeStrategy": "core.Object",
        "authOptions": "AuthOptions",
        "suspend": bool,
        "managedBy": str,
        "autoscalerOptions": "AutoscalerOptions",
        "headServiceAnnotations": STRINGS,
        "enableInTreeAutoscaling": bool,
        "gcsFaultToleranceOptions": "core.Object",
        "headGroupSpec": "HeadGroupSpec",
        "rayVersion": str,
        "workerGroupSpecs": ["WorkerGroupSpec"],
    },
    "AuthOptions": {"mode": ("disabled", "token")},
    "AutoscalerOptions": {
        "resources": "core.ResourceRequirements",
        "image": str,
        "imagePullPolicy": ("Always", "IfNotPresent", "Never"),
        "securityContext": "core.SecurityContext",
        "idleTimeoutSeconds": int,
        "upscalingMode": ("Default", "Aggressive", "Conservative"),
        "version": ("v1", "v2"),
        "env": ["core.EnvVar"],
        "envFrom": ["core.EnvFromSource"],
        "volumeMounts": ["core.VolumeMount"],
    },
    "HeadGroupSpec": {
        **_GROUP,
        "headService": "core.Object",
        "enableIngress": bool,
        "serviceType": ("ClusterIP", "NodePort", "LoadBalancer"),
    },
    "WorkerGroupSpec": {
        **_GROUP,
        "suspend": bool,
        "groupName": str,
        "replicas": int,
        "minReplicas": int,
        "maxReplicas": int,
        "scaleStrategy": "core.Object",
        "numOfHosts": int,
    },
    "RayJobSpec": {
        "activeDeadlineSeconds": int,
        "backoffLimit": int,
        "rayClusterSpec": "RayClusterSpec",
        "submitterPodTemplate": POD_TEMPLATE,
        "metadata": STRINGS,
        "clusterSelector": STRINGS,
        "submitterConfig": "core.Object",
        "managedBy": str,
        "deletionStrategy": "core.Object",
        "entrypoint": str,
        "runtimeEnvYAML": str,
        "jobId": str,
        "submissionMode": ("K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"),
        "entrypointResources": str,
        "entrypointNumCpus": float,
        "entrypointNumGpus": float,
        "ttlSecondsAfterFinished": int,
        "shutdownAfterJobFinishes": bool,
        "suspend": bool,
    },
}
# `rayStartParams` may be left out since v1.6 only; before, KubeRay writes into it.
REQUIRED = {
    "RayClusterSpec": {"headGroupSpec"},
    "HeadGroupSpec": {"rayStartParams", "template"},
    "WorkerGroupSpec": {"groupName", "minReplicas", "maxReplicas", "rayStartParams", "template"},
}


def faults(value: Any, expected: Any, where: str) -> Iterator[str]:
    """What is wrong with a part of a manifest; what is Kubernetes' own is not looked into.

    Args:
        value: the part.
        expected: its type, as in `TABLES`.
        where: the part's path, for the message.
    """
    if isinstance(expected, list):
        if not isinstance(value, list):
            yield f"{where}: is not a list"
            return
        for number, item in enumerate(value):
            yield from faults(item, expected[0], f"{where}[{number}]")
    elif isinstance(expected, tuple):
        if value not in expected:
            yield f"{where}: {value!r} is none of {', '.join(expected)}"
    elif expected == STRINGS:
        if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
            yield f"{where}: {value!r} is not a map of strings"
    elif isinstance(expected, str) and expected in TABLES:
        if not isinstance(value, dict):
            yield f"{where}: is not a map"
            return
        yield from (f"{where}: lacks {name}" for name in sorted(REQUIRED.get(expected, set()) - set(value)))
        for name, one in value.items():
            if name in TABLES[expected]:
                yield from faults(one, TABLES[expected][name], f"{where}.{name}")
            else:
                yield f"{where}: {expected} has no field {name}"
    elif isinstance(expected, type) and type(value) is not expected:
        yield f"{where}: {value!r} is not of type {expected.__name__}"
