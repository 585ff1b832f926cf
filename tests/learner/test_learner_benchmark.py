"""The benchmark runs where there is no GPU, too, and times each loop alone and both together."""

from __future__ import annotations

import json
import math

import pytest

from learner import benchmark


def test_one_row_for_each_way_of_running_the_loops(capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark.main(["--sizes", "tiny", "--seconds", "0.05", "--device", "cpu", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["size"], row["graphs"], row["loops"]) for row in rows] == [
        ("tiny", "off", "teacher"),
        ("tiny", "off", "student"),
        ("tiny", "off", "together"),
    ]
    assert [{"teacher", "student"} & row.keys() for row in rows] == [{"teacher"}, {"student"}, {"teacher", "student"}]
    assert all(
        math.isfinite(row[kind]) and row[kind] > 0 for row in rows for kind in ("teacher", "student") if kind in row
    )


@pytest.mark.parametrize("seconds", ["0", "-1"])
def test_no_time_is_refused(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        benchmark.main(["--seconds", seconds])
    assert "allowed are numbers above 0" in capsys.readouterr().err
