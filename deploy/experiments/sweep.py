"""`twist sweep`: runs the trainings of a sweep's file, each in a process of its own, and says what came of them.

    OUT/sweep.json                     the variants' names, for `twist compare`
    OUT/VARIANT/TASK-SEED/             run directories
    OUT/VARIANT-TASK-SEED.log          what each run says

A finished run is left alone and one that was interrupted goes on, so the same command continues the whole sweep.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shlex
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from pathlib import Path

from pydantic.dataclasses import dataclass
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deploy.errors import UserError, user_errors
from deploy.experiments.sweep_file import PlannedRun, Sweep
from deploy.process import signals
from deploy.process.child import end_with_parent
from deploy.process.packages import ROOT, child_path
from deploy.reporting.formats import format_duration, format_percent
from deploy.runs.atomic import write_json
from deploy.runs.directory import RunDirectory, check_claimable
from deploy.runs.documents import DOCUMENT, Text, plain, read_document
from deploy.runs.finished import finished_report
from deploy.runs.report import Report
from deploy.runs.results import by_sight

FORMAT = 1
"""Of sweep.json; raised when an older reader could not understand it."""

RECORD = "sweep.json"


@dataclass(frozen=True, config=DOCUMENT)
class SweepRecord:
    """What sweep.json says."""

    variants: Mapping[Text, Text]
    """The variants' names by their directories."""
    name: Text = ""
    """Of the sweep."""


_POLL_SECONDS = 0.2

FINISHED, FINISHED_BEFORE, FAILED, INTERRUPTED, NOT_STARTED = (
    "finished",
    "was finished",
    "failed",
    "interrupted",
    "not started",
)


@plain_dataclass(frozen=True)
class Outcome:
    """What came of a run.

    Attributes:
        state: one of the five above.
        report: of a finished run.
        exit_code: of a failed one.
    """

    state: str
    report: Report | None = None
    exit_code: int | None = None


def check_directories(sweep: Sweep, out: Path) -> dict[PlannedRun, Outcome]:
    """Looks at what is there already; touches nothing.

    Returns:
        The runs that are finished.

    Raises:
        UserError: a directory is taken by something else, or by a run with other settings.
    """
    read_record(out)
    if (out / "config.json").exists():
        raise UserError(f"{out}: is a run; a sweep needs a directory of its own (--out)")
    for directory in (out, *(out / slug for slug in sweep.variants)):
        if directory.exists() and not directory.is_dir():
            raise UserError(f"{directory}: is a file, a directory is wanted (--out)")
    finished = {}
    for run in sweep.runs:
        directory = run.directory(out)
        try:
            found, _ = check_claimable(directory, run.config)
        except UserError as error:
            # The advice is for `twist train`; here the directory follows from another option.
            raise UserError(str(error).replace("another --run-dir", "another --out")) from error
        report = finished_report(RunDirectory.open(directory), run.config) if found else None
        if report is not None:
            finished[run] = Outcome(FINISHED_BEFORE, report)
    return finished


def read_record(out: Path) -> dict[str, str]:
    """The names of a sweep's variants by slug; none where there is no sweep.

    Raises:
        UserError: its sweep.json cannot be read.
    """
    path = out / RECORD
    if not os.path.exists(path):
        return {}
    return dict(read_document(path, SweepRecord, f"a sweep's record of format {FORMAT}", FORMAT).variants)


def print_commands(sweep: Sweep, out: Path) -> None:
    """The commands of the runs in their order; those that would be left alone are commented out."""
    finished = check_directories(sweep, out)
    for run in sweep.runs:
        note = "# finished: " if run in finished else ""
        print(note + shlex.join(["twist", *run.command(out)]))


def run_sweep(sweep: Sweep, out: Path, jobs: int, console: Console) -> int:
    """Runs what is not finished yet.

    Args:
        sweep: checked.
        out: the sweep's directory; made if it is not there.
        jobs: runs side by side.
        console: for a line at each run's start and end, and the table.

    Returns:
        The exit code: 0, or 1 if a run failed.

    Raises:
        UserError: nothing was started.
        Ended: by a signal, once the runs have ended and the table is printed.
    """
    outcomes = check_directories(sweep, out)
    with user_errors():
        out.mkdir(parents=True, exist_ok=True)
        # Variants that are no longer in the file may still have runs here.
        variants = {**read_record(out), **sweep.variants}
        write_json(out / RECORD, {"format": FORMAT, **plain(SweepRecord(variants, sweep.name))})
        for slug in sweep.variants:
            (out / slug).mkdir(exist_ok=True)
    for run in outcomes:
        console.print(f"{run.name}: was finished", highlight=False)
    children = _Children(out, len(sweep.runs) - len(outcomes), console)
    with signals.before_ending_at_once(children.kill), signals.saying("the same command continues the sweep"):
        try:
            for run, outcome in children.run([run for run in sweep.runs if run not in outcomes], jobs):
                outcomes[run] = outcome
        except KeyboardInterrupt:
            outcomes |= {run: Outcome(INTERRUPTED) for run in children.running}
            console.print(f"{signals.name()}: ending what runs; the same command continues", highlight=False)
            children.end()
            _print_table(sweep, out, outcomes, console)
            raise
    _print_table(sweep, out, outcomes, console)
    return 1 if any(outcome.state == FAILED for outcome in outcomes.values()) else 0


class _Children:
    """The runs' processes.

    Each is the leader of a session of its own: Ctrl-C in the terminal reaches this process alone, which then ends them.
    The kernel ends them where this process is killed.
    """

    def __init__(self, out: Path, total: int, console: Console) -> None:
        self._out, self._total, self._console = out, total, console
        self._began: dict[PlannedRun, float] = {}
        self.running: dict[PlannedRun, subprocess.Popen[bytes]] = {}

    def run(self, runs: Sequence[PlannedRun], jobs: int) -> Iterator[tuple[PlannedRun, Outcome]]:
        """Starts them in order, so many side by side, and gives each with its outcome when it has ended."""
        waiting = deque(runs)
        while waiting or self.running:
            while waiting and len(self.running) < jobs:
                self._start(waiting.popleft())
            time.sleep(_POLL_SECONDS)
            for run, process in list(self.running.items()):
                code = process.poll()
                if code is not None:
                    del self.running[run]
                    yield run, self._outcome(run, code)

    def end(self) -> None:
        """Asks each to end; those that have not ended within the grace lose what they did since a checkpoint."""
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(signals.seconds_left())
        self.kill()

    def kill(self) -> None:
        """Ends those that run, where they are."""
        for process in self.running.values():
            if process.poll() is None:
                process.kill()
                process.wait()

    def _start(self, run: PlannedRun) -> None:
        command = run.command(self._out)
        log = run.log(self._out)
        with log.open("a", encoding="utf-8") as stream:
            print(f"$ {shlex.join(['twist', *command])}", file=stream, flush=True)
            self.running[run] = subprocess.Popen(
                # By its file: `-m` would search the working directory first.
                [sys.executable, str(ROOT / "deploy" / "__main__.py"), *command],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": child_path()},
                start_new_session=True,
                preexec_fn=functools.partial(end_with_parent, signal.SIGTERM),  # noqa: PLW1509 - there are no threads here
            )
        self._began[run] = time.monotonic()
        text = f"{run.name}: started, {len(self._began)} of {self._total}; log: {escape(str(log))}"
        self._console.print(text, highlight=False, soft_wrap=True)

    def _outcome(self, run: PlannedRun, code: int) -> Outcome:
        seconds = format_duration(time.monotonic() - self._began[run])
        outcome = Outcome(FAILED, exit_code=code)
        if code == 0:
            with contextlib.suppress(UserError):
                report = finished_report(RunDirectory.open(run.directory(self._out)), run.config)
                if report is not None:
                    outcome = Outcome(FINISHED, report)
        text = f"{run.name}: {outcome.state} after {seconds}"
        text += "" if outcome.report else f" (exit code {code}): {escape(_last_line(run.log(self._out)))}"
        self._console.print(text, highlight=False, soft_wrap=True)
        return outcome


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    return next((line for line in reversed(lines) if line), "")


def _print_table(sweep: Sweep, out: Path, outcomes: Mapping[PlannedRun, Outcome], console: Console) -> None:
    table = Table(
        title=escape(sweep.name),
        title_justify="left",
        title_style="bold",
        header_style="dim",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    for heading in ("variant", "task", "seed", "outcome"):
        table.add_column(heading)
    for heading in ("teacher", "student", "held out", "wall time"):
        table.add_column(heading, justify="right")
    failed = []
    for run in sweep.runs:
        outcome = outcomes.get(run, Outcome(NOT_STARTED))
        cells = ["–"] * 4
        if outcome.report is not None:
            results = by_sight(outcome.report.headline())
            cells = ["–" if result is None else format_percent(result.success) for result in results]
            cells.append(format_duration(outcome.report.wall_seconds))
        style = "red" if outcome.state == FAILED else ""
        row = escape(run.variant), run.config.task, str(run.config.seed), outcome.state, *cells
        table.add_row(*row, style=style)
        if outcome.state == FAILED:
            failed.append(run.log(out))
    console.print()
    console.print(table)
    for log in failed:
        console.print(f"failed, see [cyan]{escape(str(log))}[/]", highlight=False, soft_wrap=True)
    if any(outcome.report for outcome in outcomes.values()):
        console.print(f"twist compare {shlex.quote(str(out))}/*/*", highlight=False, soft_wrap=True, markup=False)
