"""The learner of a run, on a real replay: what it learns from, and what it reports."""

from __future__ import annotations

import dataclasses
import threading
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
from learner.checkpoint import LearnerState
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
        process = LearnerProcess(learner_plan(config), point_world.SPEC, server.url, "run", None)
        yield process
        process.stop()


@pytest.mark.parametrize("length", [0, 2])
def test_the_teacher_learns_from_short_sequences_and_the_student_from_whole_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    shapes = {}
    with learner_process(tmp_path, sequence_length=length) as process:
        for name in ("teacher", "student"):
            loop = process.loops[name]
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
        update = process.loops["teacher"]._update

        def interrupted(batch):  # type: ignore[no-untyped-def]
            metrics = update(batch)
            between.append(process.status())
            return metrics

        monkeypatch.setattr(process.loops["teacher"], "_update", interrupted)
        process.update_in_turn()
        after = process.status()
    told = [{name: (part.updates, part.report.updates) for name, part in s.parts.items()} for s in (*between, after)]
    assert told == [{"teacher": (0, 0), "student": (0, 0)}, {"teacher": (1, 1), "student": (1, 1)}]


# --- a learner that begins again --------------------------------------------------------------------------------------


@dataclasses.dataclass
class Lives:
    """The lives of one run's learner over one replay, of which four chunks are in: three of them ask for updates."""

    url: str
    config: RunConfig

    def begin(self, state: LearnerState | None = None) -> LearnerProcess:
        return LearnerProcess(learner_plan(self.config), point_world.SPEC, self.url, "run", state)


@pytest.fixture
def lives(tmp_path: Path) -> Iterator[Lives]:
    learner = dataclasses.replace(
        tiny_config(), batch_size=2, teacher_samples_per_insert=8.0, student_samples_per_insert=4.0
    )
    config = dataclasses.replace(RunConfig(task="reach", mode="debug"), learner=learner)
    config = dataclasses.replace(config, training=dataclasses.replace(config.training, prefill_rows=ROWS))
    with EmbeddedServer(tmp_path / "redis", max_bytes=2**31) as server:
        fill(ReplayStore(connect(server.url), "run", point_world.SPEC, config.replay), 4)
        yield Lives(server.url, config)


def updates_until_nothing_is_owed(process: LearnerProcess) -> int:
    while process.owes:
        assert process.loops["teacher"].step(0.0)
    return process.updates["teacher"]


ASKED = 8 * 3 * ROWS // (2 * ROWS)
"""Teacher updates for which the rows of a `Lives` ask."""


def test_updates_end_when_the_rows_ask_for_no_more(lives: Lives) -> None:
    process = lives.begin()
    assert updates_until_nothing_is_owed(process) == ASKED
    assert process.status().parts["teacher"].ratio == 8.0


@pytest.mark.parametrize("checkpoint_at", [None, 0, 5], ids=["before its first", "of nothing learned", "between two"])
def test_a_learner_that_is_lost_makes_the_updates_that_its_rows_ask_for(
    lives: Lives, checkpoint_at: int | None
) -> None:
    lost = lives.begin()
    state = None
    for update in range(9):
        if update == checkpoint_at:
            state = lost.capture()
        assert lost.loops["teacher"].step(0.0)

    again = lives.begin(state)
    assert again.updates["teacher"] == (checkpoint_at or 0)
    assert updates_until_nothing_is_owed(again) == ASKED
    assert again.status().parts["teacher"].ratio == 8.0, "of the weights that are there, not of those that were lost"


def test_what_was_sampled_is_counted_with_the_update_it_went_into(
    lives: Lives, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint that is asked for in mid-update waits for its end."""
    process = lives.begin()
    captured: list[LearnerState] = []
    update = process.loops["teacher"]._update

    def interrupted(batch):  # type: ignore[no-untyped-def]
        capturing.start()
        capturing.join(0.2)
        return update(batch)

    capturing = threading.Thread(target=lambda: captured.append(process.capture()))
    monkeypatch.setattr(process.loops["teacher"], "_update", interrupted)
    assert process.loops["teacher"].step(0.0)
    capturing.join()
    document = captured[0].document
    assert document["balances"]["teacher"]["sampled"] == 2 * ROWS * document["teacher_updates"] == 2 * ROWS


def test_a_checkpoint_of_before_such_counts_owes_nothing(lives: Lives) -> None:
    process = lives.begin()
    assert process.loops["teacher"].step(0.0)
    state = process.capture()
    old = dataclasses.replace(
        state, document={key: value for key, value in state.document.items() if key != "balances"}
    )
    again = lives.begin(old)
    assert not again.owes
    assert again.status().parts["teacher"].ratio == 8.0
