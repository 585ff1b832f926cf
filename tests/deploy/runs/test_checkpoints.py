"""Checkpoints: whole or not at all, checked before they are read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.errors import UserError
from deploy.runs.checkpoints import Checkpoints


def writer(weights: bytes) -> Callable[[Path], None]:
    def write(directory: Path) -> None:
        (directory / "weights.safetensors").write_bytes(weights)

    return write


def save(checkpoints: Checkpoints, step: int, *, keep: int | None = None) -> None:
    checkpoints.save(step, {"teacher_updates": step // 10}, writer(b"w" * step), keep=keep)


def test_without_any_there_is_none(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "checkpoints").latest() is None


def test_the_last_one_saved_comes_back(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, 1000)
    save(checkpoints, 2000)
    found = checkpoints.latest()
    assert found is not None
    assert found.path == tmp_path / "step_000002000"
    assert found.step == 2000
    assert found.document == {"teacher_updates": 200}
    assert (found.path / "weights.safetensors").read_bytes() == b"w" * 2000
    assert (tmp_path / "latest").read_text() == "step_000002000\n"


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for step in (100, 200, 300, 400):
        save(checkpoints, step, keep=2)
    assert checkpoints.names() == ["step_000000300", "step_000000400"]


def test_a_second_one_of_the_same_step_has_a_name_of_its_own(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, 100)
    checkpoints.save(100, {}, writer(b"second"))
    found = checkpoints.latest()
    assert found is not None
    assert found.step == 100
    assert found.path == tmp_path / "step_000000100-2"
    assert (found.path / "weights.safetensors").read_bytes() == b"second"
    assert (tmp_path / "step_000000100" / "weights.safetensors").read_bytes() == b"w" * 100


def test_of_many_of_one_step_the_newest_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for number in range(11):
        checkpoints.save(100, {}, writer(b"%d" % number), keep=2)
    assert checkpoints.names() == ["step_000000100-10", "step_000000100-11"]
    (tmp_path / "latest").unlink()
    found = checkpoints.latest()
    assert found is not None
    assert (found.path / "weights.safetensors").read_bytes() == b"10"


def test_a_writer_that_dies_leaves_the_one_before(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, 100)

    def die(directory: Path) -> None:
        (directory / "weights.safetensors").write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(200, {}, die)
    found = Checkpoints(tmp_path).latest()
    assert found is not None
    assert found.step == 100
    save(checkpoints, 300)
    assert {path.name for path in tmp_path.iterdir()} == {"step_000000100", "step_000000300", "latest"}


def test_a_peek_does_not_look_at_the_files_and_minds_no_writer(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.peek() is None
    save(checkpoints, 100)
    save(checkpoints, 200)
    (tmp_path / "step_000000200" / "weights.safetensors").unlink()
    seen = checkpoints.peek()
    assert seen is not None
    assert (seen.path, seen.step, seen.document) == (tmp_path / "step_000000200", 200, {"teacher_updates": 20})
    shutil.rmtree(tmp_path / "step_000000200")  # as a writer does with those that it does not keep
    seen = checkpoints.peek()
    assert seen is not None
    assert seen.step == 100
    (tmp_path / "step_000000100" / "checkpoint.json").unlink()
    assert checkpoints.peek() is None


def test_without_a_pointer_the_highest_step_is_taken(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, 100)
    save(checkpoints, 200)
    (tmp_path / "latest").unlink()
    found = checkpoints.latest()
    assert found is not None
    assert found.step == 200


def flip_a_bit(path: Path) -> None:
    content = bytearray((path / "weights.safetensors").read_bytes())
    content[50] ^= 1
    (path / "weights.safetensors").write_bytes(content)


def cut_off(path: Path) -> None:
    (path / "weights.safetensors").write_bytes(b"w" * 7)


def remove_weights(path: Path) -> None:
    (path / "weights.safetensors").unlink()


def remove_document(path: Path) -> None:
    (path / "checkpoint.json").unlink()


def garble_document(path: Path) -> None:
    (path / "checkpoint.json").write_text("{")


def empty_document(path: Path) -> None:
    (path / "checkpoint.json").write_text("{}")


def other_step(path: Path) -> None:
    document = json.loads((path / "checkpoint.json").read_text())
    (path / "checkpoint.json").write_text(json.dumps({**document, "step": 7}))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (flip_a_bit, "weights.safetensors: does not match its SHA-256"),
        (cut_off, "weights.safetensors: has 7 bytes, 100 were written"),
        (remove_weights, "weights.safetensors: is missing"),
        (remove_document, "checkpoint.json: is missing"),
        (garble_document, "checkpoint.json: is not JSON"),
        (empty_document, "checkpoint.json: has no 'format'"),
        (other_step, "checkpoint.json: says step 7"),
    ],
)
def test_a_corrupt_one_is_refused_by_the_name_of_the_file_and_left_alone(
    tmp_path: Path, damage: Callable[[Path], None], reason: str
) -> None:
    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, 100)
    damage(tmp_path / "step_000000100")
    with pytest.raises(UserError) as refusal:
        checkpoints.latest()
    assert reason in str(refusal.value)
    assert str(tmp_path / "step_000000100") in str(refusal.value)
    assert (tmp_path / "step_000000100").is_dir()


def test_the_way_back_to_an_older_one_is_told_and_works(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, 100)
    save(checkpoints, 200)
    remove_weights(tmp_path / "step_000000200")
    with pytest.raises(UserError, match=r"delete .*step_000000200 to take step_000000100 instead"):
        checkpoints.latest()
    (tmp_path / "step_000000200" / "checkpoint.json").unlink()
    (tmp_path / "step_000000200").rmdir()
    found = checkpoints.latest()
    assert found is not None
    assert found.step == 100


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, 100)
    file = tmp_path / "step_000000100" / "checkpoint.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "format": 2}))
    with pytest.raises(UserError, match="has format 2; this version of twist reads format 1"):
        checkpoints.latest()
