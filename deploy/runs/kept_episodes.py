"""The episodes of a run, in one file of its directory: what `twist distil` plays again.

    RUN/episodes      seeds, domains, actions and states of the episodes that the replay holds when the run has come to
                      its end, but for those whose states have errors; bytes of `replay.episodes`, some MB

The replay itself may be elsewhere, has thousands of times as much in it, and may be given back at the end.
"""

from __future__ import annotations

from pathlib import Path

from deploy.errors import UserError
from deploy.runs.atomic import write_bytes
from deploy.runs.directory import RunDirectory
from learner.methods import METHODS
from replay.episodes import Episodes, decode_episodes, encode_episodes, read_episodes
from replay.schema import EpisodeMeta
from replay.store import ReplayStore
from sim.randomisation import SensingDraw


def episodes_file(run: RunDirectory) -> Path:
    """Where they lie."""
    return run.path / "episodes"


def keep_episodes(run: RunDirectory, store: ReplayStore) -> None:
    """Writes a run's episodes, unless its replay holds none any more.

    Where a method needs no images its actors draw none, and an episode tells itself whether its states have errors;
    else those have errors that have no images.

    Raises:
        OSError: the file cannot be written.
        redis.RedisError: Redis does not answer.
    """
    needs_images = METHODS[run.config.learner.method].needs_images
    episodes = read_episodes(store, None if needs_images else without_errors)
    if episodes.all:
        write_bytes(episodes_file(run), encode_episodes(episodes))


def without_errors(episode: EpisodeMeta) -> bool:
    """Whether an episode's states are the truth, as its randomisation tells."""
    drawn = SensingDraw(**episode.randomisation.get("sensing", {}))
    return not any(any(error) for error in drawn.position_error_m.values())


def load_episodes(run: RunDirectory) -> Episodes:
    """Reads a run's episodes.

    Raises:
        UserError: naming the file and what is wrong with it.
    """
    path = episodes_file(run)
    try:
        return decode_episodes(path.read_bytes())
    except FileNotFoundError:
        raise UserError(
            f"{path}: is not there, as the run was not trained to its end, or by an earlier version of twist: the same "
            "command that trained it writes it, where its replay is still there"
        ) from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error
