"""`twist status`: where a run stands, from its files alone."""

from __future__ import annotations

import fcntl
import io
import json
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_up_run
import pytest
from rich.console import Console
from training_here import train_here

from deploy.cli import main
from deploy.reporting.metrics import MetricsWriter
from deploy.reporting.status import RunStatus, read_status
from deploy.reporting.status_page import print_status
from deploy.runs.checkpoints import Checkpoints
from deploy.runs.directory import RunDirectory
from deploy.runs.report import Faults, write_report
from deploy.settings.config import RunConfig
from deploy.settings.lengths import lengths
from deploy.settings.presets import resolve

BEGUN = 1_800_000_000.0
CONFIG = resolve(
    "reach",
    None,
    ["training.env_steps=30000", "training.student_updates=3000", "actors.max=8", "replay.capacity_steps=50000"],
    seed=3,
)


class Clock:
    def __init__(self) -> None:
        self.seconds = BEGUN

    def __call__(self) -> float:
        return self.seconds


def train_line(**more: float) -> dict[str, Any]:
    values = {
        "run/wall_seconds": 100.0,
        "run/stalled_seconds": 12.4,
        "rate/env_steps": 100.0,
        "actors/running": 2,
        "actors/hours": 0.25,
        "wait/actors": 0.5,
        "teacher/updates": 800,
        "wait/teacher": 0.02,
        "rate/teacher_updates": 8.0,
        "student/updates": 600,
        "wait/student": 0.0,
        "rate/student_updates": 6.0,
        "replay/rows": 12_345.0,
        "replay/bytes": 300.0 * 2**20,
        "replay/evicted_rows": 0.0,
        "replay/quarantined_chunks": 0.0,
        "actors/success_teacher": 0.75,
    }
    return values | {key.replace("__", "/"): value for key, value in more.items()}


class MadeUpRun:
    """A run directory, and the pen that writes its metrics at made-up times."""

    def __init__(self, path: Path, config: RunConfig = CONFIG) -> None:
        self.clock = Clock()
        self.path = path
        self._claimed = RunDirectory.claim(path, config)
        self.run_id = self._claimed.run_id
        self._metrics = MetricsWriter(path / "metrics.jsonl", clock=self.clock)

    def write(self, kind: Any, step: int, values: dict[str, Any]) -> None:
        self._metrics.write(kind, step, values)

    def event(self, name: str, **values: Any) -> None:
        self.write("event", 0, {"event": name, **values})

    def train(self, lines: int = 20, every: float = 5.0) -> None:
        for line in range(lines):
            self.clock.seconds += every
            self.write("train", 1000 + 500 * line, train_line())

    def checkpoint(self, step: int, **more: Any) -> None:
        def write(directory: Path) -> None:
            (directory / "weights").write_text("weights")

        document = {"learner": {}, "metrics_offset": self._metrics.offset, **more}
        Checkpoints(self.path / "checkpoints").save(step, document, write)

    def leave(self) -> None:
        self._metrics.close()
        self._claimed.close()

    def finish(self) -> None:
        """Ends well: the last checkpoint, the report."""
        self.write("train", 30_000, train_line(student__updates=3000, actors__running=0))
        self.checkpoint(30_000, complete=lengths(CONFIG))
        write_report(self.path / "report.json", made_up_run.report(run_id=self.run_id))
        self.leave()

    def status(self, seconds_later: float = 0.0) -> RunStatus:
        return read_status(self.path, clock=lambda: self.clock.seconds + seconds_later)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[MadeUpRun]:
    made = MadeUpRun(tmp_path / "run")
    yield made
    made.leave()


def shown(status: RunStatus, width: int = 80) -> list[str]:
    stream = io.StringIO()
    print_status(status, Console(file=stream, width=width))
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def paragraph(status: RunStatus, name: str) -> str:
    """One row of the lower part, in one line."""
    lines = shown(status)
    first = next(number for number, line in enumerate(lines) if line.startswith(name))
    rest = lines[first + 1 :]
    length = next((number for number, line in enumerate(rest) if not line.startswith(" ")), len(rest))
    return " ".join(line.removeprefix(name).strip() for line in lines[first : first + 1 + length])


# --- states -----------------------------------------------------------------------------------------------------------


def test_a_run_that_is_driven_is_running_and_nothing_is_written(run: MadeUpRun) -> None:
    run.train()
    before = sorted((path, path.stat().st_mtime_ns) for path in run.path.rglob("*"))
    status = run.status(seconds_later=3)
    assert (status.state, status.driver) == ("running", f"process {os.getpid()} on {socket.gethostname()}")
    lines = shown(status)
    assert lines[0] == f"reach, seed 3, mode local, run {run.run_id}"
    assert " ".join(lines[1:3]).startswith(f"running, by process {os.getpid()} on ")
    assert "last line of metrics 3 s ago" in " ".join(lines[1:3])
    assert sorted((path, path.stat().st_mtime_ns) for path in run.path.rglob("*")) == before


def test_a_driver_that_begins_while_somebody_looks_is_not_refused(run: MadeUpRun) -> None:
    run.leave()
    with (run.path / "lock").open() as looked:
        fcntl.flock(looked, fcntl.LOCK_SH)
        timer = threading.Timer(0.05, fcntl.flock, (looked, fcntl.LOCK_UN))
        timer.start()
        RunDirectory.claim(run.path, CONFIG).close()
        timer.join()


def test_a_driver_that_has_said_nothing_for_long_is_told(run: MadeUpRun) -> None:
    run.train()
    assert "though one is due" not in " ".join(shown(run.status(seconds_later=50)))
    assert "last line of metrics 1 min 00 s ago, though one is due every 5 s" in " ".join(
        shown(run.status(seconds_later=60), width=200)
    )


def test_a_run_that_has_just_begun_has_a_status(run: MadeUpRun) -> None:
    status = run.status()
    assert (status.state, status.age_seconds, status.env_steps, status.checkpoint) == ("running", None, 0, None)
    assert "no line of metrics yet" in " ".join(shown(status, 200))
    assert status.to_json()["waiting"] == {"teacher": None, "student": None, "actors": None}


def test_a_run_whose_driver_is_gone_is_stopped(run: MadeUpRun) -> None:
    run.train()
    run.leave()
    status = run.status(seconds_later=7200)
    assert status.state == "stopped"
    assert shown(status)[1] == "stopped, the same command continues it; last line of metrics 2 h 00 min ago"
    assert status.seconds_left is None
    assert status.values["actors/running"] == 0


def test_a_run_that_is_trained_and_still_driven_is_being_evaluated(run: MadeUpRun) -> None:
    run.train()
    run.checkpoint(30_000, complete=lengths(CONFIG))
    status = run.status(seconds_later=300)
    assert (status.state, status.evaluating) == ("running", True)
    assert shown(status)[1].startswith("trained, now evaluated, by process")
    assert "though one is due" not in " ".join(shown(status))


def test_a_run_with_the_report_of_its_settings_is_finished(run: MadeUpRun) -> None:
    run.train()
    run.finish()
    status = run.status(seconds_later=40)
    assert status.state == "finished"
    assert shown(status)[1] == "finished; last line of metrics 40 s ago"
    assert paragraph(status, "result") == (
        "teacher 100 % (state, no images), student 98 % (images, training visuals), "
        "student 96 % (images, held-out visuals)"
    )
    assert status.to_json()["result"] == {
        "teacher_success": 1.0,
        "student_success_train": 0.98,
        "student_success_held_out": 0.96,
    }
    # What a whole run waited, not its last minute.
    assert status.values["wait/actors"] == pytest.approx(0.31)


def test_a_run_that_was_made_longer_after_its_report_is_stopped(run: MadeUpRun) -> None:
    run.train()
    run.finish()
    RunDirectory.claim(run.path, replace(CONFIG, training=replace(CONFIG.training, env_steps=60_000))).close()
    assert run.status().state == "stopped"


@pytest.mark.parametrize("lock", ["process 12 on another-machine", None], ids=["its lock", "no lock"])
def test_a_lock_of_another_machine_cannot_be_seen(run: MadeUpRun, lock: str | None) -> None:
    run.train()
    run.leave()
    (run.path / "lock").unlink()
    if lock is not None:
        (run.path / "lock").write_text(lock)
    status = run.status(seconds_later=4)
    assert status.state == "elsewhere"
    text = " ".join(shown(status))
    assert f"driven by {lock or 'a process that left no name'} when seen last: its lock cannot be seen" in text
    assert "last line of metrics 4 s ago" in text
    assert status.seconds_left is not None


def test_a_copy_of_a_run_that_is_driven_is_a_run_that_is_not(run: MadeUpRun, tmp_path: Path) -> None:
    run.train()
    run.checkpoint(5000)
    shutil.copytree(run.path, tmp_path / "copy")
    copied = read_status(tmp_path / "copy", clock=run.clock)
    assert copied.state == "stopped"
    assert copied.env_steps == run.status().env_steps
    assert copied.checkpoint_age_seconds == run.status().checkpoint_age_seconds


def test_what_is_no_run_is_one_line_and_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (tmp_path, tmp_path / "nothing"):
        assert main(["status", str(path), "--json"]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith(f"twist: run directory {path}: ")
        assert said.err.count("\n") == 1


# --- how far ----------------------------------------------------------------------------------------------------------


def test_rates_and_waiting_are_those_of_the_last_minute(run: MadeUpRun) -> None:
    run.write("train", 1000, train_line(rate__env_steps=999.0, wait__teacher=1.0))
    run.clock.seconds += 300
    for line in range(12):
        run.clock.seconds += 5.0
        rate = 0.0 if line % 2 else 200.0  # chunks come in bursts
        run.write("train", 10_000, train_line(rate__env_steps=rate, wait__teacher=0.3))
    status = run.status()
    assert status.values["rate/env_steps"] == pytest.approx(100.0)
    assert status.values["wait/teacher"] == pytest.approx(0.3)
    assert status.seconds_left == pytest.approx(400.0)  # 2,400 student updates at 6/s; the steps take 200 s
    assert paragraph(status, "time") == "1 min 40 s so far, about 6 min 40 s left"
    assert status.bottleneck.startswith("Actors and teacher wait for the student")


def test_rates_before_a_run_was_continued_do_not_count(run: MadeUpRun) -> None:
    run.train()
    run.event("resumed", lost_env_steps=0)
    status = run.status()
    assert "rate/env_steps" not in status.values
    assert status.seconds_left is None
    assert paragraph(status, "time") == "1 min 40 s so far, not known how much is left"
    run.clock.seconds += 5
    run.write("train", 11_000, train_line(rate__env_steps=50.0))
    assert run.status().values["rate/env_steps"] == 50.0


def test_actors_that_do_not_report_are_not_taken_for_busy_ones(run: MadeUpRun) -> None:
    """More of them would be no help: those that are there hang."""
    run.write("train", 5000, train_line(wait__actors=0.0, wait__teacher=1.0, wait__student=1.0))
    assert "more would help" in run.status().bottleneck
    silent = train_line(wait__teacher=1.0, wait__student=1.0)
    del silent["wait/actors"]
    for _ in range(13):
        run.clock.seconds += 5.0
        run.write("train", 5000, silent)
    status = run.status()
    assert status.bottleneck == (
        "No actor has reported in the last minute: one that hangs is replaced after actors.hang_seconds."
    )
    assert status.to_json()["waiting"]["actors"] is None


def test_success_is_the_last_that_is_known(run: MadeUpRun) -> None:
    run.write("train", 1000, train_line(actors__success_student=0.25))
    run.write("train", 2000, train_line())
    assert run.status().to_json()["success"] == {"teacher": 0.75, "student": 0.25}


@pytest.mark.parametrize(
    ("step", "more", "says"),
    [
        (1500, {"teacher__updates": 0, "student__updates": 0}, "Updates begin at 2,000 rows."),
        (30_000, {}, "All rows are in: what is left are updates."),
        (5000, {}, "Actors wait for the learner, which works all the time: more actors would not help."),
    ],
)
def test_who_waits_depends_on_the_phase(run: MadeUpRun, step: int, more: dict[str, float], says: str) -> None:
    run.write("train", step, train_line(**more))
    assert run.status().bottleneck == says


def test_a_student_that_is_to_begin_later_holds_up_nobody(tmp_path: Path) -> None:
    later = resolve("reach", None, ["training.student_begins=after_teacher"])
    run = MadeUpRun(tmp_path / "run", later)
    run.write("train", 5000, train_line(student__updates=0, wait__student=1.0, wait__actors=0.0))
    assert run.status().bottleneck == "Nobody waits: actors and teacher keep each other busy."
    run.leave()


def test_the_newest_checkpoint_is_as_old_as_the_line_before_it(run: MadeUpRun) -> None:
    run.train(2)
    run.checkpoint(1500)
    run.train(4)
    status = run.status(seconds_later=1)
    assert (status.checkpoint, status.checkpoint_step) == ("step_000001500", 1500)
    assert status.checkpoint_age_seconds == pytest.approx(21.0)
    assert paragraph(status, "checkpoint") == "at 1,500 steps, written 21 s ago"


# --- actors, replay, faults -------------------------------------------------------------------------------------------


def test_the_pool_says_why_it_has_its_size(run: MadeUpRun) -> None:
    run.train(1)
    assert paragraph(run.status(), "actors") == "2 running of 1 to 8"
    for actors in (2, 4):
        run.event("pool_resized", actors=actors, reason=f"of 2 actors' time 1% is waiting: -> {actors} actors")
    status = run.status(seconds_later=65)
    assert paragraph(status, "actors") == (
        "2 running of 1 to 8; last decision 1 min 05 s ago: of 2 actors' time 1% is waiting: -> 4 actors"
    )
    assert status.to_json()["actors"]["decision"]["actors"] == 4


def test_the_replay_says_what_it_holds_and_what_it_gave_up(run: MadeUpRun) -> None:
    run.train(1)
    mib = CONFIG.replay.capacity_bytes // 2**20
    assert paragraph(run.status(), "replay") == f"12,345 of 50,000 rows, 300 of {mib:,} MiB; nothing evicted"
    run.write("train", 2000, train_line(replay__evicted_rows=1234))
    assert paragraph(run.status(), "replay").endswith("1,234 rows evicted")


def test_every_fault_is_counted(run: MadeUpRun) -> None:
    run.train(1)
    assert paragraph(run.status(), "faults").startswith("seconds without progress: 12")
    run.event("resumed", lost_env_steps=5)
    for cause in ("died", "memory", "died"):
        run.event("actor_restart", cause=cause)
    run.event("learner_restart", cause="out_of_memory", reason="its node was short of memory")
    run.event("environment_crash", actor="actor0", count=2)
    run.event("replay_away", reason="refused")
    run.event("replay_back", seconds=2.5, lost_env_steps=7)
    run.write("train", 2000, train_line(replay__quarantined_chunks=3))
    status = run.status()
    assert status.faults == Faults(
        resumed=1,
        restarts={"died": 2, "memory": 1},
        learner_restarts=1,
        learner_losses={"out_of_memory": 1},
        crashes=2,
        replay_outages=1,
        stalled_seconds=12.4,
        quarantined=3,
        lost_rows=12,
    )
    assert paragraph(status, "faults").startswith(
        "times resumed: 1, actors restarted (died): 2, actors restarted (memory): 1, "
        "learner restarted (out_of_memory): 1, "
        "environment crashes: 2, Redis away: 1, seconds without progress: 12, chunks quarantined: 3, "
        "replay rows lost: 12"
    )


@pytest.mark.parametrize(
    ("events", "away"),
    [
        ((), False),
        (("replay_away",), True),
        (("replay_away", "actor_restart"), True),
        (("replay_away", "replay_back"), False),
        (("replay_away", "replay_back", "replay_away"), True),
        (("replay_away", "resumed"), False),
    ],
)
def test_redis_is_away_until_it_is_back_or_the_run_continued(
    run: MadeUpRun, events: tuple[str, ...], away: bool
) -> None:
    run.train(1)
    for name in events:
        run.event(name, cause="died")
    status = run.status()
    assert status.replay_away is away
    assert status.to_json()["replay"]["away"] is away
    assert ("; Redis is away" in paragraph(status, "replay")) is away


def test_the_last_events_are_shown_with_their_age(run: MadeUpRun) -> None:
    for number in range(20):
        run.clock.seconds += 60
        run.event("environment_crash", actor=f"actor{number}", count=1)
    run.event("replay_away", reason="Error 111 connecting to the server")
    run.event("replay_back", seconds=2.5, lost_env_steps=12_000)
    status = run.status(seconds_later=5)
    lines = shown(status)[-8:]
    assert [" ".join(line.split()) for line in (lines[0], *lines[-2:])] == [
        "5 min 05 s ago environment crash actor: actor14, count: 1",
        "5 s ago replay away Error 111 connecting to the server",
        "5 s ago replay back seconds: 2.5, lost env steps: 12,000",
    ]
    assert [event["event"] for event in status.to_json()["events"]][-2:] == ["replay_away", "replay_back"]


# --- as a whole -------------------------------------------------------------------------------------------------------


def test_it_fits_into_80_columns_and_a_few_dozen_lines(run: MadeUpRun) -> None:
    run.train()
    run.event("pool_resized", actors=4, reason="of 2 actors' time 1% is waiting, of the learner's 50%: 2 -> 4 actors")
    run.event("learner_restart", cause="died", reason="Fatal Python error: Segmentation fault (its log: x.err)")
    lines = shown(run.status())
    assert max(map(len, lines)) <= 80
    assert len(lines) < 30
    assert "…" not in "".join(lines)


def test_a_long_file_is_read_from_its_ends_alone(run: MadeUpRun, monkeypatch: pytest.MonkeyPatch) -> None:
    loss = {f"teacher/loss_{number}": 0.123456789 for number in range(60)}
    for line in range(2_000):
        run.write("train", line, train_line() | loss)
        if line % 500 == 0:
            run.event("actor_restart", cause="died")
    parsed = 0
    load = json.loads

    def count(text: Any) -> Any:
        nonlocal parsed
        parsed += 1
        return load(text)

    monkeypatch.setattr("deploy.reporting.metrics.json.loads", count)
    status = run.status()
    assert status.faults.restarts == {"died": 4}
    assert status.env_steps == 1_999
    assert parsed < 30


def test_the_smallest_real_run_has_a_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    train_here(run)
    capsys.readouterr()
    assert main(["status", str(run), "--json"]) == 0
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    status: dict[str, Any] = json.loads(said)
    assert (status["state"], status["mode"], status["task"]) == ("finished", "debug", "reach")
    report = json.loads((run / "report.json").read_text())
    assert status["env_steps"] == report["env_steps"] >= status["goals"]["env_steps"] == 96
    assert status["updates"] == report["updates"]
    assert status["run_id"] == report["run_id"]
    assert status["checkpoint"]["step"] == status["env_steps"]
    assert 0 <= status["checkpoint"]["age_seconds"] <= status["last_line_age_seconds"] + 60
    assert status["replay"]["rows"] > 0
    assert status["faults"]["restarts"] == {}
    assert main(["status", str(run)]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("finished; last line of metrics ")
