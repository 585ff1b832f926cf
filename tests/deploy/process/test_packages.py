"""Strangers of our packages' names in the working directory, and the commands that must not import them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from running import CHECKOUT, LOCAL, SECONDS, report

from deploy.errors import UserError
from deploy.process import packages

SWEEP = """
name = "one"
tasks = ["reach"]
seeds = [0]
preset = "debug"
mode = "debug"
settings = ["training.env_steps=200", "training.student_updates=4", "evaluation.episodes=2"]
[variants]
default = []
"""
CONSOLE_SCRIPT = "import sys; sys.path.pop(0); from deploy.cli import main; sys.exit(main())"
"""As the installed `twist`, which does not search the working directory."""


@pytest.fixture
def strangers(tmp_path: Path) -> Path:
    """A project of somebody's own, in which everything of these names raises when it is imported."""
    project = tmp_path / "project"
    for name in (*packages.PACKAGES, "rich"):
        (project / name).mkdir(parents=True)
        (project / name / "__init__.py").write_text(f"raise RuntimeError('a stranger: {name}')\n")
    return project


def run(cwd: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONWARNINGS": "ignore::FutureWarning", "PYTHONPATH": str(CHECKOUT)}
    return subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def test_a_training_and_its_workers_import_what_the_driver_imported(strangers: Path) -> None:
    done = run(strangers, "-c", CONSOLE_SCRIPT, "train", "reach", *LOCAL, "--run-dir", "run")
    assert (done.returncode, done.stderr) == (0, "")
    found = report(strangers / "run")
    assert (found["restarts"], found["learner_restarts"]) == ({}, 0)


def test_so_do_the_runs_of_a_sweep(strangers: Path) -> None:
    (strangers / "one.toml").write_text(SWEEP)
    done = run(strangers, "-c", CONSOLE_SCRIPT, "sweep", "one.toml", "--out", "out")
    assert (done.returncode, done.stderr) == (0, ""), (strangers / "out" / "default-reach-0.log").read_text()
    assert report(strangers / "out" / "default" / "reach-0")["env_steps"] >= 200


def test_python_m_deploy_takes_the_other_packages_from_beside_it(strangers: Path) -> None:
    (strangers / "deploy" / "__init__.py").unlink()
    done = run(strangers, "-m", "deploy", "redis-users")
    assert (done.returncode, done.stderr) == (0, "")
    done = run(strangers, "-m", "deploy", "train", "reach", "--seed", "x")
    assert done.stderr == "twist: seed = x is not allowed: a whole number, at least 0, at most 2147483647\n"
    done = run(strangers, "-m", "deploy", "eval", "pretrained/reach", "--episodes", "1")
    assert (done.returncode, done.stderr) == (0, "")


def test_where_a_directory_is_searched_before_us_what_is_in_the_way_is_named(strangers: Path) -> None:
    with pytest.raises(UserError, match=rf"{strangers / 'actors'}: Ray's workers would import it in place of TWIST's"):
        packages.refuse_stranger(strangers, "Ray's workers")


def test_a_checkout_and_a_folder_without_modules_are_no_strangers(tmp_path: Path) -> None:
    (tmp_path / "sim").mkdir()
    (tmp_path / "sim" / "notes.txt").write_text("mine")
    packages.refuse_stranger(tmp_path, "Ray's workers")
    packages.refuse_stranger(CHECKOUT, "Ray's workers")
    (tmp_path / "replay.py").touch()
    assert list(packages.strangers(tmp_path)) == [tmp_path / "replay.py"]


def test_processes_that_begin_before_our_code_find_a_checkout_that_is_not_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    assert packages.child_path() == str(CHECKOUT)
    monkeypatch.setenv("PYTHONPATH", "/of/mine")
    assert packages.child_path() == f"{CHECKOUT}{os.pathsep}/of/mine"
    monkeypatch.setattr("site.getsitepackages", lambda: [str(CHECKOUT)])
    assert packages.child_path() == "/of/mine"
