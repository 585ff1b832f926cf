"""Packed policies that anybody may have made: whatever is wrong with one is said in one line, and takes no memory."""

from __future__ import annotations

import json
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from damage import damages
from training_here import train_here

from deploy.cli import main
from deploy.errors import UserError
from deploy.runs.acting import load_policy
from deploy.runs.packed_policy import pack
from deploy.runs.policy_source import find_policy

MEMORY = 2**30
"""Bytes that reading one may take on top of what the process has: more than any of these needs."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound")
    train_here(path / "run")
    pack(path / "run", path / "policy")
    return path / "policy"


@pytest.fixture
def policy(sound: Path, tmp_path: Path) -> Path:
    return shutil.copytree(sound, tmp_path / "policy")


@pytest.fixture
def little_memory() -> Iterator[None]:
    """A size without an upper bound ends the test and not the machine."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_policy_is_read_or_refused_in_one_line(
    sound: Path, tmp_path: Path, little_memory: None, seed: int
) -> None:
    refused = 0
    for number, (name, damage) in enumerate(damages(sound, seed, 60)):
        path = shutil.copytree(sound, tmp_path / str(number))
        damage(path)
        try:
            load_policy(find_policy(str(path)))
        except UserError as refusal:
            assert "\n" not in str(refusal), name
            assert len(str(refusal)) < 2_000, name
            refused += 1
        except Exception as error:
            raise AssertionError(f"{name} gave {type(error).__name__}") from error
        shutil.rmtree(path)
    assert refused >= 20


def change(path: Path, name: str, place: str, value: object) -> None:
    document = json.loads((path / name).read_text())
    *groups, last = place.split(".")
    found = document
    for group in groups:
        found = found[group]
    found[last] = value
    (path / name).write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("name", "place", "value", "said"),
    [
        ("config.json", "config.learner.rssm.deter", 10**9, "learner.rssm.deter = 1000000000 is not allowed"),
        ("config.json", "config.learner.rssm.deter", 16_384, "of shape"),
        ("config.json", "config.sim.image_size", 64, "stream spec differs in image_shape"),
        ("config.json", "config.task", "push", "stream spec differs in state_names"),
        ("config.json", "run_id", 7, "run_id = 7 is not allowed: input should be a valid string"),
        ("checkpoint.json", "step", -1, "step = -1 is not allowed: input should be greater than or equal to 0"),
        ("checkpoint.json", "files", {"../../etc/passwd": {}}, "files.../../etc/passwd"),
        ("checkpoint.json", "document.learner.spec", "{}", "cannot be read"),
        ("checkpoint.json", "document.learner.teacher_updates", "many", 'teacher_updates = "many" is not allowed'),
        ("checkpoint.json", "document.learner", None, "has no 'document.learner'"),
        ("checkpoint.json", "document.learner", {"teacher_updates": 1, "student_updates": 1}, "not a stream spec"),
        ("checkpoint.json", "document.learner.spec", json.dumps({"x" * 100_000: 1}), "not a stream spec"),
    ],
)
def test_what_is_wrong_is_named(
    policy: Path,
    little_memory: None,
    name: str,
    place: str,
    value: object,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    change(policy, name, place, value)
    assert main(["eval", str(policy), "--episodes", "1"]) == 2
    shown = capsys.readouterr()
    assert (shown.out, len(shown.err.splitlines())) == ("", 1)
    assert said in shown.err
    assert str(policy) in shown.err


def test_a_document_is_not_read_beyond_its_largest_size(policy: Path, little_memory: None) -> None:
    with (policy / "config.json").open("ab") as file:
        file.truncate(2**40)  # takes no room on the disk
    with pytest.raises(UserError, match=r"config\.json: has more than 16,777,216 bytes"):
        find_policy(str(policy))
