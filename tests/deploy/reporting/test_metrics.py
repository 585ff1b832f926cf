"""metrics.jsonl: one writer, every line kept, nothing counted twice after a run is continued."""

from __future__ import annotations

import json
import math
import threading
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from deploy.reporting import metrics as module
from deploy.reporting.metrics import MetricsWriter, read_last, read_metrics


def points(directory: Path, tag: str) -> list[tuple[int, float]]:
    accumulator = EventAccumulator(str(directory))
    accumulator.Reload()
    return [(event.step, round(event.value, 6)) for event in accumulator.Scalars(tag)]


def test_a_line_can_be_read_back_as_soon_as_it_is_written(tmp_path: Path) -> None:
    writer = MetricsWriter(tmp_path / "metrics.jsonl", clock=lambda: 5.0)
    writer.write("train", 100, {"teacher/loss": 0.5, "teacher/updates": 7})
    writer.write("event", 100, {"event": "actor restarted", "actor": "a0"})
    assert list(read_metrics(tmp_path / "metrics.jsonl")) == [
        {"time": 5.0, "step": 100, "kind": "train", "teacher/loss": 0.5, "teacher/updates": 7},
        {"time": 5.0, "step": 100, "kind": "event", "event": "actor restarted", "actor": "a0"},
    ]
    assert [row["kind"] for row in read_metrics(tmp_path / "metrics.jsonl", "event")] == ["event"]
    writer.close()


def test_every_line_is_strict_json_even_when_a_loss_explodes(tmp_path: Path) -> None:
    writer = MetricsWriter(tmp_path / "metrics.jsonl")
    writer.write("train", 1, {"a": math.nan, "b": math.inf, "c": 1.0})
    writer.close()
    row = json.loads((tmp_path / "metrics.jsonl").read_text(), parse_constant=pytest.fail)
    assert (row["a"], row["b"], row["c"]) == (None, None, 1.0)
    (read,) = read_metrics(tmp_path / "metrics.jsonl")
    assert math.isnan(read["a"])


def test_a_file_that_is_not_there_has_no_lines(tmp_path: Path) -> None:
    assert list(read_metrics(tmp_path / "metrics.jsonl")) == []


def test_a_line_cut_off_by_a_kill_is_ignored_and_then_removed(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    writer = MetricsWriter(path)
    writer.write("train", 1, {"a": 1.0})
    writer.close()
    with path.open("a") as file:
        file.write('{"time": 5.0, "step": 2, "ki')
    assert [row["step"] for row in read_metrics(path)] == [1]
    writer = MetricsWriter(path)
    writer.write("train", 3, {"a": 3.0})
    writer.close()
    assert [row["step"] for row in read_metrics(path)] == [1, 3]


def test_a_broken_line_within_is_named(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"time": 1, "step": 1, "kind": "train"}\nnonsense\n')
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 2: is not JSON"):
        list(read_metrics(path))


def test_lines_of_one_kind_are_found_whatever_words_the_others_have(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    writer = MetricsWriter(path)
    writer.write("event", 1, {"event": "resumed"})
    writer.write("episode", 2, {"actor": "event"})
    writer.write("train", 3, {})
    writer.close()
    with path.open("a") as file:
        file.write('{"event": "by another hand", "kind":"event", "step": 4, "time": 5}\n')
    assert [row["step"] for row in read_metrics(path, "event")] == [1, 4]
    assert [row["step"] for row in read_last(path, 9, "event")] == [1, 4]


@pytest.mark.parametrize("block", [1, 7, 100, 10_000])
def test_the_last_lines_are_read_from_the_end(tmp_path: Path, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK_BYTES", block)
    path = tmp_path / "metrics.jsonl"
    assert read_last(path, 3) == []
    path.touch()
    assert read_last(path, 3) == []
    writer = MetricsWriter(path)
    ends = []
    for step in range(1, 9):
        writer.write("train" if step % 2 else "episode", step, {"loss": math.nan})
        ends.append(writer.offset)
    writer.close()
    with path.open("a") as file:
        file.write('{"time": 5.0, "step": 9, "ki')
    assert [row["step"] for row in read_last(path, 3)] == [6, 7, 8]
    assert [row["step"] for row in read_last(path, 3, "train")] == [3, 5, 7]
    assert [row["step"] for row in read_last(path, 99)] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert math.isnan(read_last(path, 1)[0]["loss"])
    assert [row["step"] for row in read_last(path, 2, before=ends[3])] == [3, 4]
    assert [row["step"] for row in read_last(path, 2, before=ends[3] - 1)] == [2, 3]
    assert read_last(path, 2, before=0) == []


def test_tensorboard_shows_the_same_numbers(tmp_path: Path) -> None:
    writer = MetricsWriter(tmp_path / "metrics.jsonl", tmp_path / "tensorboard")
    for step in (10, 20):
        writer.write("train", step, {"teacher/loss": step / 4, "note": "text has no curve"})
    writer.close()
    assert points(tmp_path / "tensorboard", "teacher/loss") == [(10, 2.5), (20, 5.0)]


def test_writing_needs_no_thread(tmp_path: Path) -> None:
    before = threading.active_count()
    writer = MetricsWriter(tmp_path / "metrics.jsonl", tmp_path / "tensorboard")
    writer.write("train", 1, {"a": 1.0})
    assert threading.active_count() == before
    writer.close()


def test_going_back_to_a_checkpoint_takes_out_what_will_be_done_again(tmp_path: Path) -> None:
    path, tensorboard = tmp_path / "metrics.jsonl", tmp_path / "tensorboard"
    writer = MetricsWriter(path, tensorboard)
    writer.write("train", 100, {"teacher/updates": 10})
    checkpoint = writer.offset
    writer.write("train", 200, {"teacher/updates": 20})
    writer.write("episode", 210, {"actors/return": 1.5})
    writer.write("event", 220, {"event": "actor restarted"})
    writer.write("train", 300, {"teacher/updates": 30})
    writer.close()

    writer = MetricsWriter(path, tensorboard)
    assert writer.rewind(checkpoint, step=320, taken_out=tmp_path / "taken_out.jsonl") == 2
    writer.write("train", 350, {"teacher/updates": 11})
    writer.close()

    assert [(row["kind"], row["step"]) for row in read_metrics(path)] == [
        ("train", 100),
        ("episode", 210),
        ("event", 220),
        ("train", 350),
    ]
    assert [row["step"] for row in read_metrics(tmp_path / "taken_out.jsonl")] == [200, 300]
    assert points(tensorboard, "teacher/updates") == [(100, 10), (350, 11)]
    assert points(tensorboard, "actors/return") == [(210, 1.5)]


def test_episodes_beyond_the_step_from_which_the_run_goes_on_are_taken_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    writer = MetricsWriter(path)
    for step in (100, 200, 300):
        writer.write("episode", step, {"actors/return": 1.0})
    assert writer.rewind(0, step=200, taken_out=tmp_path / "taken_out.jsonl") == 1
    writer.write("episode", 250, {"actors/return": 1.0})
    writer.close()
    assert [row["step"] for row in read_metrics(path)] == [100, 200, 250]


def test_going_back_to_the_end_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    writer = MetricsWriter(path)
    writer.write("train", 1, {"a": 1.0})
    before = path.read_bytes()
    assert writer.rewind(writer.offset, step=1, taken_out=tmp_path / "taken_out.jsonl") == 0
    writer.close()
    assert path.read_bytes() == before
    assert not (tmp_path / "taken_out.jsonl").exists()


def test_a_line_that_cannot_be_written_is_an_error_with_the_files_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = MetricsWriter(tmp_path / "metrics.jsonl")
    with Path("/dev/full").open("wb", buffering=0) as full:
        monkeypatch.setattr(writer, "_file", full)
        with pytest.raises(OSError, match=r"No space left on device: '.*metrics\.jsonl'"):
            writer.write("train", 1, {"teacher/updates": 1})
