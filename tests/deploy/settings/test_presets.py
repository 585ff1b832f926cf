"""The layers of a run's settings, and what is refused before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.errors import UserError
from deploy.settings.config import DISTILLED, MODES, OPTIONS, TASKS, RunConfig
from deploy.settings.help import describe_settings
from deploy.settings.overrides import flatten, settings
from deploy.settings.presets import PRESET_HELP, PRESETS, TASK_PRESETS, resolve


def test_every_preset_of_every_task_is_possible() -> None:
    for task in TASKS:
        for preset in (None, *PRESETS):
            assert resolve(task, preset, []).task == task


def test_the_tasks_are_the_simulators() -> None:
    import sim

    assert tuple(sim.TASKS) == TASKS
    assert set(TASK_PRESETS) == set(TASKS)
    assert set(PRESET_HELP) == set(PRESETS)


def test_later_layers_go_over_earlier_ones() -> None:
    plain, debug = flatten(resolve("reach", None, [])), flatten(resolve("reach", "debug", []))
    changed = {key for key in plain if plain[key] != debug[key]}
    assert changed
    assert changed <= set(PRESETS["debug"])
    written = flatten(resolve("reach", "debug", ["training.env_steps=777"]))
    assert written == {**debug, "training.env_steps": 777}


def test_options_reach_the_settings() -> None:
    config = resolve("push", None, [], mode="debug", seed="7", redis_url="redis://127.0.0.1:6380/0")
    assert (config.task, config.mode, config.seed, config.redis_url) == ("push", "debug", 7, "redis://127.0.0.1:6380/0")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": "raech"}, "unknown task 'raech': did you mean reach? There are reach, push, lift"),
        ({"preset": "bedug"}, "unknown preset 'bedug': there are debug"),
        ({"mode": "locl"}, "mode = locl is not allowed: one of " + ", ".join(MODES)),
        ({"seed": "-1"}, "seed = -1 is not allowed: a whole number, at least 0"),
        ({"assignments": ["seed=3"]}, "seed is not set by key=value but by --seed"),
        ({"assignments": ["redis_url=redis://x"]}, "redis_url is not set by key=value but by --redis-url"),
        ({"assignments": ["learner.batch_sise=3"]}, "the nearest known one is learner.batch_size"),
        (
            {"assignments": ["learner.batch_size=-3"]},
            "learner.batch_size = -3 is not allowed: a whole number, at least 1",
        ),
    ],
)
def test_what_cannot_be_is_refused(arguments: dict[str, object], message: str) -> None:
    given: dict[str, object] = {"task": "reach", "preset": None, "assignments": [], **arguments}
    with pytest.raises(UserError) as refusal:
        resolve(**given)  # type: ignore[arg-type]
    assert message in str(refusal.value)


def test_a_folder_of_pictures_is_found_from_every_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PHOTOGRAPHS", "mine")
    for given, folder in (("mine", tmp_path / "mine"), ("$PHOTOGRAPHS/1", tmp_path / "mine" / "1"), ("/a", Path("/a"))):
        config = resolve("reach", None, [f"sim.randomisation.visual.pictures={given}"])
        assert config.sim.randomisation.visual.pictures == str(folder)
    assert resolve("reach", None, ["sim.randomisation.visual.pictures="]).sim.randomisation.visual.pictures == ""
    with pytest.raises(UserError, match="there is no NOWHERE in the environment"):
        resolve("reach", None, ["sim.randomisation.visual.pictures=$NOWHERE"])


def test_every_setting_says_what_it_means() -> None:
    assert [key for key, setting in settings(RunConfig).items() if not setting.help] == []


def test_the_help_lists_every_setting_with_default_limits_and_presets() -> None:
    text = describe_settings()
    for key in settings(RunConfig):
        assert (f"  {key}=" in text) == (key not in OPTIONS and not key.startswith(DISTILLED))
    assert "at least 1" in text
    assert f"debug: {PRESETS['debug']['training.env_steps']}" in " ".join(text.split())


def test_the_help_of_one_group_lists_only_that_group() -> None:
    assert "learner." not in describe_settings("sim.")
