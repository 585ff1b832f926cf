"""The episodes of a run, in one file of its directory: what `twist distil` plays again.

    RUN/episodes      seeds, domains, actions and states of the episodes that the replay holds with their images when
                      the run has come to its end; bytes of `replay.episodes`, some MB

The replay itself may be elsewhere, has thousands of times as much in it, and may be given back at the end.
"""

from __future__ import annotations

from pathlib import Path

from deploy.errors import UserError
from deploy.runs.atomic import write_bytes
from deploy.runs.directory import RunDirectory
from replay.episodes import Episodes, decode_episodes, encode_episodes, read_episodes
from replay.store import ReplayStore


def episodes_file(run: RunDirectory) -> Path:
    """Where they lie."""
    return run.path / "episodes"


def keep_episodes(run: RunDirectory, store: ReplayStore) -> None:
    """Writes a run's episodes, unless its replay holds none any more.

    Raises:
        OSError: the file cannot be written.
        redis.RedisError: Redis does not answer.
    """
    episodes = read_episodes(store)
    if episodes.all:
        write_bytes(episodes_file(run), encode_episodes(episodes))


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
