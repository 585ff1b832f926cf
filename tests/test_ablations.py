"""Every variant of docs/results/ablations.toml and additions.toml through its smallest training: to a report, and
different as it says."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from running import CHECKOUT, lines, of_kind, report
from training_here import train_here

from deploy.evaluation.evaluate import evaluate
from deploy.experiments.sweep_file import PlannedRun, read_sweep
from deploy.runs.directory import RunDirectory
from deploy.settings.overrides import flatten, parse_assignments
from deploy.settings.presets import resolve
from learner import checkpoint
from replay.schema import StreamSpec

FILES = [CHECKOUT / "docs" / "results" / name for name in ("ablations.toml", "additions.toml")]
DYNAMICS = tuple(f"rssm.{name}." for name in ("stoch_in", "action_in", "norm_in", "cell", "prior_hidden", "prior_out"))
VARIANTS = {run.variant: run for file in FILES for run in read_sweep(file).runs if run.config.seed == 0}
LENGTH = {"training.env_steps", "training.student_updates"}
"""What the files set for all."""


def settings_of(run: PlannedRun) -> list[str]:
    """What makes the variant."""
    return [text for text in run.arguments if "=" in text and text.partition("=")[0] not in LENGTH]


def test_the_files_change_one_thing_at_a_time_on_reach() -> None:
    runs = [run for file in FILES for run in read_sweep(file).runs]
    assert {(run.config.task, run.config.seed) for run in runs} == {("reach", 0), ("reach", 1)}
    assert len({str(run.config) for run in runs if run.variant == "default"}) == 2  # the same in both files, by seed
    plain = flatten(VARIANTS["default"].config)
    preset = flatten(resolve("reach", None, []))
    assert {key for key in plain if plain[key] != preset[key]} == LENGTH
    for name, run in VARIANTS.items():
        given = parse_assignments(settings_of(run)).keys()
        changed = {key for key, value in flatten(run.config).items() if value != plain[key] and key != "seed"}
        assert changed == given, f"{name}: what it gives is the default already"


def test_with_four_views_as_many_images_and_updates_as_with_one() -> None:
    one, four = (VARIANTS[name].config for name in ("default", "four views"))
    images = [config.sim.views * config.learner.student.batch_size for config in (one, four)]
    assert images[0] == images[1]
    updates = [c.learner.student_samples_per_insert / c.learner.student.batch_size for c in (one, four)]
    assert updates[0] == updates[1]


@pytest.mark.parametrize("group", ["visual", "dynamics", "timing"])
def test_what_trains_without_a_randomisation_is_judged_with_all_of_it(group: str) -> None:
    config = VARIANTS[f"no {group} randomisation"].config
    assert not getattr(config.sim.randomisation, group).enabled
    assert config.evaluated_sim == VARIANTS["default"].config.evaluated_sim == VARIANTS["default"].config.sim


@pytest.mark.parametrize("variant", list(VARIANTS))
def test_a_variant_trains_to_a_report_and_differs_as_it_says(variant: str, tmp_path: Path) -> None:
    given = settings_of(VARIANTS[variant])
    with mock.patch("deploy.evaluation.conclusion.evaluate", wraps=evaluate) as evaluated:
        train_here(tmp_path / "run", given)
    run = RunDirectory.open(tmp_path / "run")
    asked, written = flatten(VARIANTS[variant].config), flatten(run.config)
    assert {key: written[key] for key in parse_assignments(given)} == {
        key: asked[key] for key in parse_assignments(given)
    }
    assert min(report(run.path)["updates"].values()) >= 3
    assert [call.args[2] for call in evaluated.call_args_list] == [run.config.evaluated_sim] * 3
    check_metrics(run)
    check_checkpoint(run)


def check_metrics(run: RunDirectory) -> None:
    """The terms that are told, and who drove."""
    rows = lines(run.path)
    told = {key for row in of_kind("train", rows) for key in row if key.startswith("student/loss_")}
    terms = {"posterior", "prior", "deter", "state", "action", "readout"}
    terms |= {"imagination"} if run.config.learner.student.imagination_scale > 0 else set()
    assert told == {f"student/loss_{term}" for term in terms}
    driven = any(row.get("episodes/student") for row in of_kind("episode", rows))
    assert driven == (run.config.actors.student_fraction > 0)


def check_checkpoint(run: RunDirectory) -> None:
    """The images that were seen, what the optimiser had to train, and the average."""
    student = run.config.learner.student
    found = run.newest_checkpoint()
    assert StreamSpec.from_json(found.document["learner"]["spec"]).views == run.config.sim.views
    state = checkpoint.read(found.path, found.document["learner"])
    names = [key.partition("/")[2] for key in state.weights if key.startswith("student/")]
    trained = {key.split("/")[1] for key in state.training if key.startswith("student/")}
    without = ("readout_loss.", "informed_loss.")  # their deviations are measured, not trained
    without += DYNAMICS if student.dynamics == "tied" else ()
    without += () if student.readout_scale > 0 else ("readout.", "informed.")
    assert len(trained) == len([name for name in names if not name.startswith(without)])
    same = [
        np.array_equal(state.weights[f"student/{name}"], state.weights[f"student_average/{name}"]) for name in names
    ]
    assert all(same) == (student.average_rate == 1)
