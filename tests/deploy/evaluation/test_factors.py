"""Where it fails: conditions over the same episodes, what is said of them, figure, page and a real evaluation."""

import dataclasses
import io
import json
import re
import shutil
from pathlib import Path

import made_up_run
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import sim
from deploy.cli import main
from deploy.errors import UserError
from deploy.evaluation.factors import WIDEN, evaluate_factors, what_to_widen
from deploy.reporting.factors import (
    Condition,
    FactorsReport,
    print_factors,
    read_factors,
    write_factors,
)
from deploy.reporting.factors_figure import write_factors_figure
from deploy.reporting.page import write_page
from deploy.reporting.paired import holm, sign_test, smallest_certain_loss
from deploy.runs.directory import RunDirectory
from deploy.runs.report import write_report
from deploy.settings.config import RunConfig
from deploy.settings.overrides import settings
from deploy.settings.presets import resolve
from deploy.settings.specification import stream_spec
from learner import checkpoint
from learner.learner import Learner

EPISODES = 100
HARD = {"textures": 24, "light": 9, "camera": 5, "things": 4, "noise": 14, "delay": 3}
"""Failures with each group of factors held out alone; in training visuals episodes 0 to 3 fail."""


def condition(domain: str, failures: int, *, shift: int = 0, episodes: int = EPISODES) -> Condition:
    return Condition(domain, episodes, tuple(range(shift, shift + failures)), 12.5)


def made_up(failures: dict[str, int] = HARD, *, held_out: int = 31) -> FactorsReport:
    return FactorsReport(
        run_id="reach-20261120-4f1c",
        task="reach",
        env_steps=30_208,
        episodes=EPISODES,
        seed=3,
        train=condition("train", 4),
        held_out=condition("held_out", held_out, shift=2),
        factors={name: condition(f"held_out:{name}", count, shift=1) for name, count in failures.items()},
        widen=dict.fromkeys(failures, "sim.randomisation.visual.some_range (now 0.6, allowed 0 to 1)"),
    )


@pytest.fixture(scope="module")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A debug run that has a checkpoint of networks that learned nothing."""
    assignments = ["sim.randomisation.visual.textures=false", "sim.episode_steps=5"]
    config = resolve("reach", "debug", assignments, mode="debug")
    path = tmp_path_factory.mktemp("runs") / "untrained"
    with RunDirectory.claim(path, config) as run:
        state = checkpoint.capture(Learner(stream_spec(config), config.learner, seed=0))
        run.checkpoints.save(600, {"learner": state.document}, lambda files: checkpoint.write(state, files))
    return path


def test_episodes_that_end_alike_say_nothing_and_the_others_are_a_fair_coin() -> None:
    assert sign_test(0, 0) == 1.0
    assert sign_test(3, 3) == 1.0
    # 1 of 8 or fewer, either way: 2 · (1 + 8) / 2⁸
    assert sign_test(7, 1) == sign_test(1, 7) == pytest.approx(18 / 256)
    assert sign_test(8, 0) == pytest.approx(2 / 256)
    with pytest.raises(ValueError, match="not allowed"):
        sign_test(-1, 2)


def test_several_tests_are_corrected_in_steps_that_never_fall() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_the_smallest_loss_that_can_be_told_from_chance() -> None:
    # 6 · 2 / 2⁷ = 0.094, 6 · 2 / 2⁸ = 0.047
    assert smallest_certain_loss(6) == 8
    assert smallest_certain_loss(1) == 6


def test_episodes_are_compared_one_by_one_and_the_worst_factor_comes_first() -> None:
    effects = made_up().effects()
    assert [effect.name for effect in effects] == ["textures", "noise", "light", "camera", "things", "delay"]
    worst = effects[0]
    # It fails in 1 to 24, training visuals in 0 to 3: 4 to 24 are lost and 0 is gained.
    assert (worst.lost, worst.gained) == (21, 1)
    assert worst.p == pytest.approx(6 * sign_test(21, 1))
    assert [effect.name for effect in effects if effect.differs] == ["textures", "noise"]
    together = made_up().together()
    assert (together.lost, together.gained, together.differs) == (29, 2, True)
    assert together.p == sign_test(29, 2), "one comparison of its own"


def test_the_verdict_names_the_factor_and_the_setting_to_widen() -> None:
    assert made_up().verdict() == (
        "Textures cost most: alone, 21 of 100 episodes fail that succeed in training visuals, and 1 the other "
        "way round (p < 0.001). To widen: sim.randomisation.visual.some_range (now 0.6, allowed 0 to 1)."
    )


def test_the_verdict_says_so_when_nothing_can_be_told_from_chance() -> None:
    quiet = made_up(dict.fromkeys(sim.GROUPS, 6), held_out=5).verdict()
    assert quiet == (
        "No factor alone can be told from training visuals; in 100 episodes, the loss of fewer than 8 never can."
    )
    assert made_up(dict.fromkeys(sim.GROUPS, 6)).verdict() == (
        quiet + " All that is held out together can: 29 lost, 2 gained."
    )


def test_a_student_that_never_succeeds_has_nothing_to_lose() -> None:
    report = dataclasses.replace(made_up(dict.fromkeys(sim.GROUPS, 99)), train=condition("train", EPISODES))
    assert report.verdict().startswith("Nothing to see yet")


def test_a_factor_that_gains_is_no_failure() -> None:
    better = dataclasses.replace(
        made_up({"light": 0}, held_out=2),
        train=condition("train", 30),
    )
    (effect,) = better.effects()
    assert (effect.lost, effect.gained, effect.differs) == (0, 30, False)
    assert better.verdict().startswith("No factor alone")


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    report = made_up()
    write_factors(tmp_path / "factors.json", report)
    assert read_factors(tmp_path / "factors.json").to_json() == report.to_json()
    document = json.loads((tmp_path / "factors.json").read_text())
    assert document["factors"]["light"]["failures"] == list(range(1, 10))
    assert document["verdict"] == report.verdict()


@pytest.mark.parametrize("text", ["[]", "{", '{"format": 2}', '{"format": 1}'])
def test_what_is_no_report_on_factors_is_refused_with_its_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "factors.json").write_text(text)
    with pytest.raises(UserError, match=r"factors\.json: is not a report on factors"):
        read_factors(tmp_path / "factors.json")


def test_the_terminal_shows_every_condition_and_the_verdict() -> None:
    console = Console(width=160, file=io.StringIO())
    print_factors(made_up({name: count for name, count in HARD.items() if name != "delay"}), console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    order = ["nothing (training visuals)", "textures", "noise", "light", "camera", "things", "all held-out visuals"]
    assert [text.index(name) for name in order] == sorted(text.index(name) for name in order)
    assert "switched off in this run: delay" in text
    assert "Textures cost most" in text


@pytest.mark.parametrize("failures", [HARD, dict.fromkeys(sim.GROUPS, 0), {"light": 99}, {}], ids=len)
def test_the_figure_is_drawn_for_light_and_for_dark(tmp_path: Path, failures: dict[str, int]) -> None:
    written = write_factors_figure(tmp_path / "factors.png", made_up(failures))
    assert [path.name for path in written] == ["factors.png", "factors-dark.png"]
    for path in written:
        alpha = np.asarray(Image.open(path).convert("RGBA"))[..., 3]
        assert 0.001 < (alpha > 0).mean() < 0.5, f"{path.name}: lines on a transparent ground"


def test_the_page_shows_figure_table_and_verdict(tmp_path: Path) -> None:
    run = tmp_path
    (run / "config.json").write_text(
        '{"format": 1, "run_id": "x", "created": "", "config": {"task": "reach", "sim": {"image_size": 64}}}'
    )
    write_report(run / "report.json", made_up_run.report())
    write_page(run)
    assert "Where it fails" not in (run / "report.html").read_text()
    write_factors(run / "factors.json", made_up())
    write_factors_figure(run / "factors.png", made_up())
    write_page(run)
    text = (run / "report.html").read_text()
    section = text[text.index("Where it fails") : text.index("<h2>How it ran</h2>")]
    assert "Textures cost most" in section
    assert 'src="factors.png"' in section
    assert 'srcset="factors-dark.png"' in section
    assert re.findall(r'<th scope="row">(\w+)', section) == [
        *("Nothing", "Textures", "Noise", "Light", "Camera", "Things", "Delay", "All")
    ]
    assert 'href="factors.json"' in text


def test_the_list_says_what_are_factors_and_what_domains_are_made_of(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["factors", "--list", "push"]) == 0
    parts = capsys.readouterr().out.split("\n\n")
    assert "held_out:GROUP" in parts[2]
    assert "alone:NAME" in parts[4]
    assert "lab:NAME" in parts[6]
    for part, names in ((1, ["table.texture", "cube.hue_deg"]), (3, sim.GROUPS), (5, sim.CHANGES), (7, sim.ROOMS)):
        listed = [line.split()[0] for line in parts[part].splitlines() if not line.startswith(" ")]
        assert set(names) <= set(listed) if part == 1 else listed == list(names)


def test_every_setting_to_widen_exists_and_has_limits() -> None:
    assert set(WIDEN) == set(sim.GROUPS)
    known = settings(RunConfig)
    for key in (f"sim.randomisation.{key}" for keys in WIDEN.values() for key in keys):
        assert known[key].minimum is not None
        assert known[key].maximum is not None


def test_a_setting_that_is_as_wide_as_it_may_be_is_not_the_advice() -> None:
    default = resolve("reach", None, [])
    assert what_to_widen(default, "textures") == (
        "sim.randomisation.visual.texture_photograph (now 0.2, allowed 0 to 1)"
    )
    wide = resolve("reach", None, ["sim.randomisation.visual.texture_photograph=1"])
    assert what_to_widen(wide, "textures").startswith("sim.randomisation.visual.texture_wood (now 0.25")
    narrow = resolve("reach", None, ["sim.randomisation.visual.camera_position_m=0.01"])
    assert what_to_widen(narrow, "camera").startswith("sim.randomisation.visual.camera_position_m (now 0.01")
    assert "sim.views (now 1)" in what_to_widen(default, "camera"), "its defaults are the most that is allowed"
    without = resolve("reach", None, ["sim.randomisation.visual.lights=false"])
    assert what_to_widen(without, "light") == "this run trains without it, switch it on"


def test_a_run_is_evaluated_under_each_condition_it_draws_over_the_same_episodes(
    untrained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(untrained, run)
    assert main(["factors", str(run), "--held-out", "--episodes", "2", "--seed", "5", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert set(document["factors"]) == {"things", "light", "camera", "noise", "delay"}
    assert document["not_drawn"] == ["textures"]
    assert {entry["domain"] for entry in document["factors"].values()} == {
        f"held_out:{name}" for name in document["factors"]
    }
    assert (document["env_steps"], document["episodes"], document["seed"]) == (600, 2, 5)
    assert read_factors(run / "factors.json").to_json() == document
    assert (run / "factors.png").is_file()
    assert not (run / "report.html").exists(), "a run without a report has no page"
    returns = [document["train"]["mean_return"], *(entry["mean_return"] for entry in document["factors"].values())]
    assert len(set(returns)) > 1, "what it sees changes what it does"
    again = evaluate_factors(RunDirectory.open(run), episodes=2, seed=5, parallel=False)
    assert again.to_json() == document


def test_each_change_is_judged_alone_with_the_setting_of_its_group_to_widen(untrained: Path) -> None:
    report = evaluate_factors(RunDirectory.open(untrained), episodes=1, seed=5, parallel=False, changes=True)
    assert set(report.factors) == {"things", "light", "camera", "noise", "delay", *sim.CHANGES}
    assert report.factors["wood"].domain == "alone:wood"
    assert report.factors["light"].domain == "held_out:light"
    assert "sim.randomisation.visual.light_diffuse" in report.widen["hard_shadow"]
    assert report.widen["wood"] == "this run trains without it, switch it on"
    assert set(report.widen) == set(report.factors)


def test_a_run_without_a_checkpoint_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    RunDirectory.claim(tmp_path / "run", resolve("reach", "debug", [])).close()
    assert main(["factors", str(tmp_path / "run")]) == 2
    assert "has no checkpoint yet" in capsys.readouterr().err
    assert not (tmp_path / "run" / "factors.json").exists()
