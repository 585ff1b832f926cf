"""The unit of data: a chunk of consecutive steps of one environment stream, as state and image side by side.

Time alignment, stated here once (that of DreamerV2, Hafner et al. 2021): row ``t`` holds the observation ``t``, the
action that **led to it** and the reward received **with it**. An episode of three actions is four rows::

                     reset()    step(a1)   step(a2)   step(a3)  | reset()
    row                 0          1          2          3      |    4
    state, image       o0         o1         o2         o3      |   o0'     what is seen in this row
    action              0         a1         a2         a3      |    0      led from the row above to this one
    reward              0         r1         r2         r3      |    0      came together with this observation
    is_first          True          .          .          .     |  True     action and reward are 0 here
    is_last              .          .          .       True     |    .      last observation of its episode
    is_terminal          .          .          .        (x)     |    .      (x): True if terminated, not if truncated

The next row of the stream after ``is_last`` is always an ``is_first``. A stream is cut into chunks of ``chunk_length``
rows without looking at episodes, so a chunk may begin in mid-episode and hold several of them. Every step of the
stream is in exactly one chunk; only the last chunk of a drained stream is shorter.

Letters in shapes: L rows of a chunk, S state, A action, K views (independent visual draws of the same physics step),
H W C image.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

SCHEMA_VERSION: Final = 1
DRIVERS: Final = ("random", "teacher", "student")

# Names go into Redis keys, where braces would move the hash tag and blanks would split the index.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def check_name(what: str, name: str) -> None:
    """Refuse a name that could not be part of a Redis key.

    Args:
        what: What the name is for, for the message.
        name: The name.

    Raises:
        ValueError: If it is not 1 to 128 letters, digits, dots, underscores or hyphens.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{what} is {name!r}: allowed are 1 to 128 letters, digits, '.', '_' and '-'")


@dataclass(frozen=True)
class StreamSpec:
    """Names, shapes and bounds of what an environment stream carries: the bridge from the simulator to the learner.

    It is stored in Redis by the first who uses a run's replay and compared by everyone after.

    Attributes:
        state_names: Name of each of the S entries of the privileged state, with its unit (``gripper_x_m``).
        state_low: Physical lower bound of each entry; the learner scales ``[low, high]`` to ``[-1, 1]``.
        state_high: Physical upper bound of each entry.
        image_shape: (H, W, C) of one view.
        views: K, the number of views of one physics step; 0 if the stream carries no images at all.
        action_dim: A.
        chunk_length: Rows of a full chunk.
    """

    state_names: tuple[str, ...]
    state_low: tuple[float, ...]
    state_high: tuple[float, ...]
    image_shape: tuple[int, int, int]
    views: int
    action_dim: int
    chunk_length: int

    def __post_init__(self) -> None:
        # Whoever makes it from a gymnasium space has NumPy scalars, and JSON has lists: both become plain tuples.
        plain: dict[str, tuple[Any, ...]] = {
            "state_names": tuple(str(name) for name in self.state_names),
            "state_low": tuple(float(bound) for bound in self.state_low),
            "state_high": tuple(float(bound) for bound in self.state_high),
            "image_shape": tuple(int(size) for size in self.image_shape),
        }
        for name, values in plain.items():
            object.__setattr__(self, name, values)
        if not self.state_names or len(set(self.state_names)) != len(self.state_names):
            raise ValueError(f"state_names is {self.state_names!r}: at least one name, and none twice")
        for name in ("state_low", "state_high"):
            bounds = getattr(self, name)
            if len(bounds) != len(self.state_names):
                raise ValueError(f"{name} has {len(bounds)} entries, state_names has {len(self.state_names)}")
        for state, low, high in zip(self.state_names, self.state_low, self.state_high, strict=True):
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise ValueError(f"bounds of state {state!r} are [{low}, {high}]: finite and low < high are required")
        if len(self.image_shape) != 3 or min(self.image_shape) < 1:
            raise ValueError(f"image_shape is {self.image_shape!r}: (height, width, channels), each at least 1")
        for name, least in (("views", 0), ("action_dim", 1), ("chunk_length", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}: at least {least}")

    @property
    def state_dim(self) -> int:
        """S, the length of the privileged state."""
        return len(self.state_names)

    def to_json(self) -> str:
        """Return the spec as one line of JSON, together with the schema's version."""
        return json.dumps({"schema_version": SCHEMA_VERSION, **asdict(self)}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes) -> StreamSpec:
        """Read what `to_json` wrote.

        Raises:
            ValueError: If it is another version of the schema, or a field is missing or unknown.
        """
        values: dict[str, Any] = json.loads(text)
        version = values.pop("schema_version", None)
        if version != SCHEMA_VERSION:
            raise ValueError(f"stream spec has schema version {version}: this code reads version {SCHEMA_VERSION}")
        known = {field.name for field in fields(cls)}
        if set(values) != known:
            raise ValueError(f"stream spec has fields {sorted(values)}: expected are {sorted(known)}")
        return cls(**values)

    def require_equal(self, other: StreamSpec, where: str) -> None:
        """Compare with the spec found elsewhere.

        Args:
            other: The other spec.
            where: Where it was found, for the message.

        Raises:
            ValueError: Naming the first field that differs and both its values.
        """
        for field in fields(self):
            here, there = getattr(self, field.name), getattr(other, field.name)
            if here != there:
                raise ValueError(f"stream spec differs in {field.name}: {there!r} in {where}, {here!r} here")


@dataclass
class Step:
    """One row on its way into a chunk; see the table at the top of this module.

    Attributes:
        state: Privileged state, [S] float32.
        image: Camera image(s), [K, H, W, C] uint8, or None where none was rendered.
        action: The action that led to this observation, [A] float32 in [-1, 1]; zeros at `is_first`.
        reward: The reward received with this observation; 0 at `is_first`.
        is_first: First observation of its episode.
        is_last: Last observation of its episode.
        is_terminal: The episode ended by itself; False when it was truncated.
    """

    state: NDArray[np.float32]
    image: NDArray[np.uint8] | None
    action: NDArray[np.float32]
    reward: float
    is_first: bool
    is_last: bool
    is_terminal: bool


@dataclass(frozen=True)
class EpisodeMeta:
    """Where an episode lies in a chunk and all that is needed to play it again.

    Attributes:
        row: Row of this chunk in which it starts; 0 if it goes on from the chunk before (``is_first[0]`` tells which).
        seed: The episode's seed: ``reset(seed=...)`` gives the very same episode.
        domain: Visual domain, "train" or "held_out".
        driver: Who chose the actions, one of `DRIVERS`.
        randomisation: Everything that was drawn for it, as plain JSON values.
    """

    row: int
    seed: int
    domain: str
    driver: str
    randomisation: Mapping[str, Any]

    def __post_init__(self) -> None:
        if self.driver not in DRIVERS:
            raise ValueError(f"driver is {self.driver!r}: allowed are {', '.join(DRIVERS)}")


@dataclass(frozen=True)
class ChunkMeta:
    """Where a chunk comes from.

    Attributes:
        schema_version: `SCHEMA_VERSION` of the code that wrote it.
        run_id: The run it belongs to.
        stream_id: One environment of one incarnation of one actor; never used twice in a run.
        first_step: Index of row 0 in its stream.
        policy_version: Version of the weights that chose its actions, the oldest if they changed in between.
        renderer: What drew the images.
        actor_id: The actor.
        episodes: The episodes in it, in order.
    """

    schema_version: int
    run_id: str
    stream_id: str
    first_step: int
    policy_version: int
    renderer: str
    actor_id: str
    episodes: tuple[EpisodeMeta, ...]

    def __post_init__(self) -> None:
        check_name("run_id", self.run_id)
        check_name("stream_id", self.stream_id)
        if self.first_step < 0:
            raise ValueError(f"first_step is {self.first_step}: at least 0")

    @property
    def chunk_id(self) -> str:
        """Name of the chunk, unique in its run."""
        return f"{self.stream_id}:{self.first_step}"

    def to_json(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> ChunkMeta:
        """Read what `to_json` wrote.

        Raises:
            ValueError: If that is not what it is.
        """
        values = json.loads(text)
        try:
            episodes = tuple(EpisodeMeta(**episode) for episode in values.pop("episodes"))
            return cls(episodes=episodes, **values)
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"not a chunk's metadata: {error}") from error


@dataclass(frozen=True, eq=False)
class Chunk:
    """L consecutive rows of one stream, 1 <= L <= ``chunk_length``; the arrays may be read-only views.

    Attributes:
        state: [L, S] float32.
        image: [L, K, H, W, C] uint8, or None (a chunk without images, or one of which only the state was read).
        action: [L, A] float32.
        reward: [L] float32.
        is_first: [L] bool.
        is_last: [L] bool.
        is_terminal: [L] bool.
        meta: Where it comes from.
    """

    state: NDArray[np.float32]
    image: NDArray[np.uint8] | None
    action: NDArray[np.float32]
    reward: NDArray[np.float32]
    is_first: NDArray[np.bool_]
    is_last: NDArray[np.bool_]
    is_terminal: NDArray[np.bool_]
    meta: ChunkMeta

    @property
    def rows(self) -> int:
        """L."""
        return len(self.reward)

    @property
    def env_steps(self) -> int:
        """Rows that an action led to, that is, all but the first of each episode."""
        return int(self.rows - np.count_nonzero(self.is_first))

    def check(self, spec: StreamSpec) -> None:
        """Refuse a chunk that does not fit its stream's spec.

        Raises:
            ValueError: Naming the array, its shape and dtype, and what is expected.
        """
        rows = self.rows
        if not 1 <= rows <= spec.chunk_length:
            raise ValueError(f"chunk {self.meta.chunk_id} has {rows} rows: 1 to {spec.chunk_length} are allowed")
        expected: dict[str, tuple[tuple[int, ...], type[np.generic]]] = {
            "state": ((rows, spec.state_dim), np.float32),
            "action": ((rows, spec.action_dim), np.float32),
            "reward": ((rows,), np.float32),
            "is_first": ((rows,), np.bool_),
            "is_last": ((rows,), np.bool_),
            "is_terminal": ((rows,), np.bool_),
        }
        if self.image is not None:
            expected["image"] = ((rows, spec.views, *spec.image_shape), np.uint8)
        for name, (shape, dtype) in expected.items():
            array: NDArray[Any] = getattr(self, name)
            if array.shape != shape or array.dtype != dtype or 0 in shape:
                raise ValueError(
                    f"{name} of chunk {self.meta.chunk_id} is {array.dtype}{list(array.shape)}: "
                    f"the stream's spec asks for {np.dtype(dtype)}{list(shape)}"
                )
