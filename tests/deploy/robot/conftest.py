from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install -e '.[robot]'")
pytest.importorskip("onnxscript", reason="onnxscript is not installed: pip install -e '.[robot]'")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the pretrained reach policy, for reading."""
    from deploy.robot.export import export
    from deploy.runs.policy_source import find_policy

    path = tmp_path_factory.mktemp("bundles") / "reach"
    export(find_policy("pretrained/reach"), path, episodes=4, golden_steps=48)
    return path


@pytest.fixture
def bundle(made: Path, tmp_path: Path) -> Path:
    """The same, to be spoilt."""
    return Path(shutil.copytree(made, tmp_path / "reach"))
