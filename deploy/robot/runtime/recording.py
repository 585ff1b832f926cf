"""A recording: every tick of a run as it happened, written while it happens, with numpy alone.

    recording.json   bundle, driver, whether it was dry, rate, size of a picture
    ticks.jsonl      a line for each episode's begin, tick (see `Loop`) and end
    images.u8        the pictures one after the other, H x W x 3 bytes each

Nothing is compressed in the loop, and a run that is killed has lost nothing but its last line. What others read
(LeRobotDataset v3, MP4) is made of it afterwards.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .contract import Contract
from .refusals import BundleError, UsageError

FORMAT = 3
_HEAD, _TICKS, _IMAGES = "recording.json", "ticks.jsonl", "images.u8"


class Recorder:
    """Writes a recording; a context manager."""

    def __init__(self, path: Path, contract: Contract, bundle_sha256: str, driver: str, *, dry: bool = False) -> None:
        """Begins one.

        Args:
            path: a new or an empty directory.
            contract: of the bundle.
            bundle_sha256: of its manifest.
            driver: the robot's.
            dry: nothing is commanded, so that a tick's target is what would have been.

        Raises:
            UsageError: something lies at `path` already.
        """
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise UsageError(f"{path}: holds something already; a recording wants a new or an empty directory")
        path.mkdir(parents=True, exist_ok=True)
        self.path = path
        head = {
            "format": FORMAT,
            "bundle_sha256": bundle_sha256,
            "task": contract.task,
            "driver": driver,
            "dry": dry,
            "rate_hz": contract.action.rate_hz,
            "image_shape": list(contract.camera.shape),
            "action_names": [entry.name for entry in contract.action.entries],
            "state_names": list(contract.state.names),
        }
        (path / _HEAD).write_text(json.dumps(head, indent=1) + "\n", encoding="utf-8")
        self._ticks = (path / _TICKS).open("w", encoding="utf-8", buffering=1)
        # Unbuffered: a tick's picture is in the file before its line is.
        self._images = (path / _IMAGES).open("wb", buffering=0)

    def begin(self, episode: int, about: Mapping[str, Any]) -> None:
        """An episode begins."""
        self._line({"kind": "begin", "episode": episode, "about": dict(about)})

    def tick(self, image: NDArray[np.uint8], values: Mapping[str, Any]) -> None:
        """One tick and the picture that it was about."""
        self._images.write(image.tobytes())
        self._line({"kind": "tick", **values})

    def end(self, values: Mapping[str, Any]) -> None:
        """The episode ended."""
        self._line({"kind": "end", **values})

    def _line(self, values: Mapping[str, Any]) -> None:
        self._ticks.write(json.dumps(_plain(values)) + "\n")

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ticks.close()
        self._images.close()


@dataclass(frozen=True)
class RecordedEpisode:
    """One episode of a recording, T ticks.

    Attributes:
        about: see `arm.Robot.about`.
        images: [T, H, W, 3] uint8.
        ticks: T of what was said of them.
        end: what was said at its end; empty where the run was killed.
    """

    about: Mapping[str, Any]
    images: NDArray[np.uint8]
    ticks: list[dict[str, Any]] = field(default_factory=list)
    end: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Recording:
    """A recording on disk."""

    path: Path
    head: Mapping[str, Any]

    @property
    def rate_hz(self) -> int:
        """Ticks per second."""
        return int(self.head["rate_hz"])

    def episodes(self) -> Iterator[RecordedEpisode]:
        """Its episodes, in their order."""
        shape = tuple(self.head["image_shape"])
        content = np.memmap(self.path / _IMAGES, np.uint8, "r") if (self.path / _IMAGES).stat().st_size else np.empty(0)
        pictures = content[: len(content) // math.prod(shape) * math.prod(shape)].reshape(-1, *shape)
        about: Mapping[str, Any] = {}
        ticks: list[dict[str, Any]] = []
        first = 0

        def taken(end: Mapping[str, Any]) -> RecordedEpisode:
            return RecordedEpisode(about, np.asarray(pictures[first : first + len(ticks)]), ticks, end)

        for line in self._lines():
            kind = line.pop("kind")
            if kind == "begin":
                if ticks:
                    yield taken({})
                    first += len(ticks)
                about, ticks = line["about"], []
            elif kind == "tick":
                ticks.append(line)
            elif ticks:
                yield taken(line)
                first += len(ticks)
                ticks = []
        if ticks:
            yield taken({})

    def _lines(self) -> Iterator[dict[str, Any]]:
        with (self.path / _TICKS).open(encoding="utf-8") as opened:
            for text in opened:
                if text.endswith("\n"):  # the last line of a killed run may be cut off
                    yield json.loads(text)


def read_recording(path: Path) -> Recording:
    """Opens a recording.

    Raises:
        BundleError: there is none, or it is of another format.
    """
    try:
        head = json.loads((path / _HEAD).read_text(encoding="utf-8"))
        form = head["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path}: holds no recording: {error}") from error
    if form != FORMAT:
        raise BundleError(f"{path / _HEAD}: is of format {form}; this runtime reads format {FORMAT}")
    return Recording(path, head)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float):
        # A float32 of an action comes back as it was.
        return round(value, 9) if math.isfinite(value) else None
    return value
