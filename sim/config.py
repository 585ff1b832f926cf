"""Settings of the simulated worlds: every range that randomisation draws from, with its unit, in one place.

The nesting is `SimConfig.randomisation.{visual,dynamics,timing}`. Each group has `enabled`, and each factor in it a
switch of its own; a factor that is off takes its nominal value, and the other factors are drawn as if it were on.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

Value = TypeVar("Value")
Range = tuple[float, float]


def _setting(
    default: Value,
    text: str,
    *,
    low: float | None = None,
    high: float | None = None,
) -> Value:
    """Declare one field with its help text and its limits (for a range: the limits of both of its ends)."""
    metadata: dict[str, Any] = {"help": text}
    for key, value in (("min", low), ("max", high)):
        if value is not None:
            metadata[key] = value
    declared: Any = field(default=default, metadata=metadata)
    return declared  # type: ignore[no-any-return]  # a dataclass field stands where its value's type is declared


def _nested(factory: type[Value], text: str) -> Value:
    declared: Any = field(default_factory=factory, metadata={"help": text})
    return declared  # type: ignore[no-any-return]


def check_limits(config: Any) -> None:
    """Refuse values outside the limits that the fields of a dataclass carry in their metadata.

    Raises:
        ValueError: One line that names the field, its value and what is allowed.
    """
    for entry in fields(config):
        value = getattr(config, entry.name)
        name = f"{type(config).__name__}.{entry.name}"
        numbers = value if isinstance(value, tuple) else (value,)
        if not all(isinstance(number, int | float) for number in numbers):
            continue
        low, high = entry.metadata.get("min"), entry.metadata.get("max")
        too_low = low is not None and any(number < low for number in numbers)
        too_high = high is not None and any(number > high for number in numbers)
        if too_low or too_high or any(number != number for number in numbers):
            raise ValueError(f"{name} is {value!r}, allowed: {_interval(low, high)}")
        if isinstance(value, tuple) and (len(value) != 2 or value[0] > value[1]):
            raise ValueError(f"{name} is {value!r}, allowed: two numbers (low, high) with low <= high")


def _interval(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f"{low} to {high}"
    return f"at least {low}" if low is not None else f"at most {high}"


@dataclass(frozen=True)
class VisualConfig:
    """What a camera sees differently from one episode, or one view, to the next.

    The held-out domain draws from ranges of its own for textures, hues, light directions and camera offsets (see
    `sim.randomisation`); where a `held_out_..._m` field exists it names the outer edge of a shell that starts where
    the training range ends. Sensor flaws lie in such a shell only where "noise" is held out by name (`sim.domains`).
    """

    enabled: bool = _setting(True, "draw any visual factor at all")

    table: bool = _setting(True, "draw the colour of the table")
    floor: bool = _setting(True, "draw the colour of the floor")
    background: bool = _setting(True, "draw the colour of the wall behind the robot")
    scenery_saturation: Range = _setting((0.0, 0.65), "colourfulness of table, floor and wall", low=0, high=0.8)
    scenery_value: Range = _setting((0.2, 0.8), "brightness of table, floor and wall", low=0.1, high=1)
    robot: bool = _setting(True, "draw the colours of arm, hand and fingers")
    robot_saturation: Range = _setting((0.0, 0.35), "colourfulness of arm, hand and fingers", low=0, high=0.8)
    robot_value: Range = _setting((0.65, 1.0), "brightness of arm and hand", low=0.1, high=1)
    finger_value: Range = _setting((0.1, 0.4), "brightness of the fingers", low=0, high=1)
    gripper_contrast: float = _setting(0.15, "least difference in brightness of hand and table", low=0, high=0.2)
    objects: bool = _setting(True, "draw the shades of goal and cube within their reserved hues (red, yellow)")
    object_hue_deg: float = _setting(8.0, "goal's and cube's hue, largest change from red and yellow", low=0, high=15)
    object_saturation: Range = _setting((0.85, 1.0), "colourfulness of goal and cube", low=0.8, high=1)
    object_value: Range = _setting((0.75, 1.0), "brightness of goal and cube", low=0.7, high=1)

    textures: bool = _setting(True, "draw procedural textures")
    scenery_texture_probability: float = _setting(0.6, "chance of one on table, floor and wall each", low=0, high=1)
    robot_texture_probability: float = _setting(0.25, "chance of one on the arm", low=0, high=1)
    object_texture_probability: float = _setting(0.25, "chance of one on goal and cube each", low=0, high=1)

    lights: bool = _setting(True, "draw direction, colour and strengths of the light")
    light_elevation_deg: Range = _setting((35.0, 80.0), "light's height above the horizon", low=5, high=90)
    light_ambient: Range = _setting((0.45, 0.65), "share of light that comes from everywhere", low=0, high=1)
    light_diffuse: Range = _setting((0.30, 0.60), "share of light that depends on the surface's slope", low=0, high=1)
    light_specular: Range = _setting((0.0, 0.25), "strength of highlights", low=0, high=1)
    light_tint: float = _setting(0.06, "largest change of one colour channel of the light", low=0, high=0.3)
    shadows: bool = _setting(False, "cast shadows (rendering takes about twice as long)")

    # The defaults are the most that is allowed: up to here nothing that matters leaves the image (test_sim_framing.py).
    camera_position: bool = _setting(True, "draw the camera's position")
    camera_position_m: float = _setting(0.05, "largest offset of the camera, metres", low=0, high=0.05)
    held_out_camera_position_m: float = _setting(0.07, "same, held-out domain, metres", low=0, high=0.07)
    camera_aim: bool = _setting(True, "draw the point that the camera looks at")
    camera_aim_m: float = _setting(0.012, "largest offset of that point, metres", low=0, high=0.012)
    held_out_camera_aim_m: float = _setting(0.016, "same, held-out domain, metres", low=0, high=0.016)
    camera_field_of_view: bool = _setting(True, "draw the field of view")
    camera_field_of_view_deg: float = _setting(1.0, "largest change of the field of view, degrees", low=0, high=1.0)

    noise: bool = _setting(True, "add pixel noise")
    noise_levels: Range = _setting((0.0, 4.0), "standard deviation of pixel noise, of 255 levels", low=0, high=40)
    blur: bool = _setting(True, "blur the image")
    blur_px: Range = _setting((0.0, 0.6), "standard deviation of the blur, pixels at any size", low=0, high=2)
    colour_shift: bool = _setting(True, "change the camera's gain and offset per colour channel")
    colour_gain: float = _setting(0.10, "largest relative change of a channel's gain", low=0, high=0.3)
    colour_offset_levels: float = _setting(8.0, "largest change of a channel's offset, of 255 levels", low=0, high=40)
    held_out_sensor_factor: float = _setting(
        2.0, "noise held out by name: noise, blur and colour shift reach so many times as much", low=1, high=3
    )

    def __post_init__(self) -> None:
        check_limits(self)
        for name in ("camera_position_m", "camera_aim_m"):
            inner, outer = getattr(self, name), getattr(self, f"held_out_{name}")
            if outer < inner:
                raise ValueError(f"VisualConfig.held_out_{name} is {outer}, allowed: at least {name}, which is {inner}")


@dataclass(frozen=True)
class DynamicsConfig:
    """How bodies and motors behave; the ranges are factors of the nominal value, so 1 means nominal."""

    enabled: bool = _setting(True, "draw any dynamics factor at all")
    mass: bool = _setting(True, "draw the masses of cube, hand and fingers")
    mass_factor: Range = _setting((0.8, 1.25), "factor of the nominal masses", low=0.2, high=5)
    friction: bool = _setting(True, "draw the friction of cube, table and fingers")
    friction_factor: Range = _setting((0.8, 1.25), "factor of the nominal friction coefficients", low=0.2, high=3)
    damping: bool = _setting(True, "draw the damping of the arm's joints")
    damping_factor: Range = _setting((0.5, 2.0), "factor of the nominal joint damping", low=0, high=10)
    controller_gain: bool = _setting(True, "draw the position gain of the motors")
    controller_gain_factor: Range = _setting((0.8, 1.2), "factor of the nominal position gain", low=0.2, high=1.8)
    controller_force: bool = _setting(True, "draw the force limit of the motors")
    controller_force_factor: Range = _setting((0.8, 1.25), "factor of the nominal motor force", low=0.5, high=3)

    def __post_init__(self) -> None:
        check_limits(self)


@dataclass(frozen=True)
class TimingConfig:
    """Delays between policy, motors and camera, in seconds; one control step is the most that can be delayed.

    They are the same in both domains; only where "delay" is held out by name (`sim.domains`) they lie beyond.
    """

    enabled: bool = _setting(True, "draw any timing factor at all")
    action_delay: bool = _setting(True, "draw a delay between an action and the motors")
    action_delay_s: Range = _setting((0.0, 0.03), "that delay in seconds, at most one control step", low=0, high=1)
    camera_delay: bool = _setting(True, "draw a delay between exposure and observation")
    camera_delay_s: Range = _setting((0.0, 0.03), "that delay in seconds, at most one control step", low=0, high=1)
    held_frames: bool = _setting(True, "let the camera now and then deliver the previous frame again")
    held_frame_probability: float = _setting(0.02, "chance of that at each step", low=0, high=0.9)
    held_out_delay_factor: float = _setting(
        2.0, "delay held out by name: delays reach, and held frames come, so many times as much", low=1, high=3
    )

    def __post_init__(self) -> None:
        check_limits(self)


@dataclass(frozen=True)
class SensingConfig:
    """How wrong the state is in episodes that ask for it (`make_env(state_errors=True)`): as wrong as a student.

    A student misjudges where things are by a centimetre or two, and in one world always to the same side. A teacher
    that has only ever known the truth pushes past a cube that is not where it believes, again and again; one that has
    lived with such errors looks at what its push does.
    """

    enabled: bool = _setting(True, "draw an error of the state at all")
    position_error_m: float = _setting(
        0.02, "largest error of each body's x and y, the same for a whole episode, metres", low=0, high=0.05
    )

    def __post_init__(self) -> None:
        check_limits(self)


@dataclass(frozen=True)
class RandomisationConfig:
    """The groups of domain randomisation."""

    visual: VisualConfig = _nested(VisualConfig, "what the camera sees")
    dynamics: DynamicsConfig = _nested(DynamicsConfig, "how bodies and motors behave")
    timing: TimingConfig = _nested(TimingConfig, "delays of action and camera")
    sensing: SensingConfig = _nested(SensingConfig, "how wrong the state is where it may be")

    @classmethod
    def off(cls) -> RandomisationConfig:
        """The nominal world: only the task's own initial positions are drawn."""
        return cls(
            VisualConfig(enabled=False),
            DynamicsConfig(enabled=False),
            TimingConfig(enabled=False),
            SensingConfig(enabled=False),
        )


@dataclass(frozen=True)
class SimConfig:
    """One simulated world: sizes, rates, lengths and its randomisation."""

    image_size: int = _setting(64, "height and width of the camera image, pixels", low=16, high=512)
    views: int = _setting(1, "images per step, each its own visual draw; 0 renders nothing", low=0, high=16)
    control_hz: int = _setting(10, "actions per second", low=1, high=60)
    physics_hz: int = _setting(120, "physics steps per second, a multiple of control_hz", low=60, high=1000)
    max_step_m: float = _setting(
        0.06, "largest displacement of the gripper per action and axis, metres", low=0.001, high=0.1
    )
    episode_steps: int = _setting(
        0, "steps after which an episode is cut; 0: reach 16, push 60, lift 50", low=0, high=10_000
    )
    randomisation: RandomisationConfig = _nested(RandomisationConfig, "domain randomisation")

    def __post_init__(self) -> None:
        check_limits(self)
        if self.physics_hz % self.control_hz:
            raise ValueError(
                f"SimConfig.physics_hz is {self.physics_hz}, allowed: a multiple of control_hz, "
                f"which is {self.control_hz}"
            )
        period = 1.0 / self.control_hz
        for name in ("action_delay_s", "camera_delay_s"):
            longest = getattr(self.randomisation.timing, name)[1]
            if longest > period:
                raise ValueError(f"TimingConfig.{name} reaches {longest}, allowed: 0 to one control step, {period:.4g}")
