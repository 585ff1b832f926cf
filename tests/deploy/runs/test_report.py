"""report.json and the closing table."""

import io
import json
import math
from pathlib import Path

import made_up_run
import pytest
from rich.console import Console

from deploy.errors import UserError
from deploy.reporting.closing import print_report
from deploy.reporting.formats import format_duration
from deploy.runs.report import Faults, read_report, write_report


def printed(paths: dict[str, Path], width: int = 100, **changes: object) -> str:
    out = io.StringIO()
    print_report(made_up_run.report(**changes), paths, Console(file=out, width=width))
    return out.getvalue()


def test_report_json_has_what_was_promised(tmp_path: Path) -> None:
    write_report(tmp_path / "report.json", made_up_run.report())
    document = json.loads((tmp_path / "report.json").read_text())
    promised = {
        "task": "reach",
        "env_steps": 30_000,
        "wall_seconds": 283.4,
        "teacher_success": 1.0,
        "student_success_train": 0.98,
        "student_success_held_out": 0.96,
        "episodes": 100,
        "updates": {"teacher": 3000, "student": 3000},
        "seed": 3,
        "run_id": "reach-20261120-4f1c",
        "resumed": 1,
        "restarts": {"killed": 2},
        "crashes": 0,
        "quarantined": 1,
        "lost_rows": 0,
        "replay_ratios": {"teacher": 51.2, "student": 38.4},
        "waiting": {"teacher": 0.04, "student": 0.0, "actors": 0.31},
    }
    assert {key: document[key] for key in promised} == promised
    assert document["versions"]["torch"] == "2.13.0"
    for name in ("teacher_success", "student_success_train", "student_success_held_out"):
        low, high = document["intervals"][name]
        assert 0 <= low <= document[name] <= high <= 1


def test_a_report_read_back_is_the_same(tmp_path: Path) -> None:
    report = made_up_run.report()
    write_report(tmp_path / "report.json", report)
    assert read_report(tmp_path / "report.json") == report


def test_a_number_that_is_not_known_is_null_in_json_and_a_dash_on_the_terminal(tmp_path: Path) -> None:
    unknown = {"teacher": 1.5, "student": math.nan}
    write_report(tmp_path / "report.json", made_up_run.report(replay_ratios=unknown))
    assert json.loads((tmp_path / "report.json").read_text())["replay_ratios"] == {"teacher": 1.5, "student": None}
    assert math.isnan(read_report(tmp_path / "report.json").replay_ratios["student"])
    assert "teacher 1.50, student –" in printed({}, replay_ratios=unknown)


def test_a_report_without_its_headline_is_refused() -> None:
    with pytest.raises(ValueError, match="there is none for student_success_held_out"):
        made_up_run.report(evaluations=made_up_run.results()[:2])


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 99}', '{"format": 1, "run_id": "x"}'])
def test_a_broken_report_is_refused_in_one_line_that_names_the_file(tmp_path: Path, content: str) -> None:
    path = tmp_path / "report.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"report\.json: is not a report") as caught:
        read_report(path)
    assert "\n" not in str(caught.value)


def test_the_closing_table_has_three_rows_with_their_intervals() -> None:
    lines = printed({}).splitlines()
    held_out, _ = [line for line in lines if "held-out" in line]
    assert "96.0 %" in held_out
    assert "90.2 – 98.4 %" in held_out
    assert any("teacher" in line and "100.0 %" in line for line in lines)
    assert any("training visuals" in line and "98.0 %" in line for line in lines)
    assert any("30,000 environment steps in 4 min 43 s" in line for line in lines)


def test_a_second_table_tells_of_motion_where_that_was_measured() -> None:
    _, held_out = [line for line in printed({}, width=140).splitlines() if "held-out" in line]
    # No cube was struck.
    assert " ".join(held_out.split()).endswith("3.4 % 4.2 mm 0.0 % 1.2 % – m/s")
    assert "motion" not in printed({}, evaluations=made_up_run.results(motion=None))


def test_a_report_of_a_version_that_measured_no_motion_is_read(tmp_path: Path) -> None:
    write_report(tmp_path / "report.json", made_up_run.report())
    document = json.loads((tmp_path / "report.json").read_text())
    for evaluation in document["evaluations"]:
        del evaluation["motion"]
    (tmp_path / "report.json").write_text(json.dumps(document))
    assert read_report(tmp_path / "report.json").evaluations == made_up_run.results(motion=None)


def test_the_closing_table_names_faults_and_says_when_there_were_none() -> None:
    assert "faults: times resumed: 1, actors restarted (killed): 2, chunks quarantined: 1" in printed({})
    assert "faults: none" in printed({}, faults=Faults())


def test_paths_that_exist_are_printed_unbroken(tmp_path: Path) -> None:
    long = tmp_path / ("a-very-long-name-" * 8)
    long.mkdir()
    text = printed({"run": long, "page": tmp_path / "not-there.html"}, width=60)
    assert str(long) in text
    assert "not-there" not in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.6, "1 min 00 s"), (283.4, "4 min 43 s"), (3600, "1 h 00 min"), (7530, "2 h 05 min")],
)
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
