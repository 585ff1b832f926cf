"""`training.export=true`: a run has a bundle of its newest checkpoint."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from training_here import train_here

from deploy.errors import UserError
from deploy.training.exporting import require_exporter


def test_a_run_ends_with_a_bundle_of_its_last_checkpoint(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install -e '.[robot]'")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed: pip install -e '.[robot]'")
    from deploy.robot.runtime.contract import read_contract
    from deploy.robot.runtime.verification import verify
    from deploy.runs.directory import RunDirectory
    from deploy.training.exporting import BUNDLE

    train_here(tmp_path / "run", ["training.export=true"])
    run = RunDirectory.open(tmp_path / "run")
    assert len(list(verify(run.path / BUNDLE))) == 4, (run.logs / "export.log").read_text()
    assert read_contract(run.path / BUNDLE).origin.step == run.newest_checkpoint().step
    assert "value" in read_contract(run.path / BUNDLE).model.outputs
    assert "Not judged: there was no report" not in (run.path / BUNDLE / "MODEL_CARD.md").read_text()


def test_it_is_refused_where_bundles_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    there: Any = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else there(name))
    with pytest.raises(UserError, match=r"training\.export=true needs onnxscript: pip install -e '\.\[robot\]'"):
        require_exporter()
