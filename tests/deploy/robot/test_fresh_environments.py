"""A bundle where there is nothing but numpy and onnxruntime, in every Python that a robot's computer may have."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

MINORS = (10, 11, 12, 13, 14)

REFUSING = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "ray", "redis", "pybullet", "gymnasium", "pydantic", "deploy", "sim"):
            raise AssertionError(f"{name} was imported")
sys.meta_path.insert(0, Refuse())
"""

ACT = """
import sys
import numpy as np
from twist_runtime import load
policy = load(sys.argv[1])
policy.reset()
trace = np.load(sys.argv[1] + "/golden_trace.npz")
action = policy.select_action(trace["image"][0], trace["proprioception"][0])
print(*(round(float(x), 4) for x in action))
"""


def said(command: list[str], **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, **more)


def interpreter(minor: int) -> str | None:
    found = shutil.which(f"python3.{minor}")
    versions = Path.home() / ".pyenv" / "versions"
    kept = sorted(versions.glob(f"3.{minor}.*/bin/python")) if versions.is_dir() else []
    for candidate in [*map(str, kept), *([found] if found else [])]:
        asked = said([candidate, "-c", "import sys; print(sys.version_info[1])"])
        if asked.stdout.strip() == str(minor):
            return candidate
    return None


def _param(minor: int) -> Any:
    others = () if minor == sys.version_info.minor else (pytest.mark.environments,)
    return pytest.param(minor, id=f"python3.{minor}", marks=others)


@pytest.mark.parametrize("minor", map(_param, MINORS))
def test_it_loads_verifies_and_runs(minor: int, made: Path, tmp_path: Path) -> None:
    python = interpreter(minor)
    if python is None:
        pytest.skip(f"there is no python3.{minor} here")
    subprocess.run([python, "-m", "venv", tmp_path / "venv"], check=True)
    fresh = str(tmp_path / "venv" / "bin" / "python")
    install = [fresh, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "numpy", "onnxruntime"]
    installed = said(install)
    if installed.returncode != 0:
        pytest.skip(f"numpy and onnxruntime cannot be installed: {installed.stderr.strip().splitlines()[-1]}")
    (tmp_path / "sitecustomize.py").write_text(REFUSING)
    # The bundle as it came: copied, and nobody's but its own.
    bundle = Path(shutil.copytree(made, tmp_path / "reach"))

    def run(*arguments: str) -> str:
        path = f"{tmp_path}:{bundle}"
        done = said([fresh, *arguments], cwd="/", env={"PYTHONPATH": path})
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert len(run("-c", ACT, str(bundle)).split()) == 3
    verified = run("-m", "twist_runtime", "verify", str(bundle)).splitlines()
    assert [line.partition(":")[0] for line in verified] == ["hashes", "contract", "golden trace", "step"]
    record = tmp_path / "recording"
    ran = run("-m", "twist_runtime", "run", str(bundle), "--robot", "replay", "--record", str(record)).splitlines()
    assert ran[0].startswith("1 episodes, 16 steps, 0 control periods missed")
    assert {path.name for path in record.iterdir()} == {"recording.json", "ticks.jsonl", "images.u8"}
