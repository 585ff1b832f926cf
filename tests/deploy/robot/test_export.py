"""A bundle holds what the contract says, repeats its golden trace, and is read by LEAPP's own reader."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from deploy.cli import main
from deploy.errors import UserError
from deploy.robot.export import export, require_replaceable
from deploy.robot.runtime import load, verification
from deploy.robot.runtime.contract import read_contract
from deploy.robot.runtime.golden import TOLERANCE, compare, read_trace
from deploy.robot.runtime.limits import PANDA
from deploy.robot.runtime.refusals import UsageError
from deploy.runs.packed_policy import PackedPolicy
from deploy.runs.policy_source import find_policy
from sim.actuator import JOINT_SPEEDS
from sim.tasks import TASKS

REALLY_TIMED = verification.timed

FILES = {
    *("reach.yaml", "reach_initial_values.safetensors", "policy.onnx"),
    *(
        "config.json",
        "contract.json",
        "familiar.npz",
        "golden_trace.npz",
        "MODEL_CARD.md",
        "manifest.json",
        "twist_runtime",
    ),
}


def test_it_holds_these_files_and_says_so_in_its_manifest(made: Path) -> None:
    assert {path.name for path in made.iterdir()} == FILES
    listed = set(json.loads((made / "manifest.json").read_text())["files"])
    lying = {path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file()}
    assert listed == lying - {"manifest.json"}
    assert {path.name for path in made.parent.iterdir()} == {"reach"}


def test_the_golden_trace_is_whole_episodes_and_is_repeated(made: Path) -> None:
    trace, policy = read_trace(made), load(made)
    begins = np.flatnonzero(trace["reset"])
    assert set(np.diff([*begins, len(trace["reset"])])) == {policy.contract.episode_steps}
    found = compare(policy, trace)
    assert (found.passed, found.steps, found.episodes) == (True, 48, 3)
    assert found.largest <= TOLERANCE
    told = {"action", "deter", "stoch", "surprise", "reward", "state", "belief", "expected", "embed"}
    assert told == set(found.difference)


def test_a_trace_of_something_else_is_not_repeated(made: Path) -> None:
    trace = read_trace(made)
    trace["action"] = trace["action"] + np.float32(2 * TOLERANCE)
    assert not compare(load(made), trace).passed
    trace = read_trace(made)
    trace["stoch"][-1, 0, 0] += 2 * TOLERANCE
    assert not compare(load(made), trace).passed


def test_the_contract_says_what_the_task_is(made: Path) -> None:
    contract, task = read_contract(made), TASKS["reach"]
    config = find_policy("pretrained/reach").config.sim
    assert [entry.name for entry in contract.action.entries] == ["x", "y", "z"]
    assert contract.action.entries[0].high == config.max_step_m
    assert (contract.action.workspace_low_m, contract.action.workspace_high_m) == (
        task.workspace.low,
        task.workspace.high,
    )
    assert contract.camera.shape == (config.image_size, config.image_size, 3)
    assert (contract.camera.eye_m, contract.camera.aim_m) == (task.camera.eye, task.camera.aim)
    assert contract.latency.camera_delay_s == config.randomisation.timing.camera_delay_s
    assert contract.camera.trained.eye_offset_m == config.randomisation.visual.camera_position_m
    roll = config.randomisation.visual.camera_roll_deg
    assert contract.camera.trained.roll_deg == (-roll, roll)
    assert contract.arm.lag_s == config.randomisation.dynamics.lag_s
    assert contract.arm.joint_speed == JOINT_SPEEDS == PANDA.joint_speed
    assert contract.latency.oldest_frame_s == pytest.approx(0.03 + 2 / config.control_hz)
    assert contract.surprise.threshold > contract.surprise.quantiles["0.5"] > 0


def test_leapps_own_reader_loads_it_and_agrees(made: Path) -> None:
    leapp = pytest.importorskip("leapp", reason="leapp is not installed: pip install leapp")
    import torch

    manager = leapp.InferenceManager(str(made / "reach.yaml"))
    trace = read_trace(made)
    names = ("image", "proprioception", "reset", "action", "surprise")
    for image, own, reset, action, surprise in zip(*(trace[name] for name in names), strict=True):
        if reset:
            manager.reset()
        given = {"policy/image": image, "policy/proprioception": own}
        out = manager.run_policy({name: torch.from_numpy(array[None]) for name, array in given.items()})
        assert out["policy/action"].numpy()[0] == pytest.approx(action, abs=TOLERANCE)
        assert out["policy/surprise"].item() == pytest.approx(float(surprise), rel=TOLERANCE, abs=TOLERANCE)


def test_the_description_names_every_tensor_of_the_graph(made: Path) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(made / "policy.onnx"), providers=["CPUExecutionProvider"])
    policy = yaml.safe_load((made / "reach.yaml").read_text())["models"]["policy"]
    for tensors, described in (
        (session.get_inputs(), policy["inputs"]),
        (session.get_outputs(), policy["outputs"]),
    ):
        assert [tensor.name for tensor in tensors] == [entry["name"] for entry in described]
        assert [tensor.shape for tensor in tensors] == [entry["shape"] for entry in described]


def test_what_is_no_bundle_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").write_bytes(b"meow")
    with pytest.raises(UserError, match=r"holds cat\.png and is no bundle; give another directory"):
        export(find_policy("pretrained/reach"), tmp_path / "photos", episodes=1)
    assert {path.name for path in tmp_path.iterdir()} == {"photos"}


def test_nothing_but_a_bundle_is_replaced(bundle: Path, tmp_path: Path) -> None:
    """A web page has a manifest.json, too; and what somebody laid beside a bundle is not ours to throw away."""
    require_replaceable(bundle)
    for name in ("qualification.json", "alignment.json", "alignment.html"):
        (bundle / name).write_text("{}")
    require_replaceable(bundle)
    (bundle / "recordings").mkdir()
    (bundle / "recordings" / "images.u8").write_bytes(b"0")
    with pytest.raises(UserError, match=r"holds recordings/images\.u8 besides its bundle, which would be lost"):
        require_replaceable(bundle)
    page = tmp_path / "page"
    page.mkdir()
    for text in ('{"name": "my page", "manifest_version": 3}', '{"format": 1, "files": {}}', "[]"):
        (page / "manifest.json").write_text(text)
        with pytest.raises(UserError, match=r"holds manifest\.json and is no bundle; give another directory"):
            require_replaceable(page)


def test_verify_says_what_holds_a_line_each(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(made)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["hashes", "contract", "golden trace", "step"]


def test_steps_are_timed_as_the_loop_takes_them(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "_TIMED_STEPS", 20)
    policy = load(made)
    trace = read_trace(made)
    taken = REALLY_TIMED(policy, trace["image"], trace["proprioception"])
    assert len(taken.taken_s) == 20
    assert 0 < taken.p50_s <= taken.p99_s <= taken.max_s
    assert taken.period_s == policy.contract.action.period_s


def test_what_the_gate_refuses_is_no_step_to_be_timed(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verification, "_TIMED_STEPS", 20)
    policy, trace = load(made), read_trace(made)
    images, own = trace["image"][:10].copy(), trace["proprioception"]
    images[3] = 0
    assert len(REALLY_TIMED(policy, images, own).taken_s) == 18
    with pytest.raises(UsageError, match="none of the pictures can be acted on: image has no value above 0"):
        REALLY_TIMED(policy, np.zeros_like(images), own)


def test_the_loop_may_be_run_in_real_time(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(made), "--loop", "0.5", "--rate", "40"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("loop: 32 periods at 40 Hz, ")
    assert main(["verify", str(made), "--loop", "1", "--rate", "0"]) == 2
    assert capsys.readouterr().err == ("twist: --loop is 1.0, --rate is 0; allowed are at least 0, and 1 to 1000\n")


@pytest.mark.parametrize("name", ["reach.yaml", "policy.onnx", "golden_trace.npz", "twist_runtime/policy.py"])
def test_a_flipped_byte_anywhere_is_one_line(bundle: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    content = bytearray((bundle / name).read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / name).write_bytes(content)
    assert main(["verify", str(bundle)]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"twist: {bundle / name}: was changed since the bundle was made: it has SHA-256 ")
    assert printed.err.count("\n") == 1


def test_the_runtime_of_a_bundle_imports_nothing_but_numpy_and_onnxruntime(made: Path) -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); before = set(sys.modules)\n"
        "import twist_runtime; policy = twist_runtime.load(sys.argv[1]); policy.reset()\n"
        "import numpy; picture = numpy.random.default_rng(0).integers(0, 256, policy.contract.camera.shape, 'uint8')\n"
        "own = numpy.zeros(len(policy.contract.proprioception))\n"
        "print(policy.select_action(picture, own).shape)\n"
        "print(sorted({'torch', 'ray', 'redis', 'pybullet', 'deploy', 'sim'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(made)], capture_output=True, text=True, check=True, cwd="/"
    )
    assert done.stdout == "(3,)\n[]\n"


def test_a_policy_whose_readout_nothing_taught_is_refused_in_one_line(tmp_path: Path) -> None:
    source = find_policy("pretrained/reach")
    assert isinstance(source, PackedPolicy)
    student = dataclasses.replace(source.config.learner.student, readout_scale=0.0)
    learner = dataclasses.replace(source.config.learner, student=student)
    source = dataclasses.replace(source, config=dataclasses.replace(source.config, learner=learner))
    with pytest.raises(UserError, match=r"was trained with learner\.student\.readout_scale=0, so that it cannot tell"):
        export(source, tmp_path / "bundle", episodes=1)
    assert not (tmp_path / "bundle").exists()
