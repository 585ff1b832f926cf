"""What Ray's exceptions mean to a run: the one list that sorts all of them, and what a lost process was lost by.

kind      what has happened                          what is done
PROCESS   the process is gone, or never came up      a new one takes its place; a loss with a cause
ANSWER    it lives; its answer or argument is gone   the call is made again
AWAY      it cannot be reached and may well live     asked again; a second one would do the same work twice
OURS      our own code raised, or called Ray wrong   an error: counted, or the end of the run
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ray import exceptions
from ray.exceptions import RayActorError, RayError, RayTaskError

PROCESS, ANSWER, AWAY, OURS = "process", "answer", "away", "ours"

KINDS: Final[Mapping[type[RayError], str]] = {
    exceptions.RayActorError: PROCESS,
    exceptions.ActorDiedError: PROCESS,
    exceptions.WorkerCrashedError: PROCESS,
    exceptions.OutOfMemoryError: PROCESS,
    exceptions.NodeDiedError: PROCESS,
    exceptions.LocalRayletDiedError: PROCESS,
    exceptions.AsyncioActorExit: PROCESS,
    exceptions.RuntimeEnvSetupError: PROCESS,
    exceptions.ActorUnschedulableError: PROCESS,
    exceptions.ActorPlacementGroupRemoved: PROCESS,
    exceptions.TaskUnschedulableError: ANSWER,
    exceptions.TaskPlacementGroupRemoved: ANSWER,
    exceptions.TaskCancelledError: ANSWER,
    exceptions.ObjectLostError: ANSWER,
    exceptions.ObjectFetchTimedOutError: ANSWER,
    exceptions.ObjectReconstructionFailedError: ANSWER,
    exceptions.ObjectFreedError: ANSWER,
    exceptions.OwnerDiedError: ANSWER,
    exceptions.ReferenceCountingAssertionError: ANSWER,
    exceptions.PlasmaObjectNotAvailable: ANSWER,
    exceptions.GetTimeoutError: ANSWER,
    exceptions.ObjectStoreFullError: ANSWER,
    exceptions.OutOfDiskError: ANSWER,
    exceptions.RaySystemError: ANSWER,
    exceptions.RpcError: ANSWER,
    exceptions.RayChannelError: ANSWER,
    exceptions.RayChannelTimeoutError: ANSWER,
    exceptions.RayCgraphCapacityExceeded: ANSWER,
    exceptions.RayDirectTransportError: ANSWER,
    exceptions.ActorUnavailableError: AWAY,
    exceptions.RayError: OURS,
    exceptions.RayTaskError: OURS,
    exceptions.UserCodeException: OURS,
    exceptions.CrossLanguageError: OURS,
    exceptions.UnserializableException: OURS,
    exceptions.PendingCallsLimitExceeded: OURS,
    exceptions.ObjectRefStreamEndOfStreamError: OURS,
    exceptions.StreamingGeneratorReplayInconsistentError: OURS,
    exceptions.OufOfBandObjectRefSerializationException: OURS,
    exceptions.AuthenticationError: OURS,
    exceptions.ActorAlreadyExistsError: OURS,
    exceptions.ActorHandleNotFoundError: OURS,
}
"""All of Ray's; a class that is not here counts as the nearest one above it that is."""

DIED, OUT_OF_MEMORY, HUNG, NODE_LOST = "died", "out_of_memory", "hung", "node_lost"
"""What a process is lost by: it ended by itself or was killed; Ray killed it because its node was short of memory; it
did not answer in time; its node is gone. The last is nobody's fault and is not limited, as nodes come and go."""

MEMORY_ADVICE: Final = (
    "close other programs, or lower actors.count, actors.envs_per_actor, replay.capacity_steps or learner.batch_size"
)

_MEMORY: Final = re.compile(r"was (\S+) used / (\S+) limit")
_THRESHOLD: Final = re.compile(r"exceeded threshold of (\d+)B")
_EXIT_DETAIL: Final = re.compile(r"Worker exit detail: ([^.]*)")
_END_OF_FILE: Final = "Worker unexpectedly exits with a connection error code 2"
_WITHOUT_A_WORD: Final = "it was killed, or crashed without a word (dmesg tells whether it was for want of memory)"


@dataclass(frozen=True)
class Loss:
    """A process that is gone.

    Attributes:
        cause: one of the four above.
        reason: one line, as much as is known.
    """

    cause: str
    reason: str


def kind_of(error: RayError) -> str:
    """Sorts an error. What a call raised is sorted by its cause, which may be Ray's own: an argument that was lost."""
    raised = raised_by(error)
    if isinstance(raised, MemoryError):
        return PROCESS
    if not isinstance(raised, RayError) or (isinstance(raised, RayActorError) and raised.actor_init_failed):
        return OURS
    return next(KINDS[above] for above in type(raised).__mro__ if above in KINDS)


def raised_by(error: RayError) -> Exception:
    """What a call raised, in place of the error that Ray wraps it in."""
    cause = error.cause if isinstance(error, RayTaskError) else None
    return cause if isinstance(cause, Exception) else error


def loss_by(error: RayError, *, node_lives: bool) -> Loss:
    """What a process of ours was lost by.

    Args:
        error: of kind PROCESS.
        node_lives: whether the node that it ran on is still there; True where it is not known on which it ran.
    """
    raised = raised_by(error)
    if isinstance(raised, (exceptions.OutOfMemoryError, MemoryError)):
        return Loss(OUT_OF_MEMORY, f"{_short_of_memory(str(raised))}; {MEMORY_ADVICE}")
    if not node_lives or isinstance(raised, (exceptions.NodeDiedError, exceptions.LocalRayletDiedError)):
        return Loss(NODE_LOST, "its node is gone")
    detail = _EXIT_DETAIL.search(str(error))
    reason = detail[1].strip() if detail else last_line(error)
    return Loss(DIED, _WITHOUT_A_WORD if reason == _END_OF_FILE else reason)


def last_line(error: Exception) -> str:
    """The part of Ray's many-line messages that says what happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else repr(error)


def _short_of_memory(text: str) -> str:
    used, threshold = _MEMORY.search(text), _THRESHOLD.search(text)
    if used is None:
        return " ".join(f"there was not enough memory: {text}".split())
    limit = f", Ray's limit is {int(threshold[1]) / 2**30:.2f}GB" if threshold else ""
    return f"its node was short of memory: {used[1]} of {used[2]} in use{limit}"
