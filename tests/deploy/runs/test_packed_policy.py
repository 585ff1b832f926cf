"""Packed policies: they act as the run's checkpoint does, bit for bit, and hold nothing else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file
from training_here import train_here

import deploy.runs.packed_policy
import deploy.runs.policy_source
from deploy.cli import main
from deploy.errors import UserError
from deploy.runs.acting import load_policy
from deploy.runs.directory import RunDirectory
from deploy.runs.packed_policy import MAX_BYTES, PackedPolicy, pack
from deploy.runs.policy_source import PRETRAINED, PRETRAINED_DIRECTORY, PolicySource, find_policy
from deploy.settings.presets import resolve
from deploy.settings.specification import stream_spec

PACKED = {"weights.safetensors", "checkpoint.json", "config.json", "report.json"}
FEW = ("--domain", "held_out", "--episodes", "2", "--seed", "3", "--json")
ENOUGH = ("--domain", "held_out", "--episodes", "20", "--seed", "7001", "--json")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("packed") / "run"
    train_here(path)
    return path


@pytest.fixture
def packed(run: Path, tmp_path: Path) -> Path:
    pack(run, tmp_path / "deep" / "policy")
    return tmp_path / "deep" / "policy"


def tree(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def actions(source: PolicySource) -> np.ndarray:
    """Of teacher and student over a few steps, with modes and with draws."""
    policy = load_policy(source)
    assert policy.driver("image") == "student"
    draw = np.random.default_rng(0)
    carry, taken = policy.initial(4), []
    student = np.array([False, True, False, True])
    low, high = np.array(policy.spec.state_low), np.array(policy.spec.state_high)
    for step in range(6):
        state = draw.uniform(low, high, (4, len(low))).astype(np.float32)
        image = draw.integers(0, 256, (4, *policy.spec.image_shape), dtype=np.uint8)
        action, carry = policy.step(carry, state, image, np.full(4, step == 0), student, explore=step > 3)
        taken.append(action)
    return np.stack(taken)


def test_a_packed_policy_acts_as_the_checkpoint_does_bit_for_bit(run: Path, packed: Path) -> None:
    expected = actions(RunDirectory.open(run))
    assert len(np.unique(expected)) > 20
    assert np.array_equal(actions(PackedPolicy.open(packed)), expected)


def test_it_holds_what_acts_and_nothing_else(run: Path, packed: Path) -> None:
    assert {path.name for path in packed.iterdir()} == PACKED
    assert {path.name for path in packed.parent.iterdir()} == {"policy"}
    weights = load_file(packed / "weights.safetensors")
    assert {key.partition("/")[0] for key in weights} == {"teacher", "policy", "student_average"}
    assert {array.dtype for array in weights.values()} == {np.dtype(np.float32)}
    assert (packed / "report.json").read_bytes() == (run / "report.json").read_bytes()
    assert PackedPolicy.open(packed).config == RunDirectory.open(run).config


def test_what_is_of_one_machine_is_not_packed(run: Path, tmp_path: Path) -> None:
    other = shutil.copytree(run, tmp_path / "other")
    document = json.loads((other / "config.json").read_text())
    document["config"]["redis_url"] = "redis://127.0.0.1:6380"
    document["config"]["sim"]["randomisation"]["visual"]["pictures"] = str(tmp_path / "photographs")
    (other / "config.json").write_text(json.dumps(document))
    pack(other, tmp_path / "policy")
    assert PackedPolicy.open(tmp_path / "policy").config == RunDirectory.open(run).config


def test_eval_says_of_it_what_it_says_of_the_run(
    run: Path, packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = []
    for path in (run, packed):
        assert main(["eval", str(path), *FEW, "--clip", str(tmp_path / f"{path.name}.gif")]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    assert json.loads(said[0])["episodes"] == 2
    with Image.open(tmp_path / "policy.gif") as film:
        assert film.n_frames > 1


def test_the_command_packs_and_packs_again(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "policy"
    target.mkdir()  # an empty directory is as good as none
    for _ in range(2):
        assert main(["pack", str(run), str(target)]) == 0
        assert capsys.readouterr().out == f"{target}: 0.2 MB\n"
        assert {path.name for path in target.iterdir()} == PACKED


def refused(run: Path, target: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The line with which packing is refused, after which everything is as it was."""
    before = tree(target.parent)
    assert main(["pack", str(run), str(target)]) == 2
    shown = capsys.readouterr()
    assert (shown.out, len(shown.err.splitlines())) == ("", 1)
    assert tree(target.parent) == before
    return shown.err


def test_what_is_no_packed_policy_is_not_overwritten(
    run: Path, packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    assert "holds notes.txt, so it is no packed policy" in refused(run, other, capsys)
    assert "is a file" in refused(run, other / "notes.txt", capsys)
    (packed / "notes.txt").write_text("mine")
    assert "holds notes.txt" in refused(run, packed, capsys)
    RunDirectory.claim(tmp_path / "second", resolve("reach", "debug", [])).close()
    assert "no packed policy; give another directory" in refused(run, tmp_path / "second", capsys)


def test_an_unfinished_run_is_refused(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "to" / "policy"
    target.parent.mkdir()
    begun = tmp_path / "begun"
    RunDirectory.claim(begun, resolve("reach", "debug", [])).close()
    assert "has no checkpoint yet" in refused(begun, target, capsys)

    reportless = shutil.copytree(run, tmp_path / "reportless")
    report = json.loads((reportless / "report.json").read_text())
    (reportless / "report.json").unlink()
    assert "has no report of its newest checkpoint" in refused(reportless, target, capsys)
    report["updates"]["student"] -= 1  # the report of its first end, before it was continued
    (reportless / "report.json").write_text(json.dumps(report))
    assert "has no report of its newest checkpoint" in refused(reportless, target, capsys)

    longer = shutil.copytree(run, tmp_path / "longer")
    config = json.loads((longer / "config.json").read_text())
    config["config"]["training"]["student_updates"] += 1
    (longer / "config.json").write_text(json.dumps(config))
    assert "is not finished" in refused(longer, target, capsys)


def test_one_that_is_too_large_is_refused(
    run: Path, packed: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    size = sum(map(len, tree(packed).values()))
    monkeypatch.setattr(deploy.runs.packed_policy, "MAX_BYTES", size - 1)
    assert f"allowed are {size - 1:,}" in refused(run, packed, capsys)
    monkeypatch.setattr(deploy.runs.packed_policy, "MAX_BYTES", size)
    assert pack(run, packed) == size


def test_a_packed_policy_is_not_trained_on(packed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = tree(packed)
    assert main(["train", "reach", "--preset", "debug", "--run-dir", str(packed)]) == 2
    assert "holds a packed policy, which cannot be trained on" in capsys.readouterr().err
    assert tree(packed) == before


def test_damaged_weights_are_refused_by_name(packed: Path) -> None:
    file = packed / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\x07")
    with pytest.raises(UserError, match=r"policy/weights\.safetensors: does not match its SHA-256"):
        load_policy(PackedPolicy.open(packed))


def test_settings_of_another_version(packed: Path) -> None:
    """A setting that the file does not have takes its default; one that is not known is refused, and the file named."""
    file = packed / "config.json"
    document = json.loads(file.read_text())
    del document["config"]["evaluation"]["clip_episodes"]
    file.write_text(json.dumps(document))
    assert PackedPolicy.open(packed).config.evaluation.clip_episodes == 4
    document["config"]["learner"]["student"]["gone_scale"] = 1.0
    file.write_text(json.dumps(document))
    with pytest.raises(UserError, match=r"policy/config\.json: unknown setting 'learner\.student\.gone_scale'"):
        PackedPolicy.open(packed)


@pytest.fixture
def with_reach(packed: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A package that has a pretrained policy called reach, and an empty working directory."""
    monkeypatch.setattr(deploy.runs.policy_source, "PRETRAINED_DIRECTORY", tmp_path / "package")
    monkeypatch.setattr(deploy.runs.policy_source, "PRETRAINED", ("reach",))
    shutil.copytree(packed, tmp_path / "package" / "reach")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "package" / "reach"


def test_a_pretrained_policy_has_a_name_in_every_working_directory(
    with_reach: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert find_policy("pretrained/reach").path == with_reach
    assert find_policy("pretrained/reach/").path == with_reach
    assert main(["eval", "pretrained/reach", *FEW, "--policy", "teacher", "--clip", "film.gif"]) == 0
    assert json.loads(capsys.readouterr().out)["task"] == "reach"
    assert Path("film.gif").is_file()


def test_what_lies_here_under_that_name_comes_first(with_reach: Path, packed: Path, run: Path) -> None:
    here = Path("pretrained", "reach")
    here.mkdir(parents=True)
    assert find_policy("pretrained/reach").path == with_reach  # neither a run nor a packed policy
    shutil.copytree(packed, here, dirs_exist_ok=True)
    assert find_policy("pretrained/reach").path == here
    shutil.rmtree(here)
    shutil.copytree(run, here)
    found = find_policy("pretrained/reach")
    assert (found.path, type(found)) == (here, RunDirectory)


def test_an_unknown_name_is_one_line_with_those_that_there_are(
    with_reach: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", "pretrained/raech", *FEW]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert error.endswith("nor a pretrained policy; of these there are: pretrained/reach\n")


def test_the_package_has_the_pretrained_policies_that_it_says_it_has() -> None:
    """`PRETRAINED` is what users are told; a directory that is missing there, or here, is an oversight."""
    there = {path.name for path in PRETRAINED_DIRECTORY.iterdir()} if PRETRAINED_DIRECTORY.is_dir() else set()
    assert there == set(PRETRAINED)


@pytest.mark.parametrize("name", PRETRAINED)
def test_a_pretrained_policy_can_still_do_its_task(name: str, tmp_path: Path) -> None:
    """A changed camera, task or format would leave the files as they are and the policy lost."""
    path = PRETRAINED_DIRECTORY / name
    assert {file.name for file in path.iterdir()} == PACKED
    assert sum(file.stat().st_size for file in path.iterdir()) <= MAX_BYTES
    config = PackedPolicy.open(path).config
    assert config.task == name
    # It must see what today's simulator shows, in the same order and within the same bounds.
    spec = load_policy(PackedPolicy.open(path)).spec
    # How chunks were cut to learn from is no matter to who acts.
    chunks = {"chunk_length": spec.chunk_length, "episode_steps": spec.episode_steps}
    replace(stream_spec(config), **chunks).require_equal(spec, f"pretrained/{name}")
    done = subprocess.run(
        [sys.executable, "-m", "deploy", "eval", f"pretrained/{name}", *ENOUGH, "--clip", "film.gif"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        capture_output=True,
        text=True,
        check=True,
    )
    result = json.loads(done.stdout)
    assert result["episodes"] == 20
    # In these twenty push has 16, over hundreds of episodes some 72 %. A policy that is lost is near 0.
    assert result["successes"] >= 10
