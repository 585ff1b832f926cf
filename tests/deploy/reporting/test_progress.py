"""The live display: a table on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import io

from deploy.reporting.progress import LINE_EVERY_SECONDS, Goals, ProgressDisplay

VALUES: dict[str, object] = {
    "rate/env_steps": 250.0,
    "teacher/updates": 1234,
    "rate/teacher_updates": 8.5,
    "student/updates": 500,
    "rate/student_updates": 5.0,
    "actors/success_teacher": 0.9,
    "actors/success_student": 0.25,
    "wait/teacher": 0.1,
    "wait/student": 0.02,
    "wait/actors": 0.6,
}


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def display(stream: io.StringIO, clock: Clock) -> ProgressDisplay:
    return ProgressDisplay("reach", Goals(10_000, {"teacher": None, "student": 1_500}), stream=stream, clock=clock)


def test_a_line_says_everything() -> None:
    stream, clock = io.StringIO(), Clock()
    with display(stream, clock) as progress:
        clock.seconds = 65.0
        progress.update(5_000, VALUES)
    assert stream.getvalue().splitlines()[0] == (
        "reach 1:05 | 5,000/10,000 steps (250/s) | updates: teacher 1,234 (8.5/s), student 500 (5.0/s) | "
        "success: teacher 90 %, student 25 % | waiting: teacher 10 %, student 2 %, actors 60 % | left 3:20"
    )


def test_time_left_is_the_slower_goals() -> None:
    progress = display(io.StringIO(), Clock())
    assert progress.seconds_left() is None
    progress.update(5_000, VALUES)
    assert progress.seconds_left() == 200.0  # 1,000 student updates at 5/s; the steps take only 20 s
    progress.update(5_000, {"student/updates": 1_500})
    assert progress.seconds_left() == 20.0
    progress.update(10_000, {})
    assert progress.seconds_left() == 0.0


def test_lines_come_now_and_then_and_at_the_end() -> None:
    stream, clock = io.StringIO(), Clock()
    with display(stream, clock) as progress:
        for _ in range(25):
            progress.update(100, VALUES)
            clock.seconds += LINE_EVERY_SECONDS / 10
    assert len(stream.getvalue().splitlines()) == 4  # at 0, 10 and 20 s, and the last state


def test_messages_are_lines_of_their_own() -> None:
    stream = io.StringIO()
    with display(stream, Clock()) as progress:
        progress.message("checkpoint [written] at step 5")
    assert stream.getvalue() == "checkpoint [written] at step 5\n"


def test_a_terminal_gets_a_table_that_is_redrawn() -> None:
    stream, clock = Terminal(), Clock()
    with display(stream, clock) as progress:
        progress.update(5_000, VALUES)
        progress.message("checkpoint [written] at step 5")
        progress.update(6_000, VALUES)
    shown = stream.getvalue()
    assert "\x1b[" in shown
    assert "checkpoint [written] at step 5" in shown
    for text in ("5,000 / 10,000", "6,000 / 10,000", "1,234", "500 / 1,500", "90 %", "25 %", "60 %", "left"):
        assert text in shown
