from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from deploy.robot.runtime.policy import Policy

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


@pytest.fixture(autouse=True)
def a_machine_in_no_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test's outcome hangs on how busy the machine is: every step takes a millisecond."""
    from deploy.robot.runtime import qualification, verification

    def timed(policy: Policy, images: np.ndarray, proprioception: np.ndarray) -> verification.StepTimes:
        return verification.StepTimes((1e-3,) * 1000, policy.contract.action.period_s)

    monkeypatch.setattr(verification, "timed", timed)
    monkeypatch.setattr(qualification, "timed", timed)


@pytest.fixture
def bundle(made: Path, tmp_path: Path) -> Path:
    """The same, to be spoilt."""
    return Path(shutil.copytree(made, tmp_path / "reach"))
