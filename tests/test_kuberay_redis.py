"""deploy/cluster/kuberay/redis.yaml: started here as the file says, and wired to the rest."""

import os
import re
import shlex
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from kuberay_manifests import FOLDER, PASSWORD, ROLES, Document, documents, environment, gibibytes, pods
from redis_binaries import redis_binary

from replay.access import acl_rules, require_rights
from replay.server import connect
from replay.server_versions import has_hole


@pytest.fixture
def redis_parts() -> dict[str, Document]:
    return {document["kind"]: document for document in documents("redis.yaml")}


def test_redis_is_found_by_its_name(redis_parts: dict[str, Document]) -> None:
    (cluster,) = documents("raycluster.yaml")
    service, server = redis_parts["Service"], redis_parts["StatefulSet"]["spec"]["template"]
    assert service["spec"]["clusterIP"] == "None"
    assert redis_parts["StatefulSet"]["spec"]["serviceName"] == service["metadata"]["name"]
    assert service["spec"]["selector"].items() <= server["metadata"]["labels"].items()
    (port,) = service["spec"]["ports"]
    (open_port,) = server["spec"]["containers"][0]["ports"]
    assert port["targetPort"] == open_port["name"]
    head = cluster["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]
    name, number = f"{service['metadata']['name']}:{port['port']}".split(":")
    assert number == str(open_port["containerPort"]) == "6380"
    found = environment(head)
    for role, variable in (("driver", "REDIS_URL"), ("actor", "ACTOR_REDIS_URL"), ("learner", "LEARNER_REDIS_URL")):
        assert found[f"TWIST_{variable}"] == f"redis://twist-{role}:{PASSWORD}{role}@{name}:{number}/0"


def test_only_ours_may_reach_redis(redis_parts: dict[str, Document]) -> None:
    policy = redis_parts["NetworkPolicy"]["spec"]
    server = redis_parts["StatefulSet"]["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= server.items()
    (rule,) = policy["ingress"]
    ((peer,), (port,)) = rule["from"], rule["ports"]
    assert port["port"] == 6380
    for where, pod in pods():
        assert peer["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items(), where


def test_redis_has_the_settings_of_cluster_yaml(redis_parts: dict[str, Document]) -> None:
    aws = yaml.safe_load((FOLDER.parents[2] / "cluster.yaml").read_text())
    (setup,) = [command for command in aws["head_setup_commands"] if "redis.conf" in command]
    elsewhere = settings(re.findall(r'"([a-z-]+ [^"$]+)"', setup))
    here = settings(redis_parts["ConfigMap"]["data"]["redis.conf"].splitlines())
    # A server in a container neither leaves its terminal nor writes its log and its id into files.
    # Its users are made where it starts.
    for setting in ("daemonize", "pidfile", "logfile", "user"):
        del elsewhere[setting]
    assert here.pop("dir") == ["/data"]
    assert here == elsewhere
    assert here["maxmemory-policy"] == ["noeviction"]


def settings(lines: list[str]) -> dict[str, list[str]]:
    return {name: values for name, *values in map(shlex.split, lines)}


def test_redis_has_memory_and_disk_for_its_data_and_a_rewrite_of_it(redis_parts: dict[str, Document]) -> None:
    server = redis_parts["StatefulSet"]["spec"]
    (container,) = server["template"]["spec"]["containers"]
    data = gibibytes(re.findall(r"^maxmemory (\w+)$", redis_parts["ConfigMap"]["data"]["redis.conf"], re.MULTILINE)[0])
    assert gibibytes(container["resources"]["limits"]["memory"]) >= 1.3 * data
    (claim,) = server["volumeClaimTemplates"]
    assert gibibytes(claim["spec"]["resources"]["requests"]["storage"]) >= 4 * data
    assert {"name": claim["metadata"]["name"], "mountPath": "/data"} in container["volumeMounts"]


def test_its_users_have_the_rights_of_their_roles_and_nobody_has_all(redis_parts: dict[str, Document]) -> None:
    (container,) = redis_parts["StatefulSet"]["spec"]["template"]["spec"]["containers"]
    users = re.findall(r"^ *user (\S+) (.*)$", container["args"][0], re.MULTILINE)
    expected = [(f"twist-{role}", ["on", f">${role.upper()}_PASSWORD", *acl_rules(role)[1:]]) for role in ROLES]
    assert [(name, rules.split()) for name, rules in users] == [("default", ["reset"]), *expected]


def test_the_image_is_of_a_version_without_known_holes(redis_parts: dict[str, Document]) -> None:
    (container,) = redis_parts["StatefulSet"]["spec"]["template"]["spec"]["containers"]
    assert not has_hole("Redis", container["image"].removeprefix("redis:").partition("-")[0])


def test_redis_starts_as_the_file_says(redis_parts: dict[str, Document], tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    (container,) = redis_parts["StatefulSet"]["spec"]["template"]["spec"]["containers"]
    (tmp_path / "bin").mkdir()
    for name in ("redis-server", "redis-cli"):
        (tmp_path / "bin" / name).symlink_to(redis_binary(name))
    (tmp_path / "data").mkdir()

    def here(text: str) -> str:
        """Another port and other places, and only the loopback address: this is no container."""
        for there, local in (("/etc/redis", str(tmp_path)), ("/data", str(tmp_path / "data")), ("6380", port)):
            text = text.replace(there, local)
        return text

    (tmp_path / "redis.conf").write_text(here(redis_parts["ConfigMap"]["data"]["redis.conf"]) + "bind 127.0.0.1\n")
    variables = {**environment(container), "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    url, *others = (f"redis://twist-{role}:{PASSWORD}{role}@127.0.0.1:{port}/0" for role in ROLES)

    def probe(name: str) -> bool:
        command = [here(word) for word in container[name]["exec"]["command"]]
        return subprocess.run(command, env=variables, capture_output=True, check=False, timeout=10).returncode == 0

    for start in ("first", "again"):
        assert not probe("startupProbe")
        command = [here(word) for word in (*container["command"], *container["args"])]
        server = subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 30
            while not probe("startupProbe"):
                assert time.monotonic() < deadline
                assert server.poll() is None
                time.sleep(0.05)
            assert probe("readinessProbe")
            client = connect(url)
            if start == "first":
                client.hset("twist:kept", "said", "yes")
            assert client.hget("twist:kept", "said") == b"yes"
            memory = client.info("memory")
            assert (memory["maxmemory_policy"], memory["maxmemory"]) == ("noeviction", 20 * 2**30)
            assert client.info("persistence")["aof_enabled"] == 1
            for role, known in zip(ROLES, (url, *others), strict=True):
                require_rights(connect(known), [role])
            for nobody in (url.replace(PASSWORD, "wrong"), f"redis://127.0.0.1:{port}/0"):
                with pytest.raises(ConnectionError):
                    connect(nobody)
            # What `ps` shows; and the first process is the server, so that it gets the signal to end.
            shown = Path(f"/proc/{server.pid}/cmdline").read_text()
            assert "redis-server" in shown
            assert PASSWORD not in shown
        finally:
            server.send_signal(signal.SIGTERM)
            assert server.wait(20) == 0
