"""Signals that ask to end, sent to real commands in every moment: what they leave is whole, and nothing goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType

import pytest
from running import DEBUG, LOCAL, SECONDS, command, completed, instead, is_alive, lines, of_kind, report, tree

from deploy.runs.directory import RunDirectory

ENDLESS = ("training.env_steps=1000000", "training.checkpoint_every_seconds=600")
SWEEP = """
name = "one"
tasks = ["reach"]
seeds = [0]
preset = "debug"
mode = "debug"
settings = ["training.env_steps=100000"]
[variants]
default = []
"""


@pytest.fixture(autouse=True)
def nobody_ignores_hang_ups() -> Iterator[None]:
    """As whatever nohup starts does, these tests included."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


class Command:
    """A command that leads a process group, as one begun in a terminal or by timeout(1) does."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self._files = directory / "out", directory / "err"
        self._arguments = arguments
        self._processes: set[int] = set()

    def __enter__(self) -> Command:
        with self._files[0].open("w") as out, self._files[1].open("w") as err:
            self.process = subprocess.Popen(**command(*self._arguments), stdout=out, stderr=err, start_new_session=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pid in tree(self.process.pid) if self.process.poll() is None else ():
            os.kill(pid, signal.SIGKILL)

    @property
    def said(self) -> str:
        return self._files[0].read_text()

    @property
    def complaint(self) -> str:
        """What it said on stderr."""
        return self._files[1].read_text()

    def wait_until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + SECONDS
        while not condition():
            assert self.process.poll() is None, f"it ended:\n{self.said}\n{self.complaint}"
            assert time.monotonic() < deadline, f"it hangs:\n{self.said}\n{self.complaint}"
            self._processes |= set(tree(self.process.pid))
            time.sleep(0.02)

    def ended(self) -> int:
        """Its exit code, once it has ended and nothing that it started goes on."""
        code = self.process.wait(SECONDS)
        deadline = time.monotonic() + 20.0
        while left := [pid for pid in self._processes if is_alive(pid)]:
            assert time.monotonic() < deadline, [Path(f"/proc/{pid}/cmdline").read_text() for pid in left]
            time.sleep(0.05)
        return code

    def named(self, title: str) -> list[int]:
        """Processes below it with this in their command lines."""
        found = []
        for pid in tree(self.process.pid):
            try:
                if title in Path(f"/proc/{pid}/cmdline").read_text():
                    found.append(pid)
            except FileNotFoundError:
                pass
        return found


def has_learned(run: Path) -> bool:
    return any(row["teacher/updates"] > 0 and row["student/updates"] > 0 for row in of_kind("train", lines(run)))


def assert_saved_at_this_moment(run: Path) -> str:
    """The newest checkpoint has all that the metrics tell of, and its name."""
    checkpoint = RunDirectory.open(run).checkpoints.latest()
    assert checkpoint is not None
    last = of_kind("train", lines(run))[-1]
    told = {name: last[f"{name}/updates"] for name in ("teacher", "student")}
    assert {name: checkpoint.document["learner"][f"{name}_updates"] for name in told} == told
    assert checkpoint.step == last["step"] == last["replay/env_steps"]
    assert "complete" not in checkpoint.document
    return checkpoint.path.name


@pytest.mark.parametrize(
    ("mode", "number"),
    [
        (LOCAL, signal.SIGTERM),
        (DEBUG, signal.SIGINT),
        pytest.param(DEBUG, signal.SIGHUP, marks=pytest.mark.long),
        pytest.param(DEBUG, signal.SIGUSR1, marks=pytest.mark.long),
    ],
    ids=["local-SIGTERM", "debug-SIGINT", "debug-SIGHUP", "debug-SIGUSR1"],
)
def test_a_training_that_is_asked_to_end_saves_where_it_is_and_the_same_command_goes_on(
    mode: Sequence[str], number: signal.Signals, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    mode = instead(mode, "training.checkpoint_every_updates=1000000", "training.checkpoint_every_seconds=600")
    with Command(tmp_path, "train", "reach", *mode, "training.env_steps=1000000", "--run-dir", str(run)) as training:
        training.wait_until(lambda: has_learned(run))
        training.process.send_signal(number)
        assert training.ended() == 128 + number
    name = assert_saved_at_this_moment(run)
    assert (
        training.complaint
        == f"twist: ended by {number.name}: checkpoint {name} is saved; the same command goes on from it\n"
    )
    before = of_kind("train", lines(run))[-1]

    said = completed("train", "reach", *mode, f"training.env_steps={before['step']:.0f}", "--run-dir", str(run))

    assert f"checkpoint {name}; {int(before['replay/rows']):,} rows in replay, none lost" in said
    found = report(run)
    assert (found["resumed"], found["lost_rows"]) == (1, 0)
    assert all(found["updates"][loop] >= before[f"{loop}/updates"] for loop in ("teacher", "student"))


@pytest.mark.parametrize(
    "number",
    [signal.SIGINT, *(pytest.param(number, marks=pytest.mark.long) for number in (signal.SIGTERM, signal.SIGHUP))],
    ids=lambda number: number.name,
)
def test_a_signal_to_the_whole_group_takes_neither_actors_nor_learner_nor_redis_away(
    number: signal.Signals, tmp_path: Path
) -> None:
    """Ctrl-C and a closed terminal do that, and timeout(1), which sends its signal twice."""
    run = tmp_path / "run"
    with Command(tmp_path, "train", "reach", *instead(LOCAL, *ENDLESS), "--run-dir", str(run)) as training:
        training.wait_until(lambda: has_learned(run))
        training.process.send_signal(number)
        os.killpg(training.process.pid, number)
        assert training.ended() == 128 + number
    name = assert_saved_at_this_moment(run)
    assert f"checkpoint {name} is saved" in training.complaint
    assert training.complaint.count("\n") == 1
    assert not of_kind("event", lines(run))


def test_a_signal_while_ray_begins_ends_all_of_it(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with Command(tmp_path, "train", "reach", *LOCAL, "--run-dir", str(run)) as training:
        training.wait_until(lambda: training.named("raylet"))
        training.process.send_signal(signal.SIGTERM)
        assert training.ended() == 143
    assert training.complaint == "twist: ended by SIGTERM: the same command goes on\n"


def test_a_signal_while_it_evaluates_ends_that_and_keeps_what_was_trained(tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = instead(LOCAL, "evaluation.episodes=100000")
    with Command(tmp_path, "train", "reach", *arguments, "--run-dir", str(run)) as training:
        training.wait_until(lambda: "evaluating" in training.said and len(training.named("spawn_main")) >= 2)
        os.killpg(training.process.pid, signal.SIGINT)
        assert training.ended() == 130
    assert training.complaint == "twist: ended by SIGINT: the same command goes on\n"
    checkpoint = RunDirectory.open(run).checkpoints.latest()
    assert checkpoint is not None
    assert "complete" in checkpoint.document


def test_a_second_signal_ends_it_where_it_is(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with Command(tmp_path, "train", "reach", *instead(LOCAL, *ENDLESS), "--run-dir", str(run)) as training:
        training.wait_until(lambda: has_learned(run))
        (learner,) = training.named("ray::LearnerActor")
        os.kill(learner, signal.SIGSTOP)  # so that nothing can be drained
        training.process.send_signal(signal.SIGTERM)
        time.sleep(1.5)
        assert training.process.poll() is None
        training.process.send_signal(signal.SIGTERM)
        assert training.ended() == 143
    assert training.complaint == "twist: ended at once by SIGTERM\n"


def test_what_cannot_be_drained_is_given_up_in_time_for_kubernetes(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with Command(tmp_path, "train", "reach", *instead(LOCAL, *ENDLESS), "--run-dir", str(run)) as training:
        training.wait_until(lambda: has_learned(run))
        (learner,) = training.named("ray::LearnerActor")
        os.kill(learner, signal.SIGSTOP)
        training.process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert training.ended() == 143
        assert time.monotonic() - began < 30.0
    assert training.complaint == (
        "twist: ended by SIGTERM: not drained in time; the same command goes on from the newest checkpoint\n"
    )


def test_a_run_on_remote_storage_is_sent_before_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWIST_CACHE", str(tmp_path / "cache"))
    there = tmp_path / "there"
    arguments = instead(DEBUG, "training.env_steps=1000000", "training.checkpoint_every_updates=1000000")
    with Command(tmp_path, "train", "reach", *arguments, "--run-dir", f"file://{there}") as training:
        (run,) = wait_for_one(training, tmp_path / "cache" / "remote-runs" / "driven")
        training.wait_until(lambda: has_learned(run))
        training.process.send_signal(signal.SIGTERM)
        assert training.ended() == 143
    name = assert_saved_at_this_moment(run)
    assert (there / "checkpoints" / "latest").read_text() == f"{name}\n"
    assert (there / "metrics.jsonl").read_bytes() == (run / "metrics.jsonl").read_bytes()
    assert json.loads((there / "driver.json").read_text())["released"]


def wait_for_one(running: Command, directory: Path) -> list[Path]:
    running.wait_until(lambda: list(directory.glob("*/run/metrics.jsonl")))
    return list(directory.glob("*/run"))


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGTERM, marks=pytest.mark.long), signal.SIGKILL], ids=lambda number: number.name
)
def test_the_runs_of_a_sweep_save_what_they_have_however_the_sweep_ends(number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "sweep.toml").write_text(SWEEP)
    run = tmp_path / "runs" / "default" / "reach-0"
    with Command(tmp_path, "sweep", str(tmp_path / "sweep.toml"), "--out", str(tmp_path / "runs")) as sweep:
        sweep.wait_until(lambda: has_learned(run))
        sweep.process.send_signal(number)
        assert sweep.ended() == (143 if number == signal.SIGTERM else -signal.SIGKILL)
    assert_saved_at_this_moment(run)
    log = (tmp_path / "runs" / "default-reach-0.log").read_text()
    assert "twist: ended by SIGTERM: checkpoint" in log
    if number == signal.SIGTERM:
        assert sweep.complaint == "twist: ended by SIGTERM: the same command continues the sweep\n"
        assert "interrupted" in sweep.said


def test_a_run_goes_on_when_what_started_it_has_ended(tmp_path: Path) -> None:
    """A shell with `twist train ... &` that is left, a script, a terminal under nohup."""
    run = tmp_path / "run"
    whole = command("train", "reach", *LOCAL, "--run-dir", str(run))
    starts = "import subprocess, sys; subprocess.Popen(sys.argv[1:], start_new_session=True); sys.stdin.read()"
    whole["args"] = [sys.executable, "-c", starts, *whole["args"]]
    log = tmp_path / "log"
    with log.open("w") as out, subprocess.Popen(**whole, stdin=subprocess.PIPE, stdout=out, stderr=out) as starting:
        wait_for(lambda: has_learned(run), log)
        training = next(pid for pid in tree(starting.pid)[1:] if "deploy" in Path(f"/proc/{pid}/cmdline").read_text())
        starting.kill()
    wait_for(lambda: not is_alive(training), log)
    assert report(run)["env_steps"] >= 600


def wait_for(condition: Callable[[], object], log: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


@pytest.mark.parametrize("name", ["eval", pytest.param("factors", marks=pytest.mark.long)])
def test_an_evaluation_ends_at_once_in_one_line(name: str, finished: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    with Command(tmp_path, name, str(finished), "--episodes", "100000") as evaluating:
        evaluating.wait_until(
            lambda: has_begun(evaluating) if name == "eval" else len(evaluating.named("spawn_main")) >= 2
        )
        evaluating.process.send_signal(signal.SIGTERM)
        assert evaluating.ended() == 143
    assert (evaluating.said, evaluating.complaint) == ("", "twist: ended by SIGTERM\n")
    assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == before


def has_begun(running: Command) -> bool:
    """Whether it computes: torch has threads for that."""
    return len(list(Path(f"/proc/{running.process.pid}/task").iterdir())) > 1


def test_a_signal_that_was_ignored_before_stays_so(tmp_path: Path) -> None:
    """As nohup does."""
    run = tmp_path / "run"
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        training = Command(tmp_path, "train", "reach", *DEBUG, "--run-dir", str(run)).__enter__()
    finally:
        signal.signal(signal.SIGHUP, before)
    training.wait_until(lambda: has_learned(run))
    training.process.send_signal(signal.SIGHUP)
    assert training.ended() == 0
    assert report(run)["resumed"] == 0
