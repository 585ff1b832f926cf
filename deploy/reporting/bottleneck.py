"""Who waits for whom, in one sentence: which of actors, teacher and student the others are held up by.

Rows hold up the learner; teacher and student, whoever is further behind, hold up the actors (`replay.credits`). Whoever
works all the time while the others wait is what they wait for::

    actors   teacher   student    the bottleneck
    waits    works     works      the learner
    waits    waits     works      the student: it holds up the actors, and the teacher lacks their rows
    waits    works     waits      the teacher, likewise
    waits    waits     waits      nobody: each waits for another in turn
    works    waits     any        the actors
    works    works     waits      the actors
    works    works     works      nobody: nothing is idle
"""

from __future__ import annotations

WAITS = 0.1
"""Share of its time from which on somebody is said to wait."""


def who_waits(actors: float, teacher: float, student: float | None) -> str:
    """Says who is the bottleneck.

    Args:
        actors: share of their time that actors wait, 0 to 1.
        teacher: share of the teacher's.
        student: share of the student's; None for one that is not to learn yet.
    """
    if student is None:
        return _without_student(actors >= WAITS, teacher >= WAITS)
    waiting = [name for name, share in (("teacher", teacher), ("student", student)) if share >= WAITS]
    if actors >= WAITS:
        if not waiting:
            return "Actors wait for the learner, which works all the time: more actors would not help."
        if len(waiting) == 2:
            return "Actors, teacher and student wait for each other in turn: rows come in bursts."
        busy = "student" if waiting == ["teacher"] else "teacher"
        return f"Actors and {waiting[0]} wait for the {busy}, which works all the time: more actors would not help."
    if waiting:
        verb = "wait" if len(waiting) == 2 else "waits"
        return f"{' and '.join(waiting).capitalize()} {verb} for rows, and actors work all the time: more would help."
    return "Nobody waits: actors and learner keep each other busy."


def _without_student(actors: bool, teacher: bool) -> str:
    if actors and teacher:
        return "Actors and teacher wait for each other in turn: rows come in bursts."
    if actors:
        return "Actors wait for the teacher, which works all the time: more actors would not help."
    if teacher:
        return "The teacher waits for rows, and actors work all the time: more would help."
    return "Nobody waits: actors and teacher keep each other busy."
