"""Who waits for whom, in one sentence: which of actors and the learner's parts the others are held up by.

Rows hold up the learner; its parts, such as teacher and student, whoever is further behind, hold up the actors
(`replay.credits`). Whoever works all the time while the others wait is what they wait for::

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

from collections.abc import Mapping

WAITS = 0.1
"""Share of its time from which on somebody is said to wait."""


def who_waits(actors: float, parts: Mapping[str, float]) -> str:
    """Says who is the bottleneck.

    Args:
        actors: share of their time that actors wait, 0 to 1.
        parts: the same of each part that is to learn now, by its name; one or more.
    """
    waiting = [name for name, share in parts.items() if share >= WAITS]
    busy = [name for name in parts if name not in waiting]
    if len(parts) == 1:
        return _with_one(actors >= WAITS, *parts, waits=bool(waiting))
    if actors >= WAITS:
        if not waiting:
            return "Actors wait for the learner, which works all the time: more actors would not help."
        if not busy:
            return f"Actors, {' and '.join(waiting)} wait for each other in turn: rows come in bursts."
        held = " and ".join(("Actors", *waiting))
        return f"{held} wait for the {' and '.join(busy)}, which works all the time: more actors would not help."
    if waiting:
        verb = "wait" if len(waiting) > 1 else "waits"
        return f"{' and '.join(waiting).capitalize()} {verb} for rows, and actors work all the time: more would help."
    return "Nobody waits: actors and learner keep each other busy."


def _with_one(actors: bool, part: str, *, waits: bool) -> str:
    if actors and waits:
        return f"Actors and {part} wait for each other in turn: rows come in bursts."
    if actors:
        return f"Actors wait for the {part}, which works all the time: more actors would not help."
    if waits:
        return f"The {part} waits for rows, and actors work all the time: more would help."
    return f"Nobody waits: actors and {part} keep each other busy."
