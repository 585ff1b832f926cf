"""The file that a crash leaves, and the crash that it gives again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from running import lines, report
from training_here import train_here

from actors.rollout_stats import Crash
from deploy.cli import main
from deploy.errors import UserError
from deploy.training.crashes import MOST_FILES, read_crash, reproduce, write_crash
from sim import SimConfig
from sim.environment import PandaEnv

SIM = SimConfig(image_size=16, episode_steps=20)


def crash(seed: int = 5, actions: int = 3, renders: bool = False) -> Crash:
    return Crash(seed, renders, ((0.5, -0.25, 1.0),) * actions, "ArithmeticError: the solver diverged", "...")


def break_at_step(monkeypatch: pytest.MonkeyPatch, number: int, seeds: list[int]) -> None:
    """Every environment raises in the step of that number of an episode; `seeds` gets the episodes' seeds."""
    step, reset = PandaEnv.step, PandaEnv.reset

    def reset_and_count(self: Any, **arguments: Any) -> Any:
        self.steps_taken = 0
        seeds.append(arguments["seed"])
        return reset(self, **arguments)

    def step_or_raise(self: Any, action: Any) -> Any:
        self.steps_taken += 1
        if self.steps_taken == number:
            raise ArithmeticError("the solver diverged")
        return step(self, action)

    monkeypatch.setattr(PandaEnv, "reset", reset_and_count)
    monkeypatch.setattr(PandaEnv, "step", step_or_raise)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = write_crash(tmp_path / "crashes", "reach", SIM, crash())
    assert path is not None
    found = read_crash(path)
    assert (found.task, found.sim, found.crash) == ("reach", SIM, crash())


def test_only_so_many_files_are_kept(tmp_path: Path) -> None:
    written = [write_crash(tmp_path, "reach", SIM, crash(seed)) for seed in range(MOST_FILES + 3)]
    assert [path is not None for path in written] == [True] * MOST_FILES + [False] * 3
    assert len(list(tmp_path.iterdir())) == MOST_FILES


def test_the_same_episode_is_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_crash(tmp_path, "reach", SIM, crash(seed=7, actions=3))
    assert path is not None
    assert reproduce(read_crash(path)) is None, "a sound world"
    seeds: list[int] = []
    break_at_step(monkeypatch, 3, seeds)
    assert reproduce(read_crash(path)) == "ArithmeticError: the solver diverged"
    assert seeds == [7]
    break_at_step(monkeypatch, 4, seeds)
    path.unlink()
    shorter = write_crash(tmp_path, "reach", SIM, crash(seed=7, actions=2))
    assert shorter is not None
    assert reproduce(read_crash(shorter)) is None


def test_an_environment_that_crashes_in_a_run_leaves_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, broken = tmp_path / "run", [True]
    step = PandaEnv.step

    def step_or_raise(self: Any, action: Any) -> Any:
        answer = step(self, action)
        if broken[0] and np.linalg.norm(action) > 0.5:
            broken[0] = False
            raise ArithmeticError("the solver diverged")
        return answer

    monkeypatch.setattr(PandaEnv, "step", step_or_raise)
    train_here(run)
    (file,) = (run / "crashes").iterdir()
    (event,) = [row for row in lines(run) if row.get("event") == "environment_crash"]
    assert (event["count"], event["files"]) == (1, file.name)
    assert report(run)["crashes"] == 1
    found = json.loads(file.read_text())
    assert "step_or_raise" in found["traceback"]
    capsys.readouterr()
    assert main(["reproduce", str(file)]) == 1
    assert capsys.readouterr().out.endswith("it does not crash here\n")
    broken[0] = True
    assert main(["reproduce", str(file)]) == 0
    assert capsys.readouterr().out.endswith("it crashes again: ArithmeticError: the solver diverged\n")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 2}, "is not an environment's crash: has format 2; this version of twist reads format 1"),
        ({"seed": None}, "is not an environment's crash: "),
        ({"task": 7}, "task = 7 is not allowed: input should be a valid string"),
        ({"task": "raech"}, "task = raech is not allowed: one of reach, push, lift"),
        ({"sim": {"nothing": 1}}, "sim: unknown setting 'nothing'"),
        ({"actions": [[0.5, "up", 1.0]]}, r"actions\.0\.1 = \"up\" is not allowed: input should be a valid number"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    path = write_crash(tmp_path, "reach", SIM, crash())
    assert path is not None
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(UserError, match=said):
        read_crash(path)
