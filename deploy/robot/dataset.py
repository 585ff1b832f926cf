"""Recordings as a LeRobotDataset v3.0, without lerobot. No other module imports pyarrow.

    meta/info.json                    features, counts, where everything lies
    meta/stats.json                   of each feature
    meta/tasks.parquet                the task's words
    meta/episodes/chunk-000/...       a row per episode: where its rows and pictures are
    meta/twist_episodes.jsonl         ours: seed and draw of each episode, and why it was stopped
    data/chunk-000/file-000.parquet   a row per tick
    videos/KEY/chunk-000/file-000.mp4 all episodes one after the other

Rows are ticks: `observation.*` is what was there, `action` what was chosen then, in -1 to 1 as the contract says,
`action.target` the target in metres that was commanded, and `next.*` what it led to. Steps of a person are marked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deploy.errors import UserError
from deploy.process.extras import require_extra
from deploy.reporting.video import CODEC, PIXELS, write_mp4
from deploy.robot.runtime.recording import RecordedEpisode, Recording
from deploy.runs.atomic import new_directory, write_json

if TYPE_CHECKING:
    import pyarrow

VERSION = "v3.0"
CAMERA = "observation.images.front"
_DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
_VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
_EPISODES = "meta/episodes/chunk-000/file-000.parquet"
_JOINTS = [f"joint_{index}_rad" for index in range(1, 8)]
_TARGET = ["x_m", "y_m", "z_m", "opening_m"]
_SENTENCES = {
    "reach": "move the gripper to the ball",
    "push": "push the cube onto the red disc",
    "lift": "grasp the cube and lift it",
}

Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class _Episode:
    columns: Columns
    images: NDArray[np.uint8]
    about: dict[str, Any]


def write_dataset(recordings: Sequence[Recording], target: Path) -> int:
    """Writes recordings of one task as one dataset.

    Args:
        recordings: of equal rate, picture and actions.
        target: a new directory.

    Returns:
        Episodes written.

    Raises:
        UserError: `target` exists, the recordings do not go together or are empty, or a library is missing.
    """
    require_extra("writing datasets", "dataset", "pyarrow", "av")
    if target.exists():
        raise UserError(f"{target}: is there already; a dataset wants a new directory")
    head = recordings[0].head
    for other in recordings[1:]:
        for name in ("task", "rate_hz", "image_shape", "action_names"):
            if other.head[name] != head[name]:
                raise UserError(f"{other.path}: has {name} {other.head[name]}; {recordings[0].path} has {head[name]}")
    episodes = [_episode(each, index, head["rate_hz"]) for index, each in enumerate(_all(recordings))]
    if not episodes:
        raise UserError(f"{recordings[0].path}: the recording has no episode")
    _number(episodes)
    with new_directory(target) as directory:
        for part in ("meta/episodes/chunk-000", "data/chunk-000", f"videos/{CAMERA}/chunk-000"):
            (directory / part).mkdir(parents=True)
        video = _VIDEO.format(video_key=CAMERA, chunk_index=0, file_index=0)
        write_mp4(directory / video, (image for each in episodes for image in each.images), head["rate_hz"])
        _write_rows(directory, episodes)
        _write_tasks(directory, head["task"])
        _write_episodes(directory, episodes, head["task"], head["rate_hz"])
        write_json(directory / "meta" / "stats.json", _statistics(episodes))
        write_json(directory / "meta" / "info.json", _info(episodes, dict(head)))
        lines = (json.dumps({"episode_index": index, **each.about}) for index, each in enumerate(episodes))
        (directory / "meta" / "twist_episodes.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(episodes)


def _all(recordings: Sequence[Recording]) -> Iterator[RecordedEpisode]:
    for recording in recordings:
        yield from recording.episodes()


def _episode(recorded: RecordedEpisode, index: int, fps: int) -> _Episode:
    ticks, count = recorded.ticks, len(recorded.ticks)
    after = [*(tick["facts"] for tick in ticks[1:]), recorded.end.get("facts", {})]
    last = np.arange(count) == count - 1
    columns: Columns = {
        "observation.state": np.array([[*tick["joints"], tick["opening"]] for tick in ticks], np.float32),
        "observation.surprise": np.array([tick.get("surprise", np.nan) for tick in ticks], np.float32),
        "action": np.array([tick["action"] for tick in ticks], np.float32),
        "action.target": np.array([tick["target"] for tick in ticks], np.float32),
        "next.reward": np.array([facts.get("reward", 0.0) for facts in after], np.float32),
        "next.done": last,
        "next.success": np.array([bool(facts.get("success", False)) for facts in after]),
        "complementary_info.is_intervention": np.array([tick["driver"] == "person" for tick in ticks]),
        "episode_index": np.full(count, index, np.int64),
        "frame_index": np.arange(count, dtype=np.int64),
        "timestamp": (np.arange(count) / fps).astype(np.float32),
        "task_index": np.zeros(count, np.int64),
    }
    about = {**recorded.about, "stopped": recorded.end.get("stopped"), "complete": bool(recorded.end)}
    return _Episode(columns, recorded.images, about)


def _number(episodes: Sequence[_Episode]) -> None:
    first = 0
    for each in episodes:
        count = len(each.images)
        each.columns["index"] = np.arange(first, first + count, dtype=np.int64)
        first += count


def _write_rows(directory: Path, episodes: Sequence[_Episode]) -> None:
    from pyarrow import parquet

    schema = None
    writer = None
    file = directory / _DATA.format(chunk_index=0, file_index=0)
    try:
        for each in episodes:
            table = _table(each.columns, schema)
            schema = table.schema
            if writer is None:
                writer = parquet.ParquetWriter(file, schema, compression="snappy")
            writer.write_table(table, row_group_size=len(each.images))
    finally:
        if writer is not None:
            writer.close()


def _table(columns: Columns, schema: pyarrow.Schema | None) -> pyarrow.Table:
    import pyarrow as pa

    arrays = {
        name: pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])
        if values.ndim == 2
        else pa.array(values)
        for name, values in columns.items()
    }
    return pa.table(arrays, schema=schema)


def _write_tasks(directory: Path, task: str) -> None:
    """The task's words are the index, as pandas writes one: readers look them up by it."""
    import pyarrow as pa
    from pyarrow import parquet

    def column(name: str, kind: str, stored: str) -> dict[str, Any]:
        return {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": stored, "metadata": None}

    described = {
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": [column("task_index", "int64", "int64"), column("task", "unicode", "object")],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.2.0",
    }
    table = pa.table({"task_index": pa.array([0], pa.int64()), "task": pa.array([_sentence(task)], pa.string())})
    parquet.write_table(
        table.replace_schema_metadata({b"pandas": json.dumps(described).encode()}), directory / "meta" / "tasks.parquet"
    )


def _sentence(task: str) -> str:
    return _SENTENCES.get(task, task)


def _write_episodes(directory: Path, episodes: Sequence[_Episode], task: str, fps: int) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    lengths = [len(each.images) for each in episodes]
    ends = np.cumsum(lengths)
    starts = ends - lengths
    zeros = np.zeros(len(lengths), np.int64)
    table = pa.table(
        {
            "episode_index": pa.array(np.arange(len(lengths), dtype=np.int64)),
            "tasks": pa.array([[_sentence(task)]] * len(lengths), pa.list_(pa.string())),
            "length": pa.array(np.array(lengths, np.int64)),
            "data/chunk_index": pa.array(zeros),
            "data/file_index": pa.array(zeros),
            "dataset_from_index": pa.array(starts.astype(np.int64)),
            "dataset_to_index": pa.array(ends.astype(np.int64)),
            f"videos/{CAMERA}/chunk_index": pa.array(zeros),
            f"videos/{CAMERA}/file_index": pa.array(zeros),
            f"videos/{CAMERA}/from_timestamp": pa.array(starts / fps),
            f"videos/{CAMERA}/to_timestamp": pa.array(ends / fps),
            "meta/episodes/chunk_index": pa.array(zeros),
            "meta/episodes/file_index": pa.array(zeros),
        }
    )
    parquet.write_table(table, directory / _EPISODES, compression="snappy")


def _statistics(episodes: Sequence[_Episode]) -> dict[str, Any]:
    found = {}
    for name in episodes[0].columns:
        values = np.concatenate([each.columns[name] for each in episodes]).astype(np.float64)
        found[name] = _described(values.reshape(len(values), -1), (-1,))
    pixels = np.concatenate([each.images for each in episodes]).reshape(-1, 3) / 255.0
    frames = sum(len(each.images) for each in episodes)
    found[CAMERA] = {**_described(pixels, (3, 1, 1)), "count": [frames]}
    return found


def _described(values: NDArray[np.float64], shape: tuple[int, ...]) -> dict[str, Any]:
    known = values[np.isfinite(values).all(-1)]
    known = known if len(known) else np.zeros((1, values.shape[1]))
    ends = {"min": known.min(0), "max": known.max(0), "mean": known.mean(0), "std": known.std(0)}
    return {**{name: value.reshape(shape).tolist() for name, value in ends.items()}, "count": [len(values)]}


def _info(episodes: Sequence[_Episode], head: dict[str, Any]) -> dict[str, Any]:
    names: dict[str, list[str] | None] = {
        "observation.state": [*_JOINTS, "opening_m"],
        "action": list(head["action_names"]),
        "action.target": _TARGET,
    }
    features: dict[str, Any] = {
        name: {
            "dtype": "bool" if values.dtype == bool else str(values.dtype),
            "shape": [values.shape[1]] if values.ndim == 2 else [1],
            "names": names.get(name),
        }
        for name, values in episodes[0].columns.items()
    }
    height, width, channels = head["image_shape"]
    features[CAMERA] = {
        "dtype": "video",
        "shape": [height, width, channels],
        "names": ["height", "width", "channels"],
        "info": {
            "video.height": height,
            "video.width": width,
            "video.channels": channels,
            "video.codec": CODEC,
            "video.pix_fmt": PIXELS,
            "video.fps": head["rate_hz"],
            "video.is_depth_map": False,
            "has_audio": False,
        },
    }
    return {
        "codebase_version": VERSION,
        "robot_type": f"panda_{head['driver']}",
        "total_episodes": len(episodes),
        "total_frames": sum(len(each.images) for each in episodes),
        "total_tasks": 1,
        "chunks_size": 1000,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": head["rate_hz"],
        "splits": {"train": f"0:{len(episodes)}"},
        "data_path": _DATA,
        "video_path": _VIDEO,
        "features": features,
    }
