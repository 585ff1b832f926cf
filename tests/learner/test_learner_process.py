"""The learner of a run, on a real replay: what its settings say about batches is what its loops learn from."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import point_world
import pytest
from point_world import fill
from tiny_learner import tiny_config

from deploy.config import RunConfig
from deploy.learner_process import LearnerProcess
from replay import EmbeddedServer, ReplayStore, connect

ROWS = point_world.SPEC.chunk_length


@pytest.mark.parametrize("length", [0, 2])
def test_the_teacher_learns_from_short_sequences_and_the_student_from_whole_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    learner = dataclasses.replace(
        tiny_config(), batch_size=3, sequence_length=length, student_samples_per_insert=1000.0
    )
    config = dataclasses.replace(RunConfig(task="reach", mode="debug"), learner=learner)
    config = dataclasses.replace(config, training=dataclasses.replace(config.training, prefill_rows=ROWS))
    shapes = {}
    with EmbeddedServer(tmp_path / "redis", max_bytes=2**31) as server:
        fill(ReplayStore(connect(server.url), "run", point_world.SPEC, config.replay), 4)
        process = LearnerProcess(config, point_world.SPEC, server.url, "run", None)
        for name in ("teacher", "student"):
            loop = getattr(process, f"{name}_loop")
            update = loop._update

            def remembered(batch, name=name, update=update):  # type: ignore[no-untyped-def]
                shapes[name] = batch["valid"].shape
                return update(batch)

            monkeypatch.setattr(loop, "_update", remembered)
        process.update_in_turn()
        process.stop()
    assert shapes == {"teacher": (3, length or ROWS), "student": (config.learner.student.batch_size, ROWS)}
