"""The layers of a run's settings, and what is refused before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.errors import UserError
from deploy.settings.config import DISTILLED, MODES, OPTIONS, TASKS, RunConfig
from deploy.settings.help import describe_settings
from deploy.settings.overrides import flatten, settings
from deploy.settings.presets import PRESET_HELP, PRESETS, TASK_PRESETS, resolve
from learner.methods import METHODS, SameAs


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


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_possible_on_every_task_and_with_every_preset(method: str) -> None:
    for task in TASKS:
        for preset in (None, *PRESETS):
            assert resolve(task, preset, [f"learner.method={method}"]).learner.method == method


def test_what_suits_a_method_goes_over_the_task_s_preset_and_below_what_is_asked_for() -> None:
    def of_leading(task: str, *given: str, preset: str | None = None) -> tuple[int, int, float]:
        learner = resolve(task, preset, list(given)).learner
        (plan,) = (plan for plan in METHODS[learner.method].plans(learner) if not plan.part.follows)
        return plan.batch_size, plan.sequence_length, plan.samples_per_insert

    dreamer, sac = "learner.method=dreamer_dr", "learner.method=asymmetric_sac"
    assert of_leading("push") == of_leading("push", "learner.method=oracle") == (32, 16, 21.0)
    # whole episodes, as many as the student's batches have
    assert of_leading("push", dreamer) == (4, 0, 21.0)
    assert of_leading("lift", dreamer) == (4, 0, 17.0)
    assert of_leading("reach", dreamer) == (16, 0, 8.0)
    assert of_leading("push", dreamer, "learner.student.batch_size=7")[0] == 7
    assert of_leading("push", dreamer, "learner.batch_size=6", "learner.sequence_length=20") == (6, 20, 21.0)
    # an update every eight steps
    for task in TASKS:
        assert of_leading(task, sac) == (16, 16, 32.0)
    assert of_leading("push", sac, "learner.teacher_samples_per_insert=64") == (16, 16, 64.0)
    assert of_leading("reach", dreamer, preset="debug") == (PRESETS["debug"]["learner.batch_size"], 0, 8.0)


def test_the_help_says_what_methods_change() -> None:
    text = " ".join(describe_settings("learner.").split())
    assert "method asymmetric_sac: 32" in text
    assert "method dreamer_dr: as learner.student.batch_size" in text
    assert "method twist_paper: 1.0)" in text


def test_a_method_s_settings_are_settings() -> None:
    known = settings(RunConfig)
    for method in METHODS.values():
        for key, value in method.lays.items():
            if isinstance(value, SameAs):
                assert known[value.key].hint is not None
            else:
                assert known[key].convert(value) == value, key
