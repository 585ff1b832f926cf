"""The actor pool: keeps a number of Ray actors collecting, whatever happens to them.

    driver, one thread                                      each actor, a process of its own
    ------------------                                      --------------------------------
    set_weights --> object store (one array, version) -----> loaded if newer
    poll: ray.wait <--------------------------- RolloutStats  collect(weights, version, rows, timeout)
          and the next call at once -----------------------> environments --> chunks --> replay

There is no loop here but the caller's: `poll` must be called again and again. One call is in flight at each actor:

    phase       call in flight   after its result     after its failure
    starting    ready()          collecting           process died: starting; own error: counted, starting
    collecting  collect()        collecting, or       process died: starting; own error: counted, collecting
                                 draining
    draining    drain()          starting, anew, or   process died: starting; own error: counted, draining
                                 gone if not needed

An actor drains because it has grown too big, its node is about to leave, or the pool is to be smaller.

A failure is followed by a pause that doubles with each failure in a row. A process that died is started again by Ray
(`max_restarts=-1`), or by us where Ray gave it up; the call it was in is lost (`max_task_retries=0`, since it is not
repeatable) and made anew. Deaths are not limited: nodes come and go. Errors of our own code are, per actor and time.
After an error the actor itself stays: its worker goes on where it was and loses nothing.
"""

import itertools
import logging
import math
import time
from collections import deque
from collections.abc import Collection, Mapping
from types import TracebackType
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, RayActorError, RayError, RayTaskError

from actors.actor import ActorIdentity, ActorPlan, RolloutActor
from actors.config import ActorsConfig
from actors.rollout_stats import RolloutStats
from actors.stream import Floats
from replay.connection import AWAY

LOGGER = logging.getLogger(__name__)

STARTING, COLLECTING, DRAINING = "starting", "collecting", "draining"

OUTAGE_PAUSE_SECONDS = 2.0
"""Before an actor that could not reach Redis tries again; by itself it has tried for `replay.retry_seconds`."""

MEMORY, NODE, NOT_NEEDED = "memory", "node", "not needed"
"""Why an actor drains."""


class ActorFailedError(RuntimeError):
    """An actor's own code fails again and again; the message names actor, number of errors and the last one."""


class _Slot:
    """One place in the pool: the actor in it, and how it is doing."""

    def __init__(self, actor_id: str) -> None:
        self.actor_id = actor_id
        self.handle: Any = None
        self.phase = STARTING
        self.drains_for: str | None = None
        self.call: Any = None
        self.identity: ActorIdentity | None = None
        self.retry_at = 0.0
        self.failures_in_a_row = 0
        self.error_times: deque[float] = deque()


class ActorPool:
    """Starts `config.at_start` actors named actor0, actor1, ... and keeps them collecting.

    The constructor does not wait for them. As a context manager the pool ends its actors on leaving, without draining
    them if `drain` was not called.

    Args:
        plan: what each actor is built from; `plan.worker.actors` sizes the pool.

    Raises:
        RuntimeError: Ray is not initialised.
    """

    def __init__(self, plan: ActorPlan) -> None:
        if not ray.is_initialized():
            raise RuntimeError("the actor pool needs ray.init() first")
        self._plan = plan
        self._config: ActorsConfig = plan.worker.actors
        self._weights: Any = None
        self._version = 0
        self._restarts = {"died": 0, MEMORY: 0, NODE: 0}
        self._errors = 0
        self._slots: list[_Slot] = []
        self.resize(self._config.at_start)

    def __enter__(self) -> "ActorPool":
        """Returns itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends what still runs."""
        self._kill_all()

    @property
    def restarts(self) -> Mapping[str, int]:
        """Actor processes replaced so far, by cause.

        "died": killed, or lost with its node; "memory": had grown too big; "node": its node was about to leave.
        """
        return dict(self._restarts)

    @property
    def identities(self) -> list[ActorIdentity]:
        """The actors that run now; one that is being started is not among them."""
        return [slot.identity for slot in self._slots if slot.identity is not None]

    @property
    def size(self) -> int:
        """Actors that there are to be, whether they run already or wait for a node."""
        return sum(slot.drains_for != NOT_NEEDED for slot in self._slots)

    def stats(self) -> dict[str, float]:
        """Number of actors that run, processes replaced by cause, errors of our own code."""
        restarts = {f"restarts_{cause}": count for cause, count in self._restarts.items()}
        return {"running": len(self.identities), **restarts, "errors": self._errors}

    def resize(self, count: int) -> None:
        """Has `count` actors from now on: starts more, or lets some drain and leave.

        Ray is asked for the new ones at once, so that its autoscaler sees what is lacking. Of those that leave, actors
        that do not run yet go first, then those with the highest numbers; a node that has no actor left is idle.

        Args:
            count: at least 0.
        """
        staying = [slot for slot in self._slots if slot.drains_for != NOT_NEEDED]
        staying.sort(key=lambda slot: (slot.identity is None, int(slot.actor_id.removeprefix("actor"))))
        for slot in staying[count:]:
            self._dismiss(slot)
        taken = {slot.actor_id for slot in self._slots}
        free = (actor_id for number in itertools.count() if (actor_id := f"actor{number}") not in taken)
        for _ in range(count - len(staying)):
            self._slots.append(_Slot(next(free)))
            self._start(self._slots[-1])

    def leave_nodes(self, node_ids: Collection[str]) -> int:
        """Lets actors on nodes that are about to go drain there and start anew elsewhere.

        Args:
            node_ids: Ray's ids, hexadecimal.

        Returns:
            How many actors were told to.
        """
        told = 0
        for slot in self._slots:
            if slot.identity is not None and slot.identity.node_id in node_ids and slot.drains_for is None:
                slot.drains_for = NODE
                told += 1
        return told

    def set_weights(self, flat: Floats, version: int) -> None:
        """Hands new weights to every call that is made from now on.

        Args:
            flat: all weights in one float32 array; copied.
            version: theirs.

        Raises:
            ValueError: `version` is not above the one before.
        """
        if version <= self._version:
            raise ValueError(f"weights version {version}: it must be above the last one, {self._version}")
        self._weights, self._version = ray.put(flat), version

    def poll(self, timeout_s: float) -> list[RolloutStats]:
        """Takes in what has finished and gives every idle actor its next call.

        Args:
            timeout_s: seconds to wait for a first result.

        Returns:
            Results in no particular order; none if the time ran out.

        Raises:
            ActorFailedError: an actor's own code failed too often.
            ValueError: an actor is above `max_memory_mb` as soon as it starts.
        """
        deadline = time.monotonic() + timeout_s
        results: list[RolloutStats] = []
        while True:
            self._end_pauses()
            for slot in self._wait(deadline):
                stats = self._settle(slot)
                if stats is not None:
                    results.append(stats)
            if results or time.monotonic() >= deadline:
                return results

    def drain(self, seconds: float = math.inf) -> list[RolloutStats]:
        """Lets every actor finish its call and write what it holds, then ends it. The pool is empty afterwards.

        What an actor cannot write within `config.drain_seconds` is lost, and said in the log.

        Args:
            seconds: to have instead, if they are fewer.

        Returns:
            The last results.
        """
        pending: dict[Any, _Slot] = {}
        for slot in self._slots:
            # An actor that was not yet ready holds nothing; a paused one may hold what its failed call collected.
            if slot.phase == STARTING:
                continue
            if slot.call is not None:
                pending[slot.call] = slot
            if slot.phase == COLLECTING or slot.call is None:
                pending[slot.handle.drain.remote()] = slot
        results: list[RolloutStats] = []
        seconds = min(seconds, self._config.drain_seconds)
        if pending:
            done, late = ray.wait(list(pending), num_returns=len(pending), timeout=seconds)
            for ref in done:
                try:
                    results.append(ray.get(ref))
                except RayError as error:
                    LOGGER.warning("%s did not drain: %s", pending[ref].actor_id, _last_line(error))
            for ref in late:
                LOGGER.warning("%s did not drain within %g s: its last rows are lost", pending[ref].actor_id, seconds)
        self._kill_all()
        return results

    def _wait(self, deadline: float) -> list[_Slot]:
        """Waits for a call to finish, a pause or the time to end; gives the slots whose calls have finished."""
        calls = {slot.call: slot for slot in self._slots if slot.call is not None}
        pauses = [slot.retry_at for slot in self._slots if slot.call is None]
        seconds = max(0.0, min([deadline, *pauses]) - time.monotonic())
        if not calls:
            time.sleep(seconds)
            return []
        ray.wait(list(calls), num_returns=1, timeout=seconds)
        done, _ = ray.wait(list(calls), num_returns=len(calls), timeout=0)
        return [calls[ref] for ref in done]

    def _settle(self, slot: _Slot) -> RolloutStats | None:
        """Takes in a finished call and makes the next one; gives the call's result if it was a worker's."""
        call, slot.call = slot.call, None
        try:
            result = ray.get(call)
        except RayTaskError as error:
            self._failed(slot, error)
            return None
        except RayActorError as error:
            self._died(slot, error)
            return None
        except RayError as error:
            # Ray could not run the call, for one because the weights were lost with their node.
            LOGGER.warning("a call of %s was lost: %s", slot.actor_id, _last_line(error))
            self._pause(slot)
            return None
        slot.failures_in_a_row = 0
        if isinstance(result, ActorIdentity):
            self._check_start(result)
            slot.identity, slot.phase = result, COLLECTING
            self._call(slot)
            return None
        assert isinstance(result, RolloutStats)
        if slot.phase == DRAINING:
            self._drained(slot)
            return result
        if result.memory_mb > self._config.max_memory_mb and slot.drains_for is None:
            LOGGER.info("%s has grown to %.0f MB and is replaced", slot.actor_id, result.memory_mb)
            slot.drains_for = MEMORY
        if slot.drains_for is not None:
            slot.phase = DRAINING
        self._call(slot)
        return result

    def _dismiss(self, slot: _Slot) -> None:
        """Lets an actor leave for good: at once where it holds nothing, else after its present call."""
        slot.drains_for = NOT_NEEDED
        if slot.identity is None:
            self._remove(slot)

    def _drained(self, slot: _Slot) -> None:
        assert slot.drains_for is not None
        if slot.drains_for == NOT_NEEDED:
            self._remove(slot)
            return
        self._restarts[slot.drains_for] += 1
        ray.kill(slot.handle)
        self._start(slot)

    def _remove(self, slot: _Slot) -> None:
        if slot.handle is not None:
            ray.kill(slot.handle)
        self._slots.remove(slot)

    def _check_start(self, identity: ActorIdentity) -> None:
        limit = self._config.max_memory_mb
        if identity.memory_mb > limit:
            raise ValueError(
                f"max_memory_mb={limit:g}: {identity.actor_id} takes {identity.memory_mb:.0f} MB as soon as it starts"
            )

    def _start(self, slot: _Slot) -> None:
        """Puts a new actor into a slot."""
        resources = {self._config.resource: 1.0} if self._config.resource else None
        actor: Any = ray.remote(RolloutActor)
        slot.handle = actor.options(
            max_restarts=-1, max_task_retries=0, num_cpus=self._config.num_cpus, resources=resources
        ).remote(self._plan, slot.actor_id)
        slot.identity, slot.phase, slot.drains_for = None, STARTING, None
        self._call(slot)

    def _call(self, slot: _Slot) -> None:
        """Makes the call that the slot's phase asks for."""
        if slot.phase == STARTING:
            slot.call = slot.handle.ready.remote()
        elif slot.phase == COLLECTING:
            slot.call = slot.handle.collect.remote(
                self._weights, self._version, self._config.rows_per_call, self._config.wait_seconds
            )
        else:
            slot.call = slot.handle.drain.remote()

    def _died(self, slot: _Slot, error: RayActorError) -> None:
        """A process ended, or never came up."""
        if slot.identity is not None:
            self._restarts["died"] += 1
            LOGGER.warning("%s (process %d) died and is replaced", slot.actor_id, slot.identity.pid)
        leaving = slot.drains_for == NOT_NEEDED
        slot.identity, slot.phase, slot.drains_for = None, STARTING, None
        if leaving:
            self._remove(slot)
            return
        if error.actor_init_failed:
            self._count_error(slot, error)
        if not isinstance(error, ActorUnavailableError):
            slot.handle = None  # Ray has given it up
        self._pause(slot)

    def _failed(self, slot: _Slot, error: RayTaskError) -> None:
        """Our own code raised in an actor, which lives on; what it holds is not lost.

        That Redis is away is nobody's error and may last: whoever watches over the run says when it is too long.
        """
        if isinstance(error.cause, (ConnectionError, *AWAY)):
            LOGGER.warning("%s waits for Redis: %s", slot.actor_id, _last_line(error))
            slot.retry_at = time.monotonic() + OUTAGE_PAUSE_SECONDS
            return
        self._count_error(slot, error)
        self._pause(slot)

    def _count_error(self, slot: _Slot, error: RayError) -> None:
        self._errors += 1
        now = time.monotonic()
        slot.error_times.append(now)
        while slot.error_times[0] < now - self._config.error_window_seconds:
            slot.error_times.popleft()
        LOGGER.warning("error in %s: %s", slot.actor_id, _last_line(error))
        if len(slot.error_times) > self._config.max_errors:
            raise ActorFailedError(
                f"{slot.actor_id} failed {len(slot.error_times)} times within {self._config.error_window_seconds:g} s, "
                f"allowed are {self._config.max_errors}; the last time with {_last_line(error)}"
            ) from error

    def _pause(self, slot: _Slot) -> None:
        """Leaves the slot alone for a while, the longer the more often it failed in a row."""
        # The exponent is bounded because a float is: 2.0**1024 raises.
        pause = self._config.backoff_seconds * 2.0 ** min(slot.failures_in_a_row, 32)
        slot.failures_in_a_row += 1
        slot.retry_at = time.monotonic() + min(pause, self._config.max_backoff_seconds)

    def _end_pauses(self) -> None:
        now = time.monotonic()
        for slot in self._slots:
            if slot.call is None and slot.retry_at <= now:
                if slot.handle is None:
                    self._start(slot)
                else:
                    self._call(slot)

    def _kill_all(self) -> None:
        for slot in self._slots:
            if slot.handle is not None:
                ray.kill(slot.handle)
        self._slots = []


def _last_line(error: Exception) -> str:
    """The part of Ray's many-line messages that says what happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else repr(error)
