"""The learner's process runs on a machine that has torch, numpy and Redis, and nothing of simulator, Ray or deploy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import learner

CHECKOUT = Path(__file__).resolve().parents[2]

NEEDS = {"torch", "numpy", "redis", "hiredis", "zstandard", "safetensors", "pydantic", "annotated_types"}
"""The learner's own, torch's and Redis's client beside it, and small wheels for files, chunks and settings."""

ALONE = """
import re
import sys
from importlib.abc import MetaPathFinder
from importlib.metadata import packages_distributions, requires


def normal(name):
    return re.sub("[-_.]+", "-", name).lower()


owners = {package: {normal(name) for name in names} for package, names in packages_distributions().items()}
installed = set().union(*owners.values())
allowed, new = set(), set().union(*(owners[package] for package in sys.argv[1].split(",")))
while new:  # what is needed needs others
    allowed |= new
    wanted = {normal(re.match("[A-Za-z0-9._-]+", text)[0])
              for name in new for text in requires(name) or () if "extra ==" not in text}
    new = wanted & installed - allowed


class OnlyThese(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        foreign = top in owners and not allowed & owners[top]
        if (foreign and top not in ("learner", "replay")) or top in ("sim", "actors", "deploy"):
            raise ModuleNotFoundError(f"{name} is not on the learner's machine", name=name)
        return None


sys.meta_path.insert(0, OnlyThese())
import learner.process

for name in ("gymnasium", "ray", "pybullet", "sim", "matplotlib"):
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    sys.exit(f"{name} could be imported, so that this test shows nothing")
print("alone")
"""


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)


def test_the_learners_process_needs_torch_numpy_and_redis_alone() -> None:
    done = run(ALONE, ",".join(sorted(NEEDS)))
    assert (done.returncode, done.stdout) == (0, "alone\n"), done.stderr


def test_settings_are_read_without_torch() -> None:
    done = run("import sys, learner, learner.config; print('torch' in sys.modules)")
    assert done.stdout == "False\n", done.stderr


def test_what_the_package_names_is_there() -> None:
    assert {name: getattr(learner, name).__name__ for name in learner.__all__} == {
        name: name for name in learner.__all__
    }
