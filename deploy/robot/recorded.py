"""Recordings of `twist run` as a dataset.

Rows are ticks: `observation.*` is what was there, `action` what was chosen then, in -1 to 1 as the contract says,
`action.target` the target in metres that was commanded, and `next.*` what it led to. Steps of a person are marked. Of a
dry run, which says so of each episode, the target is what would have been commanded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from deploy.errors import UserError
from deploy.robot.dataset import Columns, DatasetEpisode, DatasetHead, camera_key, write_dataset
from deploy.robot.runtime.recording import RecordedEpisode, Recording

_JOINTS = [f"joint_{index}_rad" for index in range(1, 8)]
_TARGET = ["x_m", "y_m", "z_m", "opening_m"]


def write_recordings(recordings: Sequence[Recording], target: Path) -> int:
    """Writes recordings of one task as one dataset.

    Args:
        recordings: of equal rate, picture and actions.
        target: a new directory.

    Returns:
        Episodes written.

    Raises:
        UserError: `target` exists, the recordings do not go together or are empty, or a library is missing.
    """
    head = recordings[0].head
    for other in recordings[1:]:
        for name in ("task", "rate_hz", "image_shape", "action_names"):
            if other.head[name] != head[name]:
                raise UserError(f"{other.path}: has {name} {other.head[name]}; {recordings[0].path} has {head[name]}")
    height, width, channels = head["image_shape"]
    about = DatasetHead(
        task=head["task"],
        fps=recordings[0].rate_hz,
        robot=f"panda_{head['driver']}",
        cameras=(camera_key(),),
        image_shape=(height, width, channels),
        names={
            "observation.state": [*_JOINTS, "opening_m"],
            "action": head["action_names"],
            "action.target": _TARGET,
        },
    )
    return write_dataset(target, about, _episodes(recordings))


def _episodes(recordings: Sequence[Recording]) -> Iterator[DatasetEpisode]:
    for recording in recordings:
        for recorded in recording.episodes():
            yield _episode(recorded, recording.head["dry"])


def _episode(recorded: RecordedEpisode, dry: bool) -> DatasetEpisode:
    ticks, count = recorded.ticks, len(recorded.ticks)
    after = [*(tick["facts"] for tick in ticks[1:]), recorded.end.get("facts", {})]
    columns: Columns = {
        "observation.state": np.array([[*tick["joints"], tick["opening"]] for tick in ticks], np.float32),
        "observation.surprise": np.array([tick.get("surprise", np.nan) for tick in ticks], np.float32),
        "action": np.array([tick["action"] for tick in ticks], np.float32),
        "action.target": np.array([tick["target"] for tick in ticks], np.float32),
        "next.reward": np.array([facts.get("reward", 0.0) for facts in after], np.float32),
        "next.done": np.arange(count) == count - 1,
        "next.success": np.array([bool(facts.get("success", False)) for facts in after]),
        "complementary_info.is_intervention": np.array([tick["driver"] == "person" for tick in ticks]),
    }
    about = {**recorded.about, "dry": dry, "stopped": recorded.end.get("stopped"), "complete": bool(recorded.end)}
    return DatasetEpisode(columns, {camera_key(): recorded.images}, about)
