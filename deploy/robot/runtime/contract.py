"""contract.json: what the policy sees, what its actions mean, how late both may be, and when it is out of its depth.

The contract decides; the LEAPP description beside it says the same where it has words for it. Units: metres, seconds,
degrees where a name ends in `_deg`; the frame is the robot's base, x forward, y left, z up.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from .refusals import BundleError

CONTRACT = "contract.json"
FORMAT = 3

Vector = tuple[float, float, float]
Range = tuple[float, float]
T = TypeVar("T")


@dataclass(frozen=True)
class Model:
    """The ONNX graph.

    Attributes:
        file: in the bundle.
        opset: of ONNX.
        deter: D.
        groups: S.
        classes: K.
        embed: E.
        outputs: their names, in order.
    """

    file: str
    opset: int
    deter: int
    groups: int
    classes: int
    embed: int
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Mark:
    """The hue that one thing kept in all worlds that were trained on; other things may have had it, too."""

    name: str
    hue_deg: float
    within_deg: float


@dataclass(frozen=True)
class TrainedCamera:
    """How far the camera was moved in training; ranges are low to high.

    Attributes:
        eye_offset_m: largest distance of the camera from `Camera.eye_m`.
        aim_offset_m: largest distance of the point in the middle of the image from `Camera.aim_m`.
        field_of_view_deg: full angle.
        roll_deg: about the optical axis.
        centre_offset_px: largest distance of the principal point from `Camera.centre_px`, to either side.
        noise_levels: standard deviation of the noise, of 255 levels.
        blur_px: standard deviation of the blur of focus.
        white_balance_gain: of red and of blue.
        exposure_stops: 1 is twice the light.
        gamma: power of the picture's values.
        saturation: factor of colourfulness.
    """

    eye_offset_m: float
    aim_offset_m: float
    field_of_view_deg: Range
    roll_deg: Range
    centre_offset_px: float
    noise_levels: Range
    blur_px: Range
    white_balance_gain: Range
    exposure_stops: Range
    gamma: Range
    saturation: Range


@dataclass(frozen=True)
class Camera:
    """One pinhole camera without distortion: what `select_action` takes.

    Attributes:
        height: pixels.
        width: pixels.
        layout: "HWC".
        channels: "RGB".
        dtype: "uint8".
        value_range: of every value.
        focal_px: fx and fy.
        centre_px: cx and cy, from the upper left corner of the image.
        field_of_view_deg: full angle between opposite edges.
        eye_m: where it stands.
        aim_m: the point in the middle of its image.
        up: the image's upper edge is on this side.
        marks: colours by which swapped channels are noticed.
        trained: what it may deviate by.
    """

    height: int
    width: int
    layout: str
    channels: str
    dtype: str
    value_range: tuple[int, int]
    focal_px: tuple[float, float]
    centre_px: tuple[float, float]
    field_of_view_deg: float
    eye_m: Vector
    aim_m: Vector
    up: Vector
    marks: tuple[Mark, ...]
    trained: TrainedCamera

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of a picture."""
        return self.height, self.width, 3


@dataclass(frozen=True)
class ActionEntry:
    """One number of an action, in -1 to 1.

    Attributes:
        name: "x", "y", "z" or "opening".
        kind: "displacement": the gripper's target moves by `high` metres per 1; "position": -1 is `low`, 1 is `high`.
        low: metres.
        high: metres.
    """

    name: str
    kind: str
    low: float
    high: float


@dataclass(frozen=True)
class Action:
    """What the numbers of an action mean.

    Attributes:
        entries: in their order.
        frame: in which displacements are.
        point: what is displaced.
        rate_hz: actions per second.
        workspace_low_m: the target of the gripper never leaves this box.
        workspace_high_m: its other corner.
        start_low_m: where episodes began in training.
        start_high_m: the other corner of that box.
        start_opening_m: of the fingers.
    """

    entries: tuple[ActionEntry, ...]
    frame: str
    point: str
    rate_hz: int
    workspace_low_m: Vector
    workspace_high_m: Vector
    start_low_m: Vector
    start_high_m: Vector
    start_opening_m: float

    @property
    def period_s(self) -> float:
        """Of control."""
        return 1.0 / self.rate_hz


@dataclass(frozen=True)
class Latency:
    """What training had of delays, and what follows for frames.

    Attributes:
        action_delay_s: from an action to the motors.
        camera_delay_s: from exposure to the policy.
        held_frame_probability: per step.
        most_repeats: so often the same frame may come again in a row; more was hardly ever trained on.
        oldest_frame_s: at the time of acting.
    """

    action_delay_s: Range
    camera_delay_s: Range
    held_frame_probability: float
    most_repeats: int
    oldest_frame_s: float


@dataclass(frozen=True)
class Arm:
    """How the arm followed its target in training: what an arm may do that does as well.

    Attributes:
        lag_s: by how much the gripper trailed a moving target.
        joint_speed: [7] of the data sheet, rad/s.
        speed_share: of these, what an episode's arm had.
        joint_acceleration: [7] of the data sheet, rad/s^2.
        acceleration_share: of these, what an episode's arm had.
        hand_speed: most by which the fingers' opening changed, m/s.
    """

    lag_s: Range
    joint_speed: tuple[float, ...]
    speed_share: Range
    joint_acceleration: tuple[float, ...]
    acceleration_share: Range
    hand_speed: float


@dataclass(frozen=True)
class Surprise:
    """When to stop: `threshold` exceeded for `steps` steps in a row, the first `ignored` of an episode left out.

    Attributes:
        threshold: nats.
        steps: consecutive.
        ignored: first steps of an episode, when the model does not know yet what it looks at.
        quantiles: of normal episodes, by name ("0.5", "0.99", ...).
        episodes: that it was calibrated on.
        false_stops_per_hour: of those episodes, at this threshold.
    """

    threshold: float
    steps: int
    ignored: int
    quantiles: dict[str, float]
    episodes: int
    false_stops_per_hour: float


@dataclass(frozen=True)
class Agreement:
    """How well the gripper's place read off a picture agrees with the arm's, and when to stop; see `depth`.

    Attributes:
        mean_m: of read minus measured, in normal episodes, by axis.
        deviation_m: of the same.
        threshold: of `depth.disagreement`.
        steps: consecutive.
        false_stops_per_hour: as `Surprise`'s.
    """

    mean_m: Vector
    deviation_m: Vector
    threshold: float
    steps: int
    false_stops_per_hour: float


@dataclass(frozen=True)
class Strangeness:
    """When a picture is too unlike those of normal episodes; see `familiar`.

    Attributes:
        threshold: of `Familiar.strangeness`.
        steps: consecutive.
        false_stops_per_hour: as `Surprise`'s.
    """

    threshold: float
    steps: int
    false_stops_per_hour: float


@dataclass(frozen=True)
class Origin:
    """Where the policy comes from; `adapted_from` is the bundle whose student was fitted to a recording, or ""."""

    run_id: str
    seed: int
    step: int
    teacher_updates: int
    student_updates: int
    weights_sha256: str
    twist: str
    adapted_from: str


@dataclass(frozen=True)
class State:
    """The numbers of `state` and `belief`, in physical units, each with its unit at the end of its name."""

    names: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


@dataclass(frozen=True)
class Contract:
    """All of it; `proprioception` names what the policy is given beside the picture, see the module of that name."""

    format: int
    name: str
    task: str
    episode_steps: int
    model: Model
    camera: Camera
    action: Action
    latency: Latency
    arm: Arm
    surprise: Surprise
    agreement: Agreement
    strangeness: Strangeness
    state: State
    proprioception: tuple[str, ...]
    origin: Origin


def write_contract(bundle: Path, contract: Contract) -> None:
    """Writes contract.json."""
    (bundle / CONTRACT).write_text(json.dumps(asdict(contract), indent=1) + "\n", encoding="utf-8")


def read_contract(bundle: Path) -> Contract:
    """Reads contract.json.

    Raises:
        BundleError: it is missing, of another format, or has a field that is missing, unknown or of another type.
    """
    path = bundle / CONTRACT
    try:
        document = json.loads(path.read_bytes())
        form = document.get("format") if isinstance(document, dict) else None
        if form != FORMAT:
            raise ValueError(f"format is {form!r}; this runtime reads format {FORMAT}")
        return _built(Contract, document, "")
    except (OSError, ValueError) as error:
        raise BundleError(f"{path}: {error}") from error


def _built(kind: type[T], value: Any, where: str) -> T:
    """A dataclass out of plain JSON values, every one of the type that is declared."""
    if not isinstance(value, dict):
        raise ValueError(f"{where or 'document'} is {value!r}; allowed is an object")
    hints, names = get_type_hints(kind), {entry.name for entry in fields(kind)}  # type: ignore[arg-type]
    if set(value) != names:
        odd = min(names.symmetric_difference(value))
        raise ValueError(f"{where}{odd} is {'missing' if odd in names else 'not known'}")
    return kind(**{name: _read(hints[name], value[name], where + name) for name in names})


def _read(kind: Any, value: Any, where: str) -> Any:
    if is_dataclass(kind):
        return _built(kind, value, f"{where}.")  # type: ignore[arg-type]
    arguments = get_args(kind)
    if get_origin(kind) is dict and isinstance(value, dict):
        return {str(key): _read(arguments[1], entry, f"{where}.{key}") for key, entry in value.items()}
    if get_origin(kind) is tuple and isinstance(value, list):
        kinds = (arguments[0],) * len(value) if arguments[-1] is ... else arguments
        if len(kinds) == len(value):
            return tuple(_read(each, entry, where) for each, entry in zip(kinds, value, strict=True))
    if kind is float and type(value) in (int, float) and abs(value) < float("inf"):
        return float(value)
    if kind in (int, str) and type(value) is kind:
        return value
    raise ValueError(f"{where} is {value!r}; allowed is {getattr(kind, '__name__', kind)}")
