"""How a run ends that cannot go on: in one line for whoever runs it, with the whole story in `logs/driver.log`.

    what is raised                           the line
    --------------                           --------
    RunEndedError                            its own: whoever raises it knows what is to be done
    an error with a name of ours             its own words
    what Ray, Redis or the system refuse     theirs
    anything else                            its class and words, that it is a fault of ours, and where its story is

Of a call to another process it is what that raised. Signals and `UserError` have lines of their own and pass. This is
the only place where every exception is taken: the modes and the conclusion below it raise what they please.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

from actors.slot import ActorFailedError
from actors.stream_worker import CrashBudgetError
from actors.worker import PolicyError
from deploy.errors import RunEndedError, UserError
from deploy.runs.directory import RunDirectory
from learner.loops import LoopEndedError
from learner.tally import NotFiniteError
from replay.connection import UNAVAILABLE

LOGGER = logging.getLogger(__name__)

RAN_AWAY = (NotFiniteError, PolicyError)
"""What is learned is of no use any more."""
NAMED = (ActorFailedError, CrashBudgetError, LoopEndedError, *RAN_AWAY)
"""Their messages say all there is to say."""


@contextmanager
def told_in_one_line(run: RunDirectory, log: Path) -> Iterator[None]:
    """Around all that a run does once it has its directory.

    Args:
        run: the run.
        log: where its loggers write.

    Raises:
        RunEndedError: for whatever is raised in the block, other than signals and `UserError`.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        LOGGER.error("the run ends", exc_info=error)
        if isinstance(error, RunEndedError):
            raise
        raise RunEndedError(f"{_words(error, log)}; {_newest_checkpoint(run, error)}") from error


def _words(error: Exception, log: Path) -> str:
    """What happened, in one line."""
    # What Ray raises for a call has what the call raised; its own text is the other process's traceback.
    raised = getattr(error, "cause", None) or error
    said = str(raised).strip()
    if isinstance(raised, NAMED):
        return said
    if isinstance(raised, BrokenProcessPool):
        return "a process that evaluates was killed, maybe for want of memory"
    if isinstance(raised, OSError) and raised.strerror and raised.filename:
        return f"{raised.filename}: {raised.strerror}"
    if isinstance(raised, (OSError, MemoryError, *UNAVAILABLE)) or type(raised).__module__.startswith("ray."):
        return f"{type(raised).__name__}: {(said.splitlines() or [''])[0]} (more in {log})"
    return f"a fault of ours, {type(raised).__name__}: {said} (its story is in {log}; please report it)"


def _newest_checkpoint(run: RunDirectory, error: Exception) -> str:
    """From where the run could go on, in words."""
    try:
        found = run.checkpoints.latest()
    except UserError as unreadable:
        return str(unreadable)
    if found is None:
        return "there is no checkpoint yet"
    if isinstance(getattr(error, "cause", error), RAN_AWAY):
        return f"the newest checkpoint, {found.path}, is finite"
    return f"the same command goes on from checkpoint {found.path.name}"
