"""`twist compare`, over tasks and seeds: interquartile means, paired differences and what chance does."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_compare import OFF, compared, make

from deploy.experiments.against import by_label, differences, sign_flip_test, standings
from deploy.experiments.compared_runs import Group, group_runs, read_run
from deploy.experiments.sweep import RECORD
from deploy.runs.atomic import write_json


def groups_of(*runs: Path) -> list[Group]:
    return group_runs(read_run(run) for run in runs)


def two_settings(directory: Path, plain: list[int], off: list[int], task: str = "reach") -> list[Path]:
    runs = [
        make(directory / f"{task}-p{seed}", seed=seed, task=task, successes=(100, 99, n), training=False)
        for seed, n in enumerate(plain)
    ]
    return runs + [
        make(directory / f"{task}-o{seed}", OFF, seed=seed, task=task, successes=(100, 99, n), training=False)
        for seed, n in enumerate(off)
    ]


def test_signs_that_are_all_alike_are_as_rare_as_their_number_says() -> None:
    assert sign_flip_test([0.1, 0.2, 0.1, 0.3, 0.1]) == pytest.approx(2 / 2**5)
    assert sign_flip_test([-0.1, -0.2, -0.3]) == pytest.approx(2 / 2**3)
    # Of the eight signs of 1, 2, 3 six have a sum as far from 0 as that of 1 - 2 + 3 = 2: but for +-(1 + 2 - 3) = 0.
    assert sign_flip_test([0.1, -0.2, 0.3]) == pytest.approx(6 / 8)
    assert sign_flip_test([0.0, 0.0]) == 1


def test_differences_are_paired_by_seed_and_standings_leave_out_the_extremes(tmp_path: Path) -> None:
    groups = groups_of(*two_settings(tmp_path, [90, 92, 94, 96], [80, 83, 82, 10]))
    plain, off = standings(groups)
    assert (plain.results, plain.tasks, plain.iqm) == (4, 1, pytest.approx(0.93))
    assert off.iqm == pytest.approx(0.81)
    assert plain.interval[0] < 0.93 < plain.interval[1]
    (difference,) = differences(groups)
    assert (difference.task, difference.pairs) == ("reach", 4)
    assert difference.mean == pytest.approx(-(0.10 + 0.09 + 0.12 + 0.86) / 4)
    assert difference.p == difference.corrected == pytest.approx(2 / 2**4)


def test_several_tasks_stand_by_themselves_and_together(tmp_path: Path) -> None:
    runs = two_settings(tmp_path, [90, 92], [80, 83]) + two_settings(tmp_path, [50, 52], [60, 66], task="push")
    found = differences(groups_of(*runs))
    assert [(one.task, one.pairs) for one in found] == [("reach", 2), ("push", 2), (None, 4)]
    assert found[2].mean == pytest.approx((-0.10 - 0.09 + 0.10 + 0.14) / 4)
    assert found[2].interval[0] <= 0 < found[2].interval[1]


def test_the_same_settings_under_another_name_of_one_sweep_stay_apart(tmp_path: Path) -> None:
    """A placebo: what two names of one thing differ by is chance."""
    runs = [
        make(tmp_path / variant / f"reach-{seed}", seed=seed, successes=(100, 99, 90 + seed), training=False)
        for variant, seeds in (("default", (0, 1)), ("again", (5, 6)))
        for seed in seeds
    ]
    write_json(tmp_path / RECORD, {"format": 1, "name": "s", "variants": {"default": "default", "again": "placebo"}})
    groups = groups_of(*runs)
    assert list(by_label(groups)) == ["default", "placebo"]
    (difference,) = differences(groups)
    assert (difference.label, difference.pairs, difference.mean) == ("placebo", 2, pytest.approx(0.05))


def test_the_page_has_both_tables_and_says_how_to_read_them(tmp_path: Path) -> None:
    runs = two_settings(tmp_path, [90, 92], [80, 84])
    assert compared(*runs, "--out", tmp_path / "out") == 0
    text = (tmp_path / "out" / "compare.md").read_text()
    assert "## Over tasks and seeds" in text
    assert "| learner.student.imagination_scale=0.0 | reach | -9.0 | -10.0 to -8.0 | 2 | 0.500 | 0.500 |" in text
    assert compared(runs[0], runs[1], "--out", tmp_path / "one") == 0
    assert "## Over tasks and seeds" not in (tmp_path / "one" / "compare.md").read_text(), "nothing to compare with"
