"""The actor pool: keeps a number of Ray actors collecting, whatever happens to them.

    driver, one thread                                      each actor, a process of its own
    ------------------                                      --------------------------------
    set_weights --> object store (one array, version) -----> loaded if newer
    poll: ray.wait <--------------------------- RolloutStats  collect(weights, version, rows, credit)
          and the next call, as credit allows -------------> environments --> chunks --> replay

There is no loop here but the caller's: `poll` must be called again and again. One call is in flight at each actor, or
none where nothing is under way and there is no credit for more (`replay.credits`):

    phase       call in flight   after its result     after its failure
    starting    ready()          collecting           process lost: starting; own error: the end, or counted, starting
    collecting  collect()        collecting, or       process lost: starting; own error: counted, collecting
                                 draining
    draining    drain()          starting, anew, or   process lost: starting; own error: counted, draining
                                 gone if not needed

An actor drains because it has grown too big, its node is about to leave, or the pool is to be smaller.

A failure is followed by a pause that doubles with each failure since the last result. A lost process is replaced by us,
never by Ray (`max_restarts=0`), which would do it without a word; the call that it was in is made anew. Errors of our
own code and lost processes are limited, per actor and time; those that are lost with their node are not, as nodes come
and go. After an error the actor itself stays: its worker goes on where it was and loses nothing. A worker that cannot
be built when none has been yet ends the run at once: the next one could not be either.
"""

import functools
import itertools
import logging
import math
import time
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from types import TracebackType
from typing import Any

import ray
from ray import ObjectRef
from ray.exceptions import ObjectLostError, RayActorError, RayError

from actors.actor import ActorIdentity, ActorPlan, RolloutActor
from actors.config import ActorsConfig
from actors.draining import drained
from actors.last_words import loss_of
from actors.losses import ANSWER, AWAY, HUNG, NODE_LOST, PROCESS, Loss, kind_of, last_line, raised_by
from actors.patience import Patience, Watch
from actors.placement import places
from actors.rollout_stats import RolloutStats
from actors.slot import COLLECTING, DRAINING, MEMORY, NODE, NOT_NEEDED, STARTING, ActorFailedError, Slot
from actors.stream import Floats
from replay import connection
from replay.credits import RowCredits

LOGGER = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""Between two looks for actors that hang."""


class ActorPool:
    """Starts `config.at_start` actors named actor0, actor1, ... and keeps them collecting.

    The constructor does not wait for them. As a context manager the pool ends its actors on leaving, without draining
    them if `drain` was not called.

    Args:
        plan: what each actor is built from; `plan.worker.actors` sizes the pool.
        credits: which rows actors may add.
        logs: directory for the logs of processes that died.

    Raises:
        RuntimeError: Ray is not initialised.
    """

    def __init__(self, plan: ActorPlan, credits: RowCredits, logs: Path) -> None:
        if not ray.is_initialized():
            raise RuntimeError("the actor pool needs ray.init() first")
        self._plan, self._credits, self._logs = plan, credits, logs
        self._config: ActorsConfig = plan.worker.actors
        self._weights: Any = None
        self._version = 0
        self._restarts: Counter[str] = Counter()
        self._errors = 0
        self._one_was_built = False
        self._watch, self._looked_at = Watch(), 0.0
        self._seconds, self._counted_at = 0.0, time.monotonic()
        self._slots: list[Slot] = []
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
    def restarts(self) -> Counter[str]:
        """Actor processes replaced so far, by cause: those of `actors.losses`, `MEMORY` and `NODE`."""
        return Counter(self._restarts)

    @property
    def identities(self) -> list[ActorIdentity]:
        """The actors that run now; one that is being started is not among them."""
        return [slot.identity for slot in self._slots if slot.identity is not None]

    @property
    def size(self) -> int:
        """Actors that there are to be, whether they run already or wait for a node."""
        return sum(slot.drains_for != NOT_NEEDED for slot in self._slots)

    @property
    def refusal(self) -> str:
        """What Redis said to actors, where it lets none of those that have something to do get on; else empty."""
        busy = [slot.refused for slot in self._slots if slot.refused or slot.call is not None]
        return busy[0] if busy and all(busy) else ""

    def stats(self) -> dict[str, float]:
        """Number of actors that run, processes replaced for whatever cause, errors of our own code."""
        return {"running": len(self.identities), "restarts": sum(self._restarts.values()), "errors": self._errors}

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
            self._slots.append(Slot(next(free), self._config))
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

    def set_weights(self, weights: Floats | ObjectRef[Floats], version: int) -> None:
        """Hands new weights to every call that is made from now on.

        Args:
            weights: one float32 array; copied. Or where Ray has it: it is then lost with the process that put it.
            version: theirs.

        Raises:
            ValueError: `version` is not above the one before.
        """
        if version <= self._version:
            raise ValueError(f"weights version {version}: it must be above the last one, {self._version}")
        self._weights, self._version = weights if isinstance(weights, ObjectRef) else ray.put(weights), version

    def replace_weights(self, flat: Floats) -> None:
        """Hands the same weights to every call from another place, as the process that had put them is lost."""
        self._weights = ray.put(flat)

    def poll(self, timeout_s: float) -> list[RolloutStats]:
        """Gives idle actors their next call, as credit allows, and takes in what has finished.

        Args:
            timeout_s: seconds to wait for a first result.

        Returns:
            Results in no particular order; none if the time ran out.

        Raises:
            ActorFailedError: an actor cannot be built, its own code failed or its process was lost too often.
        """
        deadline = time.monotonic() + timeout_s
        results: list[RolloutStats] = []
        while True:
            self._credits.look()
            self._end_pauses()
            for slot in self._wait(deadline):
                stats = self._settle(slot)
                if stats is not None:
                    results.append(stats)
            self._count_seconds()
            self._end_hung()
            if results or time.monotonic() >= deadline:
                return results

    def take_seconds(self) -> float:
        """Seconds that actors have run since this was asked last, added up; also of those that do not answer."""
        self._count_seconds()
        seconds, self._seconds = self._seconds, 0.0
        return seconds

    def idle(self) -> list[RolloutStats]:
        """Reports of the actors that stand idle for want of credit: how long, since they or this told of it last."""
        return [slot.idle_report() for slot in self._slots if slot.is_idle]

    def drain(self, seconds: float = math.inf) -> list[RolloutStats]:
        """Lets every actor finish its call and write what it holds, then ends it. The pool is empty afterwards.

        What an actor cannot write within `config.drain_seconds` is lost, and said in the log.

        Args:
            seconds: to have instead, if they are fewer.

        Returns:
            The last results.
        """
        results = drained(self._slots, min(seconds, self._config.drain_seconds))
        self._kill_all()
        return results

    def _wait(self, deadline: float) -> list[Slot]:
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

    def _settle(self, slot: Slot) -> RolloutStats | None:
        """Takes in a finished call, after which the slot is due for its next; gives the result if it was a worker's."""
        call, slot.call = slot.call, None
        try:
            result = ray.get(call)
        except RayError as error:
            self._take_in(slot, error)
            return None
        if isinstance(result, ActorIdentity):
            slot.built(result)
            self._one_was_built = True
            return None
        assert isinstance(result, RolloutStats)
        self._credits.report(slot.actor_id, result.pending_rows)
        result = slot.succeeded(result)
        if slot.phase == DRAINING:
            self._drained(slot)
            return result
        if result.memory_mb > self._config.max_memory_mb and slot.drains_for is None:
            LOGGER.info("%s has grown to %.0f MB and is replaced", slot.actor_id, result.memory_mb)
            slot.drains_for = MEMORY
        return result

    def _dismiss(self, slot: Slot) -> None:
        """Lets an actor leave for good: at once where it holds nothing, else after its present call."""
        slot.drains_for = NOT_NEEDED
        if slot.identity is None:
            self._remove(slot)

    def _drained(self, slot: Slot) -> None:
        assert slot.drains_for is not None
        if slot.drains_for == NOT_NEEDED:
            self._remove(slot)
            return
        self._restarts[slot.drains_for] += 1
        ray.kill(slot.handle)
        self._start(slot)

    def _remove(self, slot: Slot) -> None:
        if slot.handle is not None:
            ray.kill(slot.handle)
        self._credits.forget(slot.actor_id)
        self._slots.remove(slot)

    def _start(self, slot: Slot) -> None:
        """Puts a new actor into a slot."""
        resources = {self._config.resource: 1.0} if self._config.resource else None
        actor: Any = ray.remote(RolloutActor)
        slot.handle = actor.options(
            max_restarts=0, max_task_retries=0, num_cpus=self._config.num_cpus, resources=resources
        ).remote(self._plan, slot.actor_id)
        slot.identity, slot.phase, slot.drains_for = None, STARTING, None
        self._credits.forget(slot.actor_id)
        self._call(slot)

    def _call(self, slot: Slot) -> None:
        """Makes the call that the slot's phase asks for; none for an actor without credit, which is looked at again."""
        config = self._config
        seconds = self._plan.replay.retry_seconds
        if slot.phase == COLLECTING and slot.drains_for is not None:
            slot.phase = DRAINING
        if slot.phase == STARTING:
            slot.call = slot.handle.ready.remote()
            seconds += config.start_seconds
        elif slot.phase == COLLECTING:
            credit = self._credits.grant(slot.actor_id, random=self._version == 0, among=len(self.identities))
            if credit is None:
                slot.wait_for_credit()
                return
            slot.call = slot.handle.collect.remote(self._weights, self._version, config.rows_per_call, credit)
            seconds += config.hang_seconds + config.rows_per_call
        else:
            slot.call = slot.handle.drain.remote()
            seconds += config.hang_seconds
        slot.patience = Patience(self._watch, seconds, has_process=slot.identity is not None)

    def _end_hung(self) -> None:
        """Replaces those whose call has taken too long."""
        if time.monotonic() < self._looked_at + LOOK_SECONDS:
            return
        self._looked_at = time.monotonic()
        there = functools.cache(places)  # asked once at the most, and only while one is being started
        for slot in [slot for slot in self._slots if slot.is_hung(there)]:
            slot.call = None
            self._replace(slot, Loss(HUNG, f"{slot.phase}, it did not answer for {slot.patience.seconds:.0f} s"))

    def _count_seconds(self) -> None:
        before, self._counted_at = self._counted_at, time.monotonic()
        self._seconds += (self._counted_at - before) * len(self.identities)

    def _take_in(self, slot: Slot, error: RayError) -> None:
        """A call has failed; what it means for the slot, and for the run."""
        kind = kind_of(error)
        if kind == PROCESS:
            self._replace(slot, loss_of(slot.handle, error, self._logs, slot.actor_id))
        elif kind in (AWAY, ANSWER):
            LOGGER.warning("%s cannot be reached, or its call was lost: %s", slot.actor_id, last_line(error))
            # An object that is lost are the weights, with whoever had them: that is a loss of its own.
            if kind == ANSWER and not isinstance(raised_by(error), ObjectLostError):
                slot.count("lost a call", last_line(error))
            slot.pause()
        else:
            self._failed(slot, error)

    def _replace(self, slot: Slot, loss: Loss) -> None:
        """Lets a new process take a lost one's place, after a pause."""
        ray.kill(slot.handle)  # it may still be there: hung, or without memory
        leaving = slot.drains_for == NOT_NEEDED
        self._credits.forget(slot.actor_id)
        slot.handle, slot.identity, slot.phase, slot.drains_for = None, None, STARTING, None
        if leaving:
            self._remove(slot)
            return
        self._restarts[loss.cause] += 1
        LOGGER.warning("%s is lost (%s) and is replaced: %s", slot.actor_id, loss.cause, loss.reason)
        if loss.cause != NODE_LOST:
            slot.count("was lost", loss.reason)
        slot.pause()

    def _failed(self, slot: Slot, error: RayError) -> None:
        """Our own code raised in an actor, which lives on; what it holds is not lost.

        That Redis is away is nobody's error and may last: whoever watches over the run says when it is too long.
        """
        reason = last_line(error)
        if connection.is_outage(raised_by(error)):
            LOGGER.warning("%s waits for Redis: %s", slot.actor_id, reason)
            slot.wait_for_redis(reason)
            return
        self._errors += 1
        LOGGER.warning("error in %s: %s", slot.actor_id, error)
        if slot.phase == STARTING and not self._one_was_built:
            raise ActorFailedError(f"{slot.actor_id} cannot be built: {reason}") from error
        if isinstance(error, RayActorError):
            slot.handle = None  # it failed before it was an actor
        slot.count("failed", reason)
        slot.pause()

    def _end_pauses(self) -> None:
        now = time.monotonic()
        # Who has waited longest comes first to what credit there is.
        for slot in sorted(self._slots, key=lambda slot: slot.idle_since):
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
