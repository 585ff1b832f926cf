"""The unit of data: a chunk of consecutive steps of one environment stream, as state and image side by side.

Time alignment, stated here once (that of DreamerV2, Hafner et al. 2021): row ``t`` holds the observation ``t``, the
action that **led to it** and the reward received **with it**. An episode of three actions is four rows::

                     reset()    step(a1)   step(a2)   step(a3)  | reset()
    row                 0          1          2          3      |    4
    state              s0         s1         s2         s3      |   s0'     the simulator's, of this moment
    image           i(s0)      i(s0)      i(s1)      i(s2)      | i(s0')    what the camera has delivered by now
    state_at_exposure  s0         s0         s1         s2      |   s0'     the state that this image shows
    action              0         a1         a2         a3      |    0      led from the row before to this one
    reward              0         r1         r2         r3      |    0      came together with this observation
    is_first          True          .          .          .     |  True     action and reward are 0 here
    is_last              .          .          .       True     |    .      last observation of its episode
    is_terminal          .          .          .        (x)     |    .      (x): True if terminated, not if truncated

The image drawn here is late by one step. With a camera without delay it is i(s1) in row 1, and `state_at_exposure` is
`state`; a delay may also be a part of a step, and then `state_at_exposure` is the state of no row. It goes with the
image: whoever is to tell a state from one image is to tell this one. The teacher and whatever remembers know `state`.

The next row of the stream after ``is_last`` is always an ``is_first``. A stream is cut into chunks of at most
``chunk_length`` rows. Where all episodes take the same number of steps, and the spec says so, chunks begin and end with
them, as far as they fit; else a chunk may begin in mid-episode and hold several (see `replay.writer.StreamWriter`).
Every step of the stream is in exactly one chunk.

Letters in shapes: L rows of a chunk, S state, A action, K views (independent visual draws of the same moment), H W C
image.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from fnmatch import fnmatchcase
from operator import index
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

SCHEMA_VERSION: Final = 2
RANDOM: Final = "random"
"""Driver of an episode that nobody's policy drives; the others have names of their methods'."""

_NEW_IN_2: Final = {"action_low", "action_high", "episode_steps"}
# Of a spec, which may have been read from anybody's file: networks of its sizes are made before their weights are read.
_LIMITS: Final = {"views": (0, 64), "action_dim": (1, 1000), "chunk_length": (1, 10**6), "episode_steps": (0, 10**9)}
_MOST_STATES: Final = 10_000
_MOST_PIXELS: Final = 2048

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
        views: K, the number of views of one moment; 0 if the stream carries no images at all.
        action_dim: A.
        chunk_length: Most rows of a chunk, and T of the learner's batches.
        action_low: The environment's lower bound of each entry of an action; empty for -1. Policies act, and replay
            stores, in ``[-1, 1]``, see `environment_action`.
        action_high: Its upper bound of each entry; empty for 1.
        episode_steps: Steps that an episode takes, where all take as many: chunks then end with an episode, see
            `replay.writer.StreamWriter`. 0: they differ, or it is not known.
    """

    state_names: tuple[str, ...]
    state_low: tuple[float, ...]
    state_high: tuple[float, ...]
    image_shape: tuple[int, int, int]
    views: int
    action_dim: int
    chunk_length: int
    action_low: tuple[float, ...] = ()
    action_high: tuple[float, ...] = ()
    episode_steps: int = 0

    def __post_init__(self) -> None:
        for name, (least, most) in _LIMITS.items():
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= most:
                raise ValueError(f"{name} is {value!r}: a whole number from {least} to {most} is allowed")
        # Whoever makes it from a gymnasium space has NumPy scalars, and JSON has lists: both become plain tuples.
        plain: dict[str, tuple[Any, ...]] = {
            "state_names": tuple(self.state_names),
            "state_low": tuple(float(bound) for bound in self.state_low),
            "state_high": tuple(float(bound) for bound in self.state_high),
            "image_shape": tuple(index(size) for size in self.image_shape),
            "action_low": tuple(float(bound) for bound in self.action_low) or (-1.0,) * self.action_dim,
            "action_high": tuple(float(bound) for bound in self.action_high) or (1.0,) * self.action_dim,
        }
        for name, values in plain.items():
            object.__setattr__(self, name, values)
        names = self.state_names
        if not all(isinstance(name, str) for name in names) or len(set(names)) != len(names):
            raise ValueError(f"state_names is {names!r}: words are allowed, and none twice")
        if not 1 <= len(names) <= _MOST_STATES:
            raise ValueError(f"state_names has {len(names)} entries: 1 to {_MOST_STATES} are allowed")
        _check_bounds("state", names, self.state_low, self.state_high)
        _check_bounds("action", range(self.action_dim), self.action_low, self.action_high)
        shape = self.image_shape
        if len(shape) != 3 or min(shape) < 1 or max(shape) > _MOST_PIXELS:
            raise ValueError(
                f"image_shape is {shape!r}: (height, width, channels), each at least 1 and at most {_MOST_PIXELS}"
            )

    @property
    def state_dim(self) -> int:
        """S, the length of the privileged state."""
        return len(self.state_names)

    def columns(self, patterns: Sequence[str]) -> tuple[int, ...]:
        """Return which entries of the state are meant, in the state's order.

        Args:
            patterns: Names, or patterns of names as a shell has them (``gripper_*``).

        Raises:
            ValueError: If one of them is no entry's.
        """
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in self.state_names):
                raise ValueError(
                    f"{pattern} is nothing of the state: allowed are {', '.join(self.state_names)}, or patterns of them"
                )
        every = enumerate(self.state_names)
        return tuple(at for at, name in every if any(fnmatchcase(name, pattern) for pattern in patterns))

    def environment_action(self, action: NDArray[Any], dtype: Any = np.float32) -> NDArray[Any]:
        """Return what an environment is given for an action of a policy, or of replay.

        Everything that steps an environment with such an action goes through here. Where the bounds are -1 and 1 it is
        the action itself, bit for bit.

        Args:
            action: [..., A] in [-1, 1]; what is beyond is clipped.
            dtype: That of the environment's action space.

        Returns:
            [..., A] within the environment's bounds.
        """
        low, high = np.array(self.action_low), np.array(self.action_high)
        middle, half = (low + high) / 2, (high - low) / 2
        scaled: NDArray[Any] = np.clip(middle + half * np.clip(action, -1.0, 1.0), low, high).astype(dtype)
        return scaled

    def to_json(self) -> str:
        """Return the spec as one line of JSON, together with the schema's version."""
        return json.dumps({"schema_version": SCHEMA_VERSION, **asdict(self)}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str | bytes, oldest: int = 1) -> StreamSpec:
        """Read what `to_json` wrote, now or in an earlier version of the schema.

        Args:
            text: The JSON.
            oldest: The oldest version that will do. Whatever only has to be acted with was the same in version 1, whose
                actions were all in [-1, 1]; chunks are read in the present version alone.

        Raises:
            ValueError: If that is not what it is, it is of a version that will not do, a field is missing or unknown,
                or a value is not allowed.
        """
        try:
            values: dict[str, Any] = dict(json.loads(text))
            version = values.pop("schema_version", None)
            if version not in range(oldest, SCHEMA_VERSION + 1):
                raise ValueError(f"schema version {version}: this code reads {oldest} to {SCHEMA_VERSION}")
            known = {field.name for field in fields(cls)} - (_NEW_IN_2 if version == 1 else set())
            if set(values) != known:
                raise ValueError(f"fields {sorted(values)}: expected are {sorted(known)}")
            return cls(**values)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise ValueError(f"not a stream spec: {error}") from error

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


def _check_bounds(what: str, names: Sequence[object], low: tuple[float, ...], high: tuple[float, ...]) -> None:
    for name, bounds in ((f"{what}_low", low), (f"{what}_high", high)):
        if len(bounds) != len(names):
            raise ValueError(f"{name} has {len(bounds)} entries, there are {len(names)} of {what}")
    for entry, least, most in zip(names, low, high, strict=True):
        if not (math.isfinite(least) and math.isfinite(most) and least < most):
            raise ValueError(f"bounds of {what} {entry!r} are [{least}, {most}]: finite and low < high are required")


@dataclass
class Step:
    """One row on its way into a chunk; see the table at the top of this module.

    Attributes:
        state: Privileged state, [S] float32.
        image: Camera image(s), [K, H, W, C] uint8, or None where none was rendered.
        state_at_exposure: The state that the image shows, [S] float32; None without image.
        action: The action that led to this observation, [A] float32 in [-1, 1]; zeros at `is_first`.
        reward: The reward received with this observation; 0 at `is_first`.
        is_first: First observation of its episode.
        is_last: Last observation of its episode.
        is_terminal: The episode ended by itself; False when it was truncated.
    """

    state: NDArray[np.float32]
    image: NDArray[np.uint8] | None
    state_at_exposure: NDArray[np.float32] | None
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
        domain: Visual domain, as the environment names it.
        driver: Who chose the actions: `RANDOM`, or what a method calls its policy.
        randomisation: Everything that was drawn for it, as plain JSON values.
    """

    row: int
    seed: int
    domain: str
    driver: str
    randomisation: Mapping[str, Any]

    def __post_init__(self) -> None:
        check_name("driver", self.driver)


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
        state_at_exposure: [L, S] float32, what each image shows; None without images.
        action: [L, A] float32.
        reward: [L] float32.
        is_first: [L] bool.
        is_last: [L] bool.
        is_terminal: [L] bool.
        meta: Where it comes from.
    """

    state: NDArray[np.float32]
    image: NDArray[np.uint8] | None
    state_at_exposure: NDArray[np.float32] | None
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
        if (self.image is None) != (self.state_at_exposure is None):
            raise ValueError(f"chunk {self.meta.chunk_id} has only one of image and state_at_exposure: both or neither")
        if self.image is not None:
            expected["image"] = ((rows, spec.views, *spec.image_shape), np.uint8)
            expected["state_at_exposure"] = ((rows, spec.state_dim), np.float32)
        for name, (shape, dtype) in expected.items():
            array: NDArray[Any] = getattr(self, name)
            if array.shape != shape or array.dtype != dtype or 0 in shape:
                raise ValueError(
                    f"{name} of chunk {self.meta.chunk_id} is {array.dtype}{list(array.shape)}: "
                    f"the stream's spec asks for {np.dtype(dtype)}{list(shape)}"
                )
