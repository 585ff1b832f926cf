"""Continuing a run: what a checkpoint, the metrics and the replay say about where it stood."""

from __future__ import annotations

from dataclasses import dataclass

from deploy.errors import UserError, user_errors
from deploy.reporting.metrics import MetricsWriter, read_metrics
from deploy.runs.checkpoints import Checkpoint
from deploy.runs.directory import RunDirectory
from deploy.settings.lengths import lengths
from deploy.settings.values import show
from learner import checkpoint
from learner.checkpoint import LearnerState
from learner.weight_shapes import acting_shapes, require_shapes
from replay.store import ReplayStore


@dataclass(frozen=True)
class Resumed:
    """Where a run goes on.

    Attributes:
        state: the learner's; None begins anew.
        complete: whether the run had reached its lengths, so that nothing is left to train.
        wall_seconds: for which the run had run.
        actor_hours: that its actors had run, added up.
        stalled_seconds: in which it had made no progress.
        env_steps: of the run so far.
        lost_env_steps: environment steps that the checkpoint counts and the replay does not have (any more): they stay
            counted.
        messages: what to tell the person at the terminal.
    """

    state: LearnerState | None
    complete: bool
    wall_seconds: float
    actor_hours: float
    stalled_seconds: float
    env_steps: int
    lost_env_steps: int
    messages: tuple[str, ...]


def resume(run: RunDirectory, metrics: MetricsWriter, store: ReplayStore, found: Checkpoint | None) -> Resumed:
    """Puts metrics and counters where the run goes on from; a new run begins at zero, with a state if it has one.

    Args:
        run: claimed.
        metrics: its writer.
        store: its replay, as it was found.
        found: the checkpoint to continue from.

    Raises:
        UserError: the checkpoint's files cannot be read.
    """
    state = None if found is None else _state(store, run, found)
    if not run.resumed:
        return Resumed(state, False, 0.0, 0.0, 0.0, 0, 0, ())
    stats = store.stats()
    in_replay = int(stats["env_steps"])
    at_checkpoint = found.step if found is not None else 0
    lost = max(at_checkpoint - in_replay, 0)
    step = in_replay + lost
    # Read before lines are taken out: the time was spent, whatever of its work is kept.
    told = list(read_metrics(run.metrics, "train"))
    wall, hours, stalled = (
        max((row.get(key, 0.0) for row in told), default=0.0)
        for key in ("run/wall_seconds", "actors/hours", "run/stalled_seconds")
    )
    offset = _metrics_offset(found) if found is not None else 0
    metrics.rewind(offset, step, run.logs / "metrics_taken_out.jsonl")
    changed = (f"{key} was {show(before)}, is now {show(now)}" for key, (before, now) in run.changed.items())
    if found is not None and found.document.get("complete") == lengths(run.config):
        message = f"{run.path} is complete at {step:,} environment steps: evaluating it again"
        return Resumed(state, True, wall, hours, stalled, step, lost, (message, *changed))
    if lost:
        store.raise_incarnations(step)
    metrics.write("event", step, {"event": "resumed", "lost_env_steps": lost, "rows_in_replay": stats["rows"]})
    learned = "no checkpoint yet" if found is None else f"checkpoint {found.path.name}"
    replay = f"{int(stats['rows']):,} rows in replay, " + (f"{lost:,} environment steps lost" if lost else "none lost")
    message = f"continuing {run.path} at {step:,} environment steps: {learned}; {replay}"
    return Resumed(state, False, wall, hours, stalled, step, lost, (message, *changed))


def _state(store: ReplayStore, run: RunDirectory, found: Checkpoint) -> LearnerState:
    with user_errors():
        checkpoint.check_document(found.learner(), store.spec)
        require_shapes(found.path / checkpoint.WEIGHTS, acting_shapes(store.spec, run.config.learner))
        return checkpoint.read(found.path, found.learner())


def _metrics_offset(found: Checkpoint) -> int:
    offset = found.document.get("metrics_offset")
    if type(offset) is not int or offset < 0:
        raise UserError(f"corrupt checkpoint: {found.path}: has no 'metrics_offset'")
    return offset
