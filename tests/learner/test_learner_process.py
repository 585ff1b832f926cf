"""The learner of a run, on a real replay: what it learns from, and what it reports."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import point_world
import pytest
from point_world import fill
from tiny_learner import tiny_config

from deploy.settings.config import RunConfig
from deploy.training.plans import learner_plan
from learner.process import LearnerProcess
from replay import EmbeddedServer, ReplayStore, connect

ROWS = point_world.SPEC.chunk_length


@contextmanager
def learner_process(where: Path, **settings: Any) -> Iterator[LearnerProcess]:
    """A learner with four chunks to learn from and these settings under `learner`."""
    learner = dataclasses.replace(tiny_config(), batch_size=3, student_samples_per_insert=1000.0, **settings)
    config = dataclasses.replace(RunConfig(task="reach", mode="debug"), learner=learner)
    config = dataclasses.replace(config, training=dataclasses.replace(config.training, prefill_rows=ROWS))
    with EmbeddedServer(where / "redis", max_bytes=2**31) as server:
        fill(ReplayStore(connect(server.url), "run", point_world.SPEC, config.replay), 4)
        process = LearnerProcess(learner_plan(config, point_world.SPEC), point_world.SPEC, server.url, "run", None)
        yield process
        process.stop()


@pytest.mark.parametrize("length", [0, 2])
def test_the_teacher_learns_from_short_sequences_and_the_student_from_whole_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    shapes = {}
    with learner_process(tmp_path, sequence_length=length) as process:
        for name in ("teacher", "student"):
            loop = getattr(process, f"{name}_loop")
            update = loop._update

            def remembered(batch, name=name, update=update):  # type: ignore[no-untyped-def]
                shapes[name] = batch["valid"].shape
                return update(batch)

            monkeypatch.setattr(loop, "_update", remembered)
        process.update_in_turn()
    assert shapes == {"teacher": (3, length or ROWS), "student": (tiny_config().student.batch_size, ROWS)}


def test_a_status_counts_the_updates_that_it_tells_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that is taken when the learner has made an update which its loop has not yet added to its report."""
    between = []
    with learner_process(tmp_path) as process:
        update = process.teacher_loop._update

        def interrupted(batch):  # type: ignore[no-untyped-def]
            metrics = update(batch)
            between.append(process.status())
            return metrics

        monkeypatch.setattr(process.teacher_loop, "_update", interrupted)
        process.update_in_turn()
        after = process.status()
    assert [(status.teacher_updates, status.teacher.updates) for status in between] == [(0, 0)]
    assert (after.teacher_updates, after.teacher.updates) == (1, 1)
    assert (after.student_updates, after.student.updates) == (1, 1)
