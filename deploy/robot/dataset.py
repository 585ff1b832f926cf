"""Episodes as a LeRobotDataset v3.0, without lerobot. No other module imports pyarrow.

    meta/info.json                    features, counts, where everything lies
    meta/stats.json                   of each feature
    meta/tasks.parquet                the task's words
    meta/episodes/chunk-000/...       a row per episode: where its rows and pictures are
    meta/twist_episodes.jsonl         ours: seed and draw of each episode, and why it was stopped
    data/chunk-000/file-000.parquet   a row per tick
    videos/KEY/chunk-000/file-000.mp4 all episodes one after the other

One episode is in memory at a time. Where episodes come from: `deploy.robot.recorded`, `deploy.robot.replayed`.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deploy.errors import UserError
from deploy.process.extras import require_extra
from deploy.reporting.video import CODEC, PIXELS, VideoWriter
from deploy.runs.atomic import new_directory, write_json

if TYPE_CHECKING:
    import pyarrow

VERSION = "v3.0"
_DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
_VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
_EPISODES = "meta/episodes/chunk-000/file-000.parquet"
_SENTENCES = {
    "reach": "move the gripper to the ball",
    "push": "push the cube onto the red disc",
    "lift": "grasp the cube and lift it",
}

Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class DatasetHead:
    """What holds for all episodes.

    Attributes:
        task: its name.
        fps: rows per second.
        robot: the dataset's `robot_type`.
        cameras: the pictures' keys.
        image_shape: (H, W, 3) of each.
        names: of the entries of columns, by the column's name.
    """

    task: str
    fps: int
    robot: str
    cameras: tuple[str, ...]
    image_shape: tuple[int, int, int]
    names: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class DatasetEpisode:
    """T rows of one episode.

    Attributes:
        columns: [T] or [T, D] each; those that every dataset has (times, indices) are not among them.
        images: [T, H, W, 3] uint8 by camera.
        about: seed, draw and whatever else is known, as plain values.
    """

    columns: Columns
    images: Mapping[str, NDArray[np.uint8]]
    about: Mapping[str, Any]

    @property
    def rows(self) -> int:
        """T."""
        return len(next(iter(self.columns.values())))


def camera_key(view: int = 0) -> str:
    """The key of a camera's pictures; every view but the first has its number."""
    return f"observation.images.front{f'_{view + 1}' if view else ''}"


def require_new(target: Path) -> None:
    """Refuses to write a dataset where it cannot be.

    Raises:
        UserError: `target` exists, or a library is missing.
    """
    require_extra("writing datasets", "dataset", "pyarrow", "av")
    if target.exists():
        raise UserError(f"{target}: is there already; a dataset wants a new directory")


def write_dataset(target: Path, head: DatasetHead, episodes: Iterable[DatasetEpisode]) -> int:
    """Writes a dataset of one task.

    Args:
        target: a new directory.
        head: of all episodes.
        episodes: at least one; each is asked for when the one before it is written.

    Returns:
        Episodes written.

    Raises:
        UserError: `target` exists, there is no episode, or a library is missing.
    """
    require_new(target)
    coming = iter(episodes)
    first = next(coming, None)
    if first is None:
        raise UserError(f"{target}: there is no episode to write")
    with new_directory(target) as directory, contextlib.ExitStack() as closed:
        for part in ("meta/episodes/chunk-000", "data/chunk-000", *(f"videos/{key}/chunk-000" for key in head.cameras)):
            (directory / part).mkdir(parents=True)
        videos = {
            key: closed.enter_context(
                VideoWriter(directory / _VIDEO.format(video_key=key, chunk_index=0, file_index=0), head.fps)
            )
            for key in head.cameras
        }
        rows = closed.enter_context(_Rows(directory / _DATA.format(chunk_index=0, file_index=0)))
        statistics: dict[str, _Statistics] = {}
        lines = closed.enter_context((directory / "meta" / "twist_episodes.jsonl").open("w", encoding="utf-8"))
        lengths: list[int] = []
        for episode in itertools.chain([first], coming):
            columns = _numbered(episode, len(lengths), sum(lengths), head.fps)
            rows.write(columns)
            for name, values in columns.items():
                statistics.setdefault(name, _Statistics((-1,))).take(values.reshape(len(values), -1), len(values))
            for key, video in videos.items():
                images = episode.images[key]
                statistics.setdefault(key, _Statistics((3, 1, 1))).take(images.reshape(-1, 3) / 255.0, len(images))
                for image in images:
                    video.add(image)
            lines.write(json.dumps({"episode_index": len(lengths), **episode.about}) + "\n")
            lengths.append(episode.rows)
        _write_tasks(directory, head.task)
        _write_episodes(directory, lengths, head)
        write_json(directory / "meta" / "stats.json", {name: each.as_json() for name, each in statistics.items()})
        write_json(directory / "meta" / "info.json", _info(lengths, columns, head))
    return len(lengths)


def _numbered(episode: DatasetEpisode, index: int, first: int, fps: int) -> Columns:
    """An episode's columns with those that every dataset has."""
    count = episode.rows
    return {
        **episode.columns,
        "episode_index": np.full(count, index, np.int64),
        "frame_index": np.arange(count, dtype=np.int64),
        "timestamp": (np.arange(count) / fps).astype(np.float32),
        "task_index": np.zeros(count, np.int64),
        "index": np.arange(first, first + count, dtype=np.int64),
    }


class _Rows:
    """The file of all rows, a row group per episode; a context manager."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._writer: Any = None

    def write(self, columns: Columns) -> None:
        from pyarrow import parquet

        table = _table(columns)
        if self._writer is None:
            self._writer = parquet.ParquetWriter(self._file, table.schema, compression="snappy")
        self._writer.write_table(table, row_group_size=table.num_rows)

    def __enter__(self) -> _Rows:
        return self

    def __exit__(self, *error: object) -> None:
        if self._writer is not None:
            self._writer.close()


def _table(columns: Columns) -> pyarrow.Table:
    import pyarrow as pa

    return pa.table(
        {
            name: pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])
            if values.ndim == 2
            else pa.array(values)
            for name, values in columns.items()
        }
    )


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


def _write_episodes(directory: Path, lengths: Sequence[int], head: DatasetHead) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    ends = np.cumsum(lengths)
    starts = ends - lengths
    zeros = np.zeros(len(lengths), np.int64)
    columns = {
        "episode_index": pa.array(np.arange(len(lengths), dtype=np.int64)),
        "tasks": pa.array([[_sentence(head.task)]] * len(lengths), pa.list_(pa.string())),
        "length": pa.array(np.array(lengths, np.int64)),
        "data/chunk_index": pa.array(zeros),
        "data/file_index": pa.array(zeros),
        "dataset_from_index": pa.array(starts.astype(np.int64)),
        "dataset_to_index": pa.array(ends.astype(np.int64)),
    }
    for key in head.cameras:
        columns |= {
            f"videos/{key}/chunk_index": pa.array(zeros),
            f"videos/{key}/file_index": pa.array(zeros),
            f"videos/{key}/from_timestamp": pa.array(starts / head.fps),
            f"videos/{key}/to_timestamp": pa.array(ends / head.fps),
        }
    columns |= {"meta/episodes/chunk_index": pa.array(zeros), "meta/episodes/file_index": pa.array(zeros)}
    parquet.write_table(pa.table(columns), directory / _EPISODES, compression="snappy")


@dataclass
class _Statistics:
    """Of one feature, as its values come; rows with a value that is not finite count, and nothing else of them does.

    Attributes:
        shape: in which the feature's numbers are written.
    """

    shape: tuple[int, ...]
    rows: int = 0
    known: int = 0
    least: NDArray[np.float64] = field(default_factory=lambda: np.array(np.inf))
    most: NDArray[np.float64] = field(default_factory=lambda: np.array(-np.inf))
    total: NDArray[np.float64] = field(default_factory=lambda: np.array(0.0))
    squares: NDArray[np.float64] = field(default_factory=lambda: np.array(0.0))

    def take(self, values: NDArray[Any], rows: int) -> None:
        """Takes in values [N, D] of so many rows."""
        self.rows += rows
        exact = values.astype(np.float64)
        exact = exact[np.isfinite(exact).all(-1)]
        if not len(exact):
            exact = np.zeros((0, values.shape[1]))
        self.known += len(exact)
        self.least = np.minimum(self.least, exact.min(0, initial=np.inf))
        self.most = np.maximum(self.most, exact.max(0, initial=-np.inf))
        self.total = self.total + exact.sum(0)
        self.squares = self.squares + np.square(exact).sum(0)

    def as_json(self) -> dict[str, Any]:
        """As meta/stats.json has it; zeros where nothing is known."""
        count = max(1, self.known)
        mean = self.total / count
        least, most = (self.least, self.most) if self.known else (mean, mean)
        deviation = np.sqrt(np.maximum(self.squares / count - np.square(mean), 0.0))
        ends = {"min": least, "max": most, "mean": mean, "std": deviation}
        return {**{name: value.reshape(self.shape).tolist() for name, value in ends.items()}, "count": [self.rows]}


def _info(lengths: Sequence[int], columns: Columns, head: DatasetHead) -> dict[str, Any]:
    features: dict[str, Any] = {
        name: {
            "dtype": "bool" if values.dtype == bool else str(values.dtype),
            "shape": [values.shape[1]] if values.ndim == 2 else [1],
            "names": list(head.names[name]) if name in head.names else None,
        }
        for name, values in columns.items()
    }
    height, width, channels = head.image_shape
    for key in head.cameras:
        features[key] = {
            "dtype": "video",
            "shape": [height, width, channels],
            "names": ["height", "width", "channels"],
            "info": {
                "video.height": height,
                "video.width": width,
                "video.channels": channels,
                "video.codec": CODEC,
                "video.pix_fmt": PIXELS,
                "video.fps": head.fps,
                "video.is_depth_map": False,
                "has_audio": False,
            },
        }
    return {
        "codebase_version": VERSION,
        "robot_type": head.robot,
        "total_episodes": len(lengths),
        "total_frames": sum(lengths),
        "total_tasks": 1,
        "chunks_size": 1000,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": head.fps,
        "splits": {"train": f"0:{len(lengths)}"},
        "data_path": _DATA,
        "video_path": _VIDEO,
        "features": features,
    }
