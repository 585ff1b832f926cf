"""The command line: help that comes at once, and one clear line for whatever cannot be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.cli import main
from deploy.runs.directory import RunDirectory
from deploy.settings.presets import resolve
from sim.assets import assets_directory

CHECKOUT = Path(__file__).resolve().parents[3]


def twist(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, [str(CHECKOUT), os.environ.get("PYTHONPATH", "")]))
    return subprocess.run(
        [sys.executable, "-m", "deploy", *arguments],
        cwd=cwd,
        # What torch thinks of optional packages that happen to be installed is no line of ours.
        env={**os.environ, "PYTHONPATH": path, "PYTHONWARNINGS": "ignore::FutureWarning"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def tree(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


BAD_INPUT = {
    "unknown command": (["trian"], "unknown command 'trian': there are train, submit, distil, status, eval, "),
    "no task": (["train"], "the following arguments are required: TASK"),
    "unknown task": (["train", "raech"], "unknown task 'raech': did you mean reach?"),
    "unknown option": (["train", "reach", "--sede", "3"], "unrecognized arguments: --sede"),
    "no assignment": (["train", "reach", "push"], "'push' is not a setting: write key=value"),
    "unknown setting": (["train", "reach", "training.env_stesp=5"], "the nearest known one is training.env_steps"),
    "setting of another group": (["train", "reach", "sim.env_steps=5"], "did you mean training.env_steps?"),
    "negative size": (
        ["train", "reach", "learner.batch_size=-3"],
        "learner.batch_size = -3 is not allowed: a whole number",
    ),
    "no number": (["train", "reach", "--seed", "three"], "seed = three is not allowed: a whole number, at least 0"),
    "unknown mode": (["train", "reach", "--mode", "fast"], "mode = fast is not allowed: one of local, debug, cluster"),
    "unknown preset": (["train", "reach", "--preset", "big"], "unknown preset 'big': there are debug"),
    "impossible together": (
        ["train", "reach", "sim.physics_hz=61"],
        "physics_hz is 61, allowed: a multiple of control_hz",
    ),
    "directory of something else": (["train", "reach", "--run-dir", "other"], "holds notes.txt and no config.json"),
    "file for a directory": (
        ["train", "reach", "--run-dir", "other/notes.txt"],
        "run directory other/notes.txt: is a file",
    ),
    "run of another task": (
        ["train", "push", "--run-dir", "run"],
        "run directory run: is a run with task = reach, not push",
    ),
    "run of other settings": (
        ["train", "reach", "--preset", "debug", "--run-dir", "run", "learner.batch_size=3"],
        "run directory run: is a run with learner.batch_size = ",
    ),
    "no run to look at": (["status", "nowhere"], "run directory nowhere: is not there"),
    "no run to evaluate": (["eval", "nowhere"], "run directory nowhere: is not there"),
    "not a run": (["eval", "other"], "run directory other: has no config.json, so it is not a run"),
    "no run to look into": (["factors", "nowhere"], "run directory nowhere: is not there"),
    "no factor episodes": (["factors", "run", "--episodes", "0"], "--episodes: 0 is not allowed: a whole number"),
    "unknown domain": (
        ["eval", "run", "--domain", "real"],
        "--domain: domain is 'real', allowed: train, held_out, lab",
    ),
    "unknown world": (["eval", "run", "--world", "real"], "invalid choice: 'real' (choose from 'pybullet', 'mujoco')"),
    "no episodes": (["eval", "run", "--episodes", "0"], "--episodes: 0 is not allowed: a whole number, at least 1"),
    "clip in no directory": (["eval", "run", "--clip", "no/clip.gif"], "no/clip.gif: there is no directory no"),
    "render of no task": (["render", "fly"], "unknown task 'fly'"),
    "render with the learner": (["render", "reach", "learner.batch_size=3"], "only settings that begin with sim."),
    "render to nowhere": (["render", "reach", "--out", "no/sheet.png"], "no/sheet.png: there is no directory no"),
}


@pytest.mark.parametrize("case", BAD_INPUT, ids=str)
def test_bad_input_is_one_line_and_exit_code_2_and_nothing_is_touched(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, message = BAD_INPUT[case]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    RunDirectory.claim(tmp_path / "run", resolve("reach", "debug", [])).close()
    before = tree(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 1
    assert shown.err.startswith("twist: ")
    assert message in shown.err
    assert tree(tmp_path) == before


def test_a_run_that_is_being_driven_is_refused(tmp_path: Path) -> None:
    arguments = ("train", "reach", "--preset", "debug", "--mode", "debug", "--run-dir", "run")
    with RunDirectory.claim(tmp_path / "run", resolve("reach", "debug", [], mode="debug")):
        done = twist(*arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"run directory run: is being driven by process {os.getpid()}" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_redis_that_does_not_answer_is_refused_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TWIST_REDIS_URL", "redis://me:secret@127.0.0.1:1/0")
    done = twist("train", "reach", "--preset", "debug", "--run-dir", "run", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "127.0.0.1:1" in done.stderr
    assert "does not answer" in done.stderr
    assert "secret" not in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert tree(tmp_path) == {}


def test_the_process_ends_with_the_exit_code_and_only_the_line(tmp_path: Path) -> None:
    done = twist("train", "raech", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "twist: unknown task 'raech': did you mean reach? There are reach, push, lift\n"


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    program = (
        "import sys; from deploy.cli import main; main(['--help']);"
        "print(sorted({'torch', 'ray', 'numpy', 'gymnasium', 'pybullet', 'redis'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")
    for command in ("train", "submit", "status", "eval", "factors", "render", "doctor"):
        assert command in done.stdout


def test_a_look_at_a_run_imports_neither_torch_nor_ray() -> None:
    program = (
        "import sys; import deploy.reporting.status_page;print(sorted({'torch', 'ray', 'pybullet'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_driver_imports_ray_only_when_its_session_begins() -> None:
    """From then on Ray's servers ask for a token, which it reads when it is imported; mode debug never imports it."""
    program = "import sys; import deploy.training.train, deploy.training.debug_mode; print('ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_settings_are_checked_before_torch_and_ray_are_imported() -> None:
    program = (
        "import sys; from deploy.settings.presets import resolve; resolve('reach', None, []);"
        "print(sorted({'torch', 'ray', 'pybullet'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_render_writes_a_contact_sheet(tmp_path: Path) -> None:
    assets_directory()  # whoever first needs them on a machine is told so, on stderr
    done = twist("render", "reach", "--out", "worlds.png", "--seed", "3", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "worlds.png"
    assert (tmp_path / "worlds.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["worlds.png"]


@pytest.mark.parametrize("command", ["train", "submit", "status", "eval", "factors", "render", "doctor", "redis-users"])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    assert f"usage: twist {command}" in capsys.readouterr().out


def test_settings_and_options_may_stand_in_any_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "learner.batch_size=-1", "--seed", "4", "--mode", "debug"]) == 2
    assert "unknown task 'learner.batch_size=-1'" in capsys.readouterr().err
    assert main(["train", "reach", "learner.threads=2", "--seed", "4", "learner.batch_size=-1", "--mode", "debug"]) == 2
    assert "learner.batch_size = -1" in capsys.readouterr().err


def test_without_a_command_there_is_help_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "commands:" in capsys.readouterr().out
