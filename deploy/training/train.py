"""`twist train`: assembles replay, learner and actors in the mode asked for, then evaluates and reports."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from deploy.errors import user_errors
from deploy.evaluation.conclusion import conclude
from deploy.process import signals
from deploy.process.scratch import Scratch, scratch
from deploy.reporting.metrics import MetricsWriter
from deploy.reporting.progress import ProgressDisplay, goals_of
from deploy.runs.directory import RunDirectory, check_claimable
from deploy.runs.kept_episodes import episodes_file, keep_episodes
from deploy.runs.snapshots import Snapshots
from deploy.settings.config import RunConfig
from deploy.settings.lengths import lengths
from deploy.settings.specification import stream_spec
from deploy.training.crashes import write_crash
from deploy.training.endings import told_in_one_line
from deploy.training.exporting import BundleWriter
from deploy.training.monitor import RunMonitor
from deploy.training.plans import worker_plan
from deploy.training.preconditions import require_here
from deploy.training.prometheus import PrometheusMetrics
from deploy.training.ray_session import ray_session
from deploy.training.replay_address import ReplayUrls, require_one_server, require_replay
from deploy.training.replay_watch import ReplayWatch
from deploy.training.resume import Resumed, resume
from learner import checkpoint
from learner.checkpoint import LearnerState
from learner.devices import gpus_used
from learner.methods import METHODS
from replay.holdings import delete_run
from replay.server import EmbeddedServer, connect
from replay.store import ReplayStore

if TYPE_CHECKING:
    from deploy.remote.mirror import Mirror
    from deploy.training.debug_mode import DebugRun
    from deploy.training.parallel_mode import ParallelRun

LOGGER = logging.getLogger(__name__)


def train(
    config: RunConfig,
    directory: Path,
    mirror: Mirror | None = None,
    begin: Callable[[RunDirectory], None] | None = None,
) -> int:
    """Trains, or continues, a run and writes its report.

    Args:
        config: resolved settings.
        directory: of the run.
        mirror: copies the directory to remote storage, where it belongs there.
        begin: writes the first checkpoint of a run that does not begin from nothing.

    Returns:
        The exit code, 0.

    Raises:
        UserError: something asked for is not possible; nothing was started or overwritten.
        RunEndedError: the run cannot go on, or its end did not get to the storage.
        Ended: by a signal; what the run has is saved.
    """
    console = Console()
    with ExitStack() as stack:
        stack.enter_context(signals.saying("the same command goes on"))
        with user_errors():
            require_here(config)
            found_run, _ = check_claimable(directory, config)
            notes: list[str] = []
            if config.redis_url is not None:
                notes = require_replay(config, found_run.run_id if found_run else None)
            run = stack.enter_context(RunDirectory.claim(directory, config))
        log = run.logs / "driver.log"
        _log_to(log)
        stack.enter_context(told_in_one_line(run, log))
        with user_errors():
            # Looked at before anything starts: a corrupt checkpoint must not cost the run its replay.
            if begin is not None:
                begin(run)
            found = run.checkpoints.latest()
            place = stack.enter_context(scratch())
            urls, revive = stack.enter_context(_replay_server(config, run, place))
            store = ReplayStore(connect(urls.driver), run.run_id, stream_spec(config), config.replay)
            require_one_server(urls, run.run_id)
            if mirror is not None:
                stack.enter_context(mirror.driven())
        metrics = MetricsWriter(run.metrics, run.tensorboard)
        stack.callback(metrics.close)
        at = resume(run, metrics, store, found)
        console.print(_replay_needs(config), highlight=False)
        if config.mode != "cluster" and (gpus := gpus_used(config.learner)):
            console.print(gpus, highlight=False)
        for message in (*notes, *at.messages):
            console.print(message, highlight=False)
        bundles = None
        if config.training.export:
            bundles = stack.enter_context(BundleWriter(run.path, run.logs / "export.log"))
        if not at.complete:
            _train(config, run, store, urls, revive, metrics, at, mirror, place, bundles)
        metrics.sync()
        conclude(config, run, metrics, store, console)
        if bundles is not None:
            bundles.finish()
        if not (config.is_distilled or (at.complete and episodes_file(run).exists())):
            keep_episodes(run, store)
        if mirror is not None:
            mirror.finish()
            console.print(f"all of it: {mirror.url}", highlight=False, soft_wrap=True)
    return 0


def _train(
    config: RunConfig,
    run: RunDirectory,
    store: ReplayStore,
    urls: ReplayUrls,
    revive: Callable[[], bool] | None,
    metrics: MetricsWriter,
    at: Resumed,
    mirror: Mirror | None,
    place: Scratch,
    bundles: BundleWriter | None,
) -> None:
    """The training itself."""
    training = config.training

    def save(step: int, state: LearnerState, **more: object) -> None:
        metrics.sync()
        document = {"learner": state.document, "metrics_offset": metrics.offset, **more}
        run.checkpoints.save(step, document, lambda path: checkpoint.write(state, path), keep=training.keep_checkpoints)
        if bundles is not None:
            bundles.checkpoint_written()
        if mirror is not None:
            mirror.send(monitor.event)

    method = METHODS[config.learner.method]
    display = ProgressDisplay(f"{config.task}, seed {config.seed}", goals_of(config))
    monitor = RunMonitor(
        metrics,
        display,
        partial(write_crash, run.crashes, config.task, config.sim),
        wall_seconds=at.wall_seconds,
        env_steps=at.env_steps,
        drivers=[driver.name for driver in method.drivers],
        actor_hours=at.actor_hours,
        stalled_seconds=at.stalled_seconds,
        exported=None if config.mode == "debug" else PrometheusMetrics(config.task, run.run_id),
        teacher_stands_still=config.is_distilled,
    )
    replay = ReplayWatch(
        store,
        lost_env_steps=at.lost_env_steps,
        outage_seconds=config.replay.outage_seconds,
        event=monitor.event,
        revive=revive,
    )
    arguments = config, store, urls, worker_plan(config, run), at.state
    with ExitStack() as stack:
        started: DebugRun | ParallelRun
        if config.mode == "debug":
            from deploy.training.debug_mode import DebugRun

            started = DebugRun(*arguments)
        else:
            stack.enter_context(ray_session(config.mode, place, run.logs))
            from deploy.training.parallel_mode import ParallelRun  # imports Ray, which debug mode does without

            started = ParallelRun(*arguments, newest=lambda: _newest_state(run), logs=run.logs)
        stack.enter_context(display)
        snapshots = Snapshots(run.snapshots)
        stack.enter_context(signals.held())
        stack.enter_context(signals.saying("not drained in time; the same command goes on from the newest checkpoint"))
        try:
            state = started.train(replay, monitor, save, snapshots)
        except Exception as error:
            _save_last(started.last_state, error, lambda state: save(monitor.env_steps, state))
            raise
        if signals.asked():
            save(replay.env_steps(), state)
            raise signals.Ended(
                f"checkpoint {run.checkpoints.newest_name()} is saved; the same command goes on from it"
            )
        if training.snapshot_every_updates if config.mode == "debug" else training.snapshot_every_seconds:
            snapshots.take(checkpoint.acting_part(state), replay.env_steps(), monitor.wall_seconds)
        save(replay.env_steps(), state, complete=lengths(config))


def _save_last(
    last_state: Callable[[Exception], LearnerState | None], error: Exception, save: Callable[[LearnerState], None]
) -> None:
    """A last checkpoint of a learner that is well, where something else ends the run."""
    try:
        state = last_state(error)
        if state is not None:
            save(state)
    except Exception:
        LOGGER.exception("there is no last checkpoint")  # and the run ends for another reason


def _newest_state(run: RunDirectory) -> LearnerState | None:
    """The learner's state of the newest checkpoint, read anew; None where there is none."""
    found = run.checkpoints.latest()
    return None if found is None else checkpoint.read(found.path, found.learner())


@contextmanager
def _replay_server(
    config: RunConfig, run: RunDirectory, place: Scratch
) -> Iterator[tuple[ReplayUrls, Callable[[], bool] | None]]:
    """The Redis server that was given, or an embedded one in the run directory, with what starts that one again.

    What comes after a yield happens only when the run has ended well.
    """
    if config.redis_url is not None:
        yield ReplayUrls.of(config.redis_url), None
        if config.replay.delete_at_end:
            with connect(config.redis_url) as client:
                delete_run(client, run.run_id)
        return
    replay = config.replay
    with EmbeddedServer(
        run.replay, max_bytes=replay.memory_bytes, fsync=replay.append_fsync, sockets=place.path
    ) as server:
        yield ReplayUrls.embedded(server.url), server.revive
    if config.replay.delete_at_end:
        shutil.rmtree(run.replay)


def _replay_needs(config: RunConfig) -> str:
    """How much the replay will take, said before it is taken."""
    replay, mib = config.replay, 2**20
    return (
        f"replay: up to {replay.capacity_steps:,} rows or {replay.capacity_bytes // mib:,} MiB, "
        f"for which Redis may need {replay.memory_bytes // mib:,} MiB of memory"
    )


class _LogFile(logging.FileHandler):
    """driver.log; what cannot be written there is not worth the terminal's lines."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        pass


def _log_to(path: Path) -> None:
    handler = _LogFile(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for name in ("actors", "learner", "replay", "deploy", "sim"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)
        logger.propagate = False
        logger.handlers[:] = [handler]
