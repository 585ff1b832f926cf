"""Who waits for whom."""

from __future__ import annotations

import pytest

from deploy.reporting.bottleneck import who_waits


@pytest.mark.parametrize(
    ("actors", "teacher", "student", "says"),
    [
        (0.6, 0.0, 0.09, "Actors wait for the learner, which works all the time: more actors would not help."),
        (0.6, 0.5, 0.0, "Actors and teacher wait for the student, which works all the time: "),
        (0.6, 0.0, 0.5, "Actors and student wait for the teacher, which works all the time: "),
        (0.6, 0.5, 0.5, "Actors, teacher and student wait for each other in turn"),
        (0.0, 0.5, 0.0, "Teacher waits for rows, and actors work all the time: more would help."),
        (0.0, 0.0, 0.5, "Student waits for rows, and actors work all the time: more would help."),
        (0.05, 0.1, 1.0, "Teacher and student wait for rows, and actors work all the time: more would help."),
        (0.0, 0.0, 0.0, "Nobody waits"),
        (0.6, 0.5, None, "Actors and teacher wait for each other in turn"),
        (0.6, 0.0, None, "Actors wait for the teacher, which works all the time: more actors would not help."),
        (0.0, 0.5, None, "The teacher waits for rows, and actors work all the time: more would help."),
        (0.0, 0.0, None, "Nobody waits"),
    ],
)
def test_it_names_who_works_while_the_others_wait(
    actors: float, teacher: float, student: float | None, says: str
) -> None:
    parts = {"teacher": teacher} | ({} if student is None else {"student": student})
    assert who_waits(actors, parts).startswith(says)
