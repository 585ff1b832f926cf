"""The camera of a simulated bench is found where it is, from pictures of the robot at known joints."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from alignment_bench import AWAY, AlignmentBench, drawn_view, errors, off, postures
from PIL import Image

from deploy.cli import main
from deploy.errors import UserError
from deploy.robot.alignment import Posture, align, moved, unlike
from deploy.robot.alignment_pictures import apart, read_pictures
from deploy.robot.runtime.contract import read_contract, write_contract
from deploy.robot.runtime.manifest import write_manifest
from deploy.robot.runtime.recording import read_recording
from deploy.robot.silhouettes import RobotSilhouettes, View, level_axes, view_of
from sim.camera import project
from sim.scenery import Camera, CameraPose

MOST_M, MOST_DEG = 0.005, 0.5


def nominal() -> View:
    eye, aim = np.array([0.914, 0.737, 0.804]), np.array([0.493, 0.007, 0.097])
    return View(eye, level_axes(aim - eye), 29.4)


def test_a_view_says_where_it_looks_and_how_it_is_rolled() -> None:
    view = nominal()
    assert view.roll_deg == pytest.approx(0.0, abs=1e-9)
    assert view.aim((0.493, 0.007, 0.097)) == pytest.approx([0.493, 0.007, 0.097])
    rolled = moved(view, np.array([0, 0, 0, 0, 0, np.radians(3) / 0.01, 0]))
    assert rolled.roll_deg == pytest.approx(3.0)
    assert rolled.aim((0.493, 0.007, 0.097)) == pytest.approx([0.493, 0.007, 0.097])
    ahead = moved(view, np.array([0, 0, 5, 0, 0, 0, 1]))
    assert np.linalg.norm(ahead.eye - view.eye) == pytest.approx(0.05)
    assert ahead.field_of_view_deg < view.field_of_view_deg


def test_the_silhouette_lies_where_the_camera_sees_the_gripper() -> None:
    view, rng = nominal(), np.random.default_rng(0)
    camera = CameraPose((0.914, 0.737, 0.804), (0.493, 0.007, 0.097), 29.4)
    from deploy.robot.runtime.kinematics import gripper_at

    with RobotSilhouettes() as renderer:
        for posture in postures(rng, 4):
            x, y, z = gripper_at(posture.joints)
            column, row = project(Camera(camera, 128, 128), (x, y, z + 0.06))
            mask = renderer.draw(posture.joints, posture.opening, view, 128)
            assert mask[round(row) - 1 : round(row) + 2, round(column) - 1 : round(column) + 2].max() > 0.9


def found_on_the_bench(seed: int, count: int, size: int) -> tuple[float, float, float]:
    """Errors in metres and degrees, and the overlap, from a start 10 cm and 5 degrees off."""
    rng = np.random.default_rng(seed)
    truth, taken = drawn_view(rng), postures(rng, count)
    with AlignmentBench(seed) as bench:
        pictures = np.stack([bench.photograph(truth, each, size) for each in taken])
        backgrounds = np.stack([bench.photograph(truth, each, size) for each in AWAY])
    with RobotSilhouettes(base=False) as renderer:
        fit = align(renderer, unlike(pictures, backgrounds), taken, off(truth, rng, 0.10, 5.0))
    return (*errors(fit.view, truth), fit.overlap)


def test_a_camera_ten_centimetres_and_five_degrees_off_is_found() -> None:
    metres, degrees, overlap = found_on_the_bench(seed=3, count=12, size=256)
    assert (metres < 4 * MOST_M, degrees < 2 * MOST_DEG, overlap > 0.8) == (True,) * 3, (metres, degrees, overlap)


@pytest.mark.long
def test_alignment_over_twenty_draws() -> None:
    """How well: `pytest -m long -s tests/deploy/robot/test_alignment.py` prints it."""
    found = np.array([found_on_the_bench(seed, count=24, size=256) for seed in range(100, 120)])
    for name, values in zip(("mm", "degrees", "overlap"), (found * [1e3, 1, 1]).T, strict=True):
        print(f"\n{name}: median {np.median(values):.2f}, from {values.min():.2f} to {values.max():.2f}", end="")
    assert np.median(found[:, 0]) <= MOST_M
    assert np.median(found[:, 1]) <= MOST_DEG


@pytest.fixture(scope="module")
def painted(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures with masks, as somebody who segmented them has them, of the camera where the contract has it."""
    camera, rng, path = read_contract(made).camera, np.random.default_rng(3), tmp_path_factory.mktemp("painted")
    truth, entries = view_of(camera), []
    with RobotSilhouettes() as renderer:
        for index, posture in enumerate(postures(rng, 4)):
            mask = (255 * renderer.draw(posture.joints, posture.opening, truth, 128)).astype(np.uint8)
            Image.fromarray(np.pad(mask, [(0, 0), (20, 20)])).save(path / f"{index}-mask.png")
            Image.fromarray(np.pad(mask, [(0, 0), (20, 20)])).convert("RGB").save(path / f"{index}.png")
            files = {"image": f"{index}.png", "mask": f"{index}-mask.png"}
            entries.append({**files, "joints": posture.joints, "opening": posture.opening})
    (path / "postures.json").write_text(json.dumps(entries))
    return path


def test_the_command_writes_what_it_found_beside_the_contract(
    bundle: Path, painted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    camera = read_contract(bundle).camera
    x, y, z = camera.eye_m
    given = ["align", str(bundle), "--images", str(painted)]
    assert main([*given, "--eye", str(x + 0.03), str(y), str(z - 0.02)]) == 0, capsys.readouterr()
    found = json.loads((bundle / "alignment.json").read_text())
    assert found["eye_m"] == pytest.approx(camera.eye_m, abs=0.005)
    assert found["overlap"] > 0.95
    assert (bundle / "alignment.html").read_text().count("<img") == 4
    assert main(["verify", str(bundle)]) == 0, "what lies beside a bundle is none of its files"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--eye", "0.5", "0", "1", "--aim", "0.5", "0", "0.1"], "the camera looks straight up or down, or at itself"),
        (["--eye", "0.5", "0", "1", "--aim", "0.5", "0", "1"], "the camera looks straight up or down, or at itself"),
        (["--eye", "nan", "0", "1"], "allowed are finite numbers"),
        (["--field-of-view", "0.5"], "--field-of-view is 0.5; allowed are 1 to 170"),
    ],
)
def test_where_no_search_can_begin_is_one_line(
    bundle: Path, painted: Path, capsys: pytest.CaptureFixture[str], given: list[str], said: str
) -> None:
    assert main(["align", str(bundle), "--images", str(painted), *given]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not (bundle / "alignment.json").exists()


def test_a_camera_that_training_never_had_is_found_and_said(
    bundle: Path, painted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Seen from elsewhere than the contract says, with a start that is given in full."""
    camera = read_contract(bundle).camera
    moved_eye = replace(camera, eye_m=(camera.eye_m[0] + 0.2, *camera.eye_m[1:]))
    write_contract(bundle, replace(read_contract(bundle), camera=moved_eye))
    write_manifest(bundle)
    start = ["--eye", *map(str, camera.eye_m), "--aim", *map(str, camera.aim_m)]
    given = [*start, "--field-of-view", str(camera.field_of_view_deg)]
    assert main(["align", str(bundle), "--images", str(painted), *given]) == 1
    said = r"beyond training: the camera is (19|20)\d mm from where training had it; allowed are 50 mm"
    assert re.search(said, capsys.readouterr().out)


def test_an_arm_that_stands_still_is_in_one_posture(tmp_path: Path, made: Path) -> None:
    """Whatever its encoders' noise: 24 pictures of it tell no camera."""
    draw = np.random.default_rng(0)
    still = [Posture(tuple(0.3 + draw.normal(0, 1e-3, 7)), 0.0) for _ in range(24)]
    assert apart(still) == 1
    assert apart([Posture((0.06 * k, *still[0].joints[1:]), 0.0) for k in range(5)]) == 5
    given = ["--steps", "8", "--dry-run", "--no-surprise-stop", "--record", str(tmp_path / "r")]
    assert main(["run", str(made), "--robot", "sim", *given]) == 0
    with pytest.raises(UserError, match="the robot is in 1 postures that are 3 degrees apart in some joint; allowed"):
        read_pictures(tmp_path / "r", [])


def test_a_recording_wants_a_background(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--episodes", "2", "--no-surprise-stop", "--record", str(tmp_path / "r")]
    assert main(["run", str(made), "--robot", "sim", *given]) == 0
    assert main(["align", str(made), "--images", str(tmp_path / "r")]) == 2
    assert "its pictures have no masks; allowed are these, or --background FILE" in capsys.readouterr().err
    recorded = next(iter(read_recording(tmp_path / "r").episodes()))
    Image.fromarray(recorded.images[0]).save(tmp_path / "behind.png")
    found = read_pictures(tmp_path / "r", [tmp_path / "behind.png"])
    assert (found.images.shape, len(found.postures), found.with_base) == ((24, 256, 256, 3), 24, False)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "holds neither postures.json nor a recording"),
        ("{}", "is no list; of each entry allowed is"),
        ('[{"image": "a.png", "joints": [0, 1], "opening": 0}]', "has the entry "),
        ('[{"image": "a.png", "joints": [0, 0, 0, -1, 0, 1, 0], "opening": 0}]', "a.png: cannot be read"),
        ("[]", "has 0 pictures; allowed are 4 and more"),
    ],
)
def test_what_cannot_be_read_is_one_line(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, said: str
) -> None:
    if content is not None:
        (tmp_path / "postures.json").write_text(content)
    assert main(["align", str(made), "--images", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
