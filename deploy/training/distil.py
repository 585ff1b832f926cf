"""`twist distil`: a new student for the teacher of a finished run, from the episodes of that run.

    RUN                              RUN2
    newest checkpoint    -------->   first checkpoint: the same teacher, a student that begins (`learner.new_student`)
    episodes             -------->   the same file, which actors play again (`actors.rerendering`)
    config.json          -------->   the same settings, but for those that are given

What is seen may be otherwise (visuals, camera, renderer, size and number of images), and so may all that concerns the
student. Beyond that RUN2 is a run like any other, of which `deploy.training.train` knows that its teacher stands still.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from actors.rerendering import require_training, resimulate
from actors.rollout_stats import Resimulated
from deploy.errors import UserError, user_errors
from deploy.runs.atomic import write_bytes
from deploy.runs.checkpoints import Checkpoints
from deploy.runs.directory import RunDirectory, check_claimable, read_config
from deploy.runs.kept_episodes import episodes_file
from deploy.runs.source import Source
from deploy.runs.versions import versions
from deploy.settings.config import RunConfig
from deploy.settings.overrides import flatten
from deploy.settings.specification import stream_spec
from deploy.settings.values import show
from deploy.training.plans import learner_plan
from deploy.training.train import train
from learner import checkpoint
from learner.checkpoint import LearnerState
from learner.new_student import with_new_student
from learner.process import BALANCES
from replay.limiter import Balance
from sim import make_env

if TYPE_CHECKING:
    from deploy.remote.mirror import Mirror

_ONLY_SEEN = ("sim.randomisation.visual.", "sim.renderer", "sim.image_size", "sim.views")
"""Settings, and groups of them, that change what is seen and not how anything moves."""

TRIED = 8
"""Episodes that are played, without images, before anything is begun."""


def distil(config: RunConfig, directory: Path, source: Source, mirror: Mirror | None = None) -> int:
    """Distils, or goes on distilling, and writes the report.

    Args:
        config: of `distilled_config`.
        directory: of the run.
        source: whose teacher and episodes are taken; once the run has its first checkpoint it has its own.
        mirror: copies the directory to remote storage, where it belongs there.

    Returns:
        The exit code, 0.

    Raises:
        UserError: something asked for is not possible; nothing was started or overwritten.
        RunEndedError, Ended: as `train`.
    """
    check_claimable(directory, config)
    if Checkpoints(directory / "checkpoints").newest_name() is not None:
        return train(config, directory, mirror)
    with user_errors():
        state = _first_state(config, source)
        episodes = episodes_file(source.run).read_bytes()
    print(
        f"teacher: {source.place}, {source.checkpoint.path.name}; its episodes, {len(source.episodes.all):,} of "
        f"{source.episodes.env_steps:,} environment steps, are played again"
    )
    return train(config, directory, mirror, begin=partial(_begin, state, episodes))


def _first_state(config: RunConfig, source: Source) -> LearnerState:
    """The learner's at the beginning.

    Raises:
        UserError, ValueError: teacher or episodes do not fit these settings.
    """
    require_training(source.episodes)
    spec, theirs = stream_spec(config), source.episodes.spec
    seen_alike = replace(spec, image_shape=theirs.image_shape, views=theirs.views, chunk_length=theirs.chunk_length)
    seen_alike.require_equal(theirs, source.place)
    _require_same_world(config, source)
    found = source.checkpoint
    state = with_new_student(
        checkpoint.read(found.path, found.learner()),
        spec,
        config.learner,
        config.seed,
        continued=config.distilled.student == "continued",
    )
    nothing = {plan.name: Balance().to_document(plan) for plan in learner_plan(config).limiters}
    return replace(state, document={**state.document, BALANCES: nothing})


def _require_same_world(config: RunConfig, source: Source) -> None:
    """Plays some episodes: a world that moves otherwise would make other episodes of them, which nobody chose.

    Raises:
        UserError: most of them go another way.
    """
    every = source.episodes.all
    world = make_env(config.task, config.sim, views=0)
    try:
        tried = sorted({round(place) for place in np.linspace(0, len(every) - 1, TRIED)})
        found = sum((resimulate(world, every[place], source.episodes.spec) for place in tried), Resimulated())
    finally:
        world.close()
    if 2 * found.drifted <= found.episodes:
        return
    document = read_config(source.run.path)
    then, now = flatten(source.run.config), flatten(config)
    others = [
        f"{key} is {show(now[key])}, was {show(then[key])}" for key in now if _moves(key) and now[key] != then[key]
    ]
    if document is not None and not others:
        before = document.versions
        others = [
            f"{name} is {has}, was {before[name]}" for name, has in versions().items() if has != before.get(name, has)
        ]
    raise UserError(
        f"the episodes of {source.place} go another way here: {found.drifted} of {found.episodes} that were tried end "
        f"in other states, by up to {100 * found.largest:.0f} % of their range; how the world moves must be as it was"
        + (f" ({'; '.join(others)})" if others else "")
    )


def _moves(key: str) -> bool:
    """Whether a setting may have to do with how the world moves."""
    return key.startswith("sim.") and not key.startswith(_ONLY_SEEN)


def _begin(state: LearnerState, episodes: bytes, run: RunDirectory) -> None:
    """Writes what the run goes on from, whatever becomes of the other one.

    Raises:
        OSError: it cannot be written.
    """
    write_bytes(episodes_file(run), episodes)
    document = {"learner": state.document, "metrics_offset": 0}
    run.checkpoints.save(0, document, lambda path: checkpoint.write(state, path))
